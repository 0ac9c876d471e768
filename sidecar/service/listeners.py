"""The two listeners over HTTP: the API, and what scrapers and probes ask for."""

from collections.abc import Callable
from http import HTTPStatus

import structlog
from starlette.types import ASGIApp

from sidecar.config.errors import TokenError
from sidecar.config.settings import Settings
from sidecar.config.token import TokenKind, read_token
from sidecar.web.errors import HttpTokenError
from sidecar.web.guard import Guard, Refused
from sidecar.web.server import WebServer

log = structlog.get_logger("sidecar.web")


def api_listener(app: ASGIApp, settings: Settings, told: Callable[[str], None]) -> WebServer:
    """For the API. Beyond loopback it opens only with a token; on loopback a token is asked for if there is one.

    Args:
        app: The API.
        settings: Where it listens, and where the token is.
        told: Hears why a request was refused.
    """

    def token() -> str | None:
        try:
            return read_token(settings.api_token_file, TokenKind.API)
        except TokenError as error:
            raise Refused(HTTPStatus.FORBIDDEN, str(error)) from error

    def beyond_loopback(address: str) -> None:
        try:
            found = token()
        except Refused as refused:
            raise HttpTokenError(address, refused.detail) from refused
        if found is None:
            raise HttpTokenError(address, f"there is no {settings.api_token_file}")
        guard.beyond_loopback = True

    guard = Guard(app, settings.http_names, told, token)
    return WebServer(guard, settings.http_host, settings.http_port, beyond_loopback=beyond_loopback)


def probes_listener(app: ASGIApp, settings: Settings, told: Callable[[str], None]) -> WebServer:
    """For scrapers and probes. Beyond loopback whoever reaches it may ask, under any name.

    Args:
        app: The metrics and probes.
        settings: Where it listens.
        told: Hears why a request was refused.
    """

    def beyond_loopback(address: str) -> None:
        log.warning("metrics_not_loopback", address=address, detail="whoever reaches it can read the metrics")
        guard.beyond_loopback = True

    guard = Guard(app, settings.http_names, told, None)
    host, port = settings.metrics_host, settings.metrics_port
    return WebServer(guard, host, port, option="--metrics", beyond_loopback=beyond_loopback)

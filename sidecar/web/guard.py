"""Who is let through to a listener: every request is looked at before it comes to a route.

The browser of an operator reaches loopback, too, and takes any web page's orders. Such a page can't choose the headers
``Host`` (it is the page's own host, or what its host name was rebound from) and ``Origin``, and knows no token.
"""

import hmac
import ipaddress
import re
from collections.abc import Callable, Collection, Sequence
from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from sidecar.web.answers import problem

MAX_HEADERS: Final = 64
MAX_HEADER_BYTES: Final = 1 << 14
"""Names and values of all headers of a request, and its target."""

MAX_BODY_BYTES: Final = 1 << 16
HOOKS_PATH: Final = "/v1/hooks"
"""Has a token of its own, which lets a tool announce its writes and read nothing."""

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_Headers = Sequence[tuple[bytes, bytes]]


class Refused(Exception):  # noqa: N818 - an answer to the caller, not a fault of ours
    """A request is not let through; ``status`` and ``detail`` are the answer."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Guard:
    """The only door to an application.

    Attributes:
        beyond_loopback: Its listener can be reached from elsewhere.
    """

    def __init__(
        self,
        app: ASGIApp,
        names: Collection[str],
        told: Callable[[str], None],
        token: Callable[[], str | None] | None,
    ) -> None:
        """Stand before ``app``.

        Args:
            app: What is guarded.
            names: Host names that it goes by besides those of loopback.
            told: Hears why a request was refused.
            token: The secret that callers must know, read anew each time; None while there is none, which is enough
                on loopback. It raises `Refused` when what is there can't be used. Without this function it is
                for scrapers and probes, who know no secret and come under any name.
        """
        self.beyond_loopback = False
        self._app = app
        self._names = frozenset(name.lower() for name in names)
        self._told = told
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or answer it."""
        try:
            self._look(scope)
        except Refused as refused:
            self._told(refused.detail)
            answer = problem(refused.status, refused.detail)
            answer.headers["connection"] = "close"
            if refused.status is HTTPStatus.UNAUTHORIZED:
                answer.headers["www-authenticate"] = "Bearer"
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _look(self, scope: Scope) -> None:
        headers: _Headers = scope["headers"]
        _check_size(scope, headers)
        host = _only(headers, b"host", HTTPStatus.MISDIRECTED_REQUEST)
        if not self._known(host):
            what = "no request for this host is taken; `http_names` in the configuration adds names"
            raise Refused(HTTPStatus.MISDIRECTED_REQUEST, f"Host {host!r}: {what}")
        for name, value in headers:
            if name == b"origin":
                _check_origin(value.decode("latin-1"), host)
        if self._token is not None and scope["path"] != HOOKS_PATH:
            self._authenticate(headers, self._token())

    def _known(self, host: str) -> bool:
        """The sidecar may go by this name. A name that a page has rebound to us is none of them."""
        parsed = _HOST.fullmatch(host)
        if parsed is None:
            return False
        name = parsed[1].lower().strip("[]").removesuffix(".")
        if name == "localhost" or name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return self.beyond_loopback and self._token is None
        # Nobody can rebind an address. From a listener on loopback another one than loopback's wants something else.
        return self.beyond_loopback or address.is_loopback

    def _authenticate(self, headers: _Headers, token: str | None) -> None:
        if token is None:
            if self.beyond_loopback:
                what = "the API's token is gone: `openclaw-sidecar api token` makes one"
                raise Refused(HTTPStatus.FORBIDDEN, what)
            return
        given = [value for name, value in headers if name == b"authorization"]
        if len(given) != 1 or not is_bearer(given[0], token):
            raise Refused(HTTPStatus.UNAUTHORIZED, "send the API's token as `Authorization: Bearer TOKEN`")


def is_bearer(header: bytes, token: str) -> bool:
    """An ``Authorization`` header carries the token. The time that this takes does not tell how much of it is right."""
    kind, _, given = header.partition(b" ")
    return hmac.compare_digest(given.strip(), token.encode()) and kind.lower() == b"bearer"


def _check_size(scope: Scope, headers: _Headers) -> None:
    size = len(scope["raw_path"]) + len(scope["query_string"]) + sum(len(name) + len(value) for name, value in headers)
    if len(headers) > MAX_HEADERS or size > MAX_HEADER_BYTES:
        what = f"at most {MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes in all, the target included, are taken"
        raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, what)
    for name, value in headers:
        if name == b"content-length" and int(value) > MAX_BODY_BYTES:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body of at most {MAX_BODY_BYTES} bytes is taken")


def _only(headers: _Headers, wanted: bytes, otherwise: HTTPStatus) -> str:
    found = [value for name, value in headers if name == wanted]
    if len(found) != 1:
        raise Refused(otherwise, f"one header {wanted.decode()} is needed")
    return found[0].decode("latin-1")


def _check_origin(origin: str, host: str) -> None:
    """A browser names the site of the page that asks. Pages of ours there are none, but ours would be allowed."""
    scheme, _, site = origin.partition("://")
    if scheme not in {"http", "https"} or site.lower() != host.lower():
        raise Refused(HTTPStatus.FORBIDDEN, f"Origin {origin!r}: no page of another site may ask")

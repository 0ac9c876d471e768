"""Serves an application over HTTP inside the sidecar's event loop."""

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Final, cast

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from sidecar.web.connection import BOUNDS, BoundedConnection
from sidecar.web.errors import HttpBindError, HttpPortTakenError
from sidecar.web.guard import MAX_HEADER_BYTES

BACKLOG: Final = 128
TICK_SECONDS: Final = 1.0
"""How often the Date of the answers moves on."""

STOP_SECONDS: Final = 2
"""How long the end waits for answers under way."""

_HEADERS: Final = [
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
]
"""Of every answer: a browser hands it to no page of another site, takes it for nothing else, and does not keep it."""

_Where = tuple[str, int] | tuple[str, int, int, int]

log = structlog.get_logger("sidecar.web")


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopping = asyncio.Event()

    async def main_loop(self) -> None:
        """Keep the Date of the answers up to date. uvicorn's own loop wakes up ten times for that."""
        while not self._stopping.is_set():
            await self.on_tick(0)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), TICK_SECONDS)

    def stop(self) -> None:
        """End `serve`."""
        self.should_exit = True
        self._stopping.set()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Signals belong to the service, which stops every room in order."""
        yield


class WebServer:
    """A listener."""

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        *,
        option: str = "--http",
        beyond_loopback: Callable[[str], None] = lambda _address: None,
        connection: type[H11Protocol] = BoundedConnection,
    ) -> None:
        """Nothing is opened before `start`.

        Args:
            app: What answers.
            host: Address or name to listen on.
            port: 0 is any that is free.
            option: Of the command line, for messages.
            beyond_loopback: Called ahead of the opening where the address is not of loopback; may raise SidecarError.
            connection: How long a connection may take, and how many there may be.
        """
        self._host = host
        self._port = port
        self._option = option
        self._beyond_loopback = beyond_loopback
        config = uvicorn.Config(
            app,
            http=connection,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            headers=_HEADERS,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            timeout_keep_alive=BOUNDS.idle_seconds,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Open the port; connections are taken from now on.

        Returns:
            Host and port that it really listens on, such as ``127.0.0.1:9464``.

        Raises:
            HttpBindError: The address cannot be used; `HttpPortTakenError` when it is in use.
        """
        family, where = self._find()
        if not ipaddress.ip_address(where[0].partition("%")[0]).is_loopback:
            self._beyond_loopback(join_address(where[0], self._port))
        listener = self._listen(family, where)
        host, port = listener.getsockname()[:2]
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))
        self._task.add_done_callback(_ended)
        return join_address(host, port)

    async def stop(self) -> None:
        """Close the port; answers under way are finished."""
        if self._task is not None:
            self._server.stop()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._server.server_state.connections)

    def _find(self) -> tuple[socket.AddressFamily, _Where]:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (socket.gaierror, UnicodeError):
            raise self._bind_error("is not known") from None
        family, _type, _protocol, _name, where = found[0]
        return family, cast("_Where", where)

    def _listen(self, family: socket.AddressFamily, where: _Where) -> socket.socket:
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            # Without it a restart would have to wait until old connections have timed out.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRINUSE:
                raise HttpPortTakenError(join_address(self._host, self._port), self._option) from error
            raise self._bind_error(error.strerror or str(error)) from error
        return listener

    def _bind_error(self, reason: str) -> HttpBindError:
        return HttpBindError(join_address(self._host, self._port), reason, f"give another {self._option} HOST:PORT")


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("http_ended", exc_info=task.exception())


def join_address(host: str, port: int) -> str:
    """Host and port, as a URL has them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

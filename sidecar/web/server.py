"""Serves the API inside the sidecar's event loop."""

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final

import structlog
import uvicorn
from fastapi import FastAPI

from sidecar.web.errors import HttpBindError, HttpPortTakenError

BACKLOG: Final = 128
TICK_SECONDS: Final = 1.0
"""How often the Date of the answers moves on."""

STOP_SECONDS: Final = 2
"""How long the end waits for answers under way."""

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
    """The API's port."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        """Nothing is opened before `start`; port 0 is any that is free."""
        self._host = host
        self._port = port
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
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
        listener = _listen(self._host, self._port)
        host, port = listener.getsockname()[:2]
        if not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
            log.warning("http_not_loopback", address=_join(host, port), detail="whoever reaches it can read the API")
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))
        self._task.add_done_callback(_ended)
        return _join(host, port)

    async def stop(self) -> None:
        """Close the port; answers under way are finished."""
        if self._task is not None:
            self._server.stop()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("http_ended", exc_info=task.exception())


def _listen(host: str, port: int) -> socket.socket:
    address = _join(host, port)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise HttpBindError(address, "is not known", "give another --http HOST:PORT") from None
    family, _type, _protocol, _name, where = found[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Without it a restart would have to wait until old connections have timed out.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise HttpPortTakenError(address) from error
        raise HttpBindError(address, error.strerror or str(error), "give another --http HOST:PORT") from error
    return listener


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

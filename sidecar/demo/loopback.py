"""HTTP/1.1 on loopback: a server on a free port, and a client for one request.

One request per connection keeps both ends small: what tells the peer that an answer is complete is its end, and what
tells the server that the peer gave up is the end of its stream.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import h11

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType

HOST: Final = "127.0.0.1"
READ_BYTES: Final = 65536


@dataclass(frozen=True, slots=True)
class Request:
    """One received request; header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """One received response."""

    status: int
    body: bytes


@dataclass(slots=True)
class Exchange:
    """The server's end of one connection: a request that came in, and the way to answer it.

    Attributes:
        request: What was asked.
        hung_up: Set when the client closed its end before the answer was complete.
    """

    request: Request
    _connection: h11.Connection
    _writer: asyncio.StreamWriter
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self, status: int, content_type: str) -> None:
        """Send the head of an answer whose body follows in pieces."""
        headers = [("content-type", content_type), ("connection", "close")]
        await self._send(h11.Response(status_code=status, headers=headers))

    async def send(self, data: bytes) -> None:
        """Send a piece of the body."""
        await self._send(h11.Data(data=data))

    async def finish(self) -> None:
        """Complete the answer."""
        await self._send(h11.EndOfMessage())

    async def reply(self, status: int, content_type: str, body: bytes) -> None:
        """Send a whole answer."""
        await self.start(status, content_type)
        await self.send(body)
        await self.finish()

    async def _send(self, event: h11.Response | h11.Data | h11.EndOfMessage) -> None:
        self._writer.write(self._connection.send(event) or b"")
        with suppress(ConnectionError):
            await self._writer.drain()


class LoopbackServer:
    """Serves each request with one call of a handler, until it is closed.

    Args:
        handler: Answers an exchange. It is cancelled when the server closes.
    """

    def __init__(self, handler: Callable[[Exchange], Awaitable[None]]) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port, chosen by the kernel."""
        if self._server is None:
            raise RuntimeError("the server is not open")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop listening and drop what is still being answered."""
        if self._server is not None:
            self._server.close()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        try:
            request = await _read_request(connection, reader)
            if request is None:
                return
            exchange = Exchange(request, connection, writer)
            watcher = asyncio.get_running_loop().create_task(_watch_end(reader, exchange.hung_up))
            try:
                await self._handler(exchange)
            finally:
                watcher.cancel()
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def _watch_end(reader: asyncio.StreamReader, ended: asyncio.Event) -> None:
    with suppress(ConnectionError):
        while await reader.read(READ_BYTES):
            pass
    ended.set()


async def _read_request(connection: h11.Connection, reader: asyncio.StreamReader) -> Request | None:
    head: h11.Request | None = None
    body = bytearray()
    while True:
        match connection.next_event():
            case h11.NEED_DATA:
                data = await reader.read(READ_BYTES)
                if not data:
                    return None
                connection.receive_data(data)
            case h11.Request() as event:
                head = event
            case h11.Data() as event:
                body += event.data
            case h11.EndOfMessage() if head is not None:
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
                return Request(head.method.decode(), head.target.decode("latin-1"), headers, bytes(body))
            case _:
                return None


async def post(port: int, path: str, headers: Mapping[str, str], body: bytes) -> Response:
    """Send one POST request to a server on loopback and read the whole answer.

    Args:
        port: Where it listens.
        path: The request's target.
        headers: Headers besides host, connection and content-length.
        body: The request's body.

    Returns:
        Status and body of the answer.

    Raises:
        ConnectionError: Nothing listens there, or the server hung up before its answer was complete.
    """
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        connection = h11.Connection(h11.CLIENT)
        every = {**headers, "host": f"{HOST}:{port}", "connection": "close", "content-length": str(len(body))}
        writer.write(connection.send(h11.Request(method="POST", target=path, headers=list(every.items()))) or b"")
        writer.write(connection.send(h11.Data(data=body)) or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        await writer.drain()
        return await _read_response(connection, reader)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def _read_response(connection: h11.Connection, reader: asyncio.StreamReader) -> Response:
    status = 0
    body = bytearray()
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            raise ConnectionError(f"incomplete answer: {error}") from error
        match event:
            case h11.NEED_DATA:
                connection.receive_data(await reader.read(READ_BYTES))
            case h11.Response():
                status = event.status_code
            case h11.Data():
                body += event.data
            case h11.EndOfMessage():
                return Response(status, bytes(body))
            case _:
                raise ConnectionError("the server hung up before its answer")

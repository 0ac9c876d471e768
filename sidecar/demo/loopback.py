"""HTTP on loopback: a server on a free port, and a client for one request."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import h11
from fastapi import FastAPI, Request
from fastapi import Response as Reply
from uvicorn.protocols.http.h11_impl import H11Protocol

from sidecar.demo.running import Running
from sidecar.web.server import WebServer

HOST: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Response:
    """One received response."""

    status: int
    body: bytes


class LoopbackServer(Running):
    """Serves each request with one call of a handler."""

    def __init__(self, handler: Callable[[Request], Awaitable[Reply]]) -> None:
        app = FastAPI(openapi_url=None)
        app.add_route("/{path:path}", handler, methods=["GET", "POST"])
        # A gateway asks as much as it likes, and reads a slow answer for minutes.
        self._web = WebServer(app, HOST, 0, connection=H11Protocol)
        self.address = ""
        """Host and port that it listens on; empty before it does."""

    async def start(self) -> None:
        """Listen."""
        self.address = await self._web.start()

    async def stop(self) -> None:
        """Stop listening; what is still being answered two seconds later is dropped."""
        await self._web.stop()


async def post(port: int, path: str, headers: Mapping[str, str], body: bytes) -> Response:
    """Send one POST request to a server on loopback and read the whole answer. To cancel it hangs up.

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
        for event in (
            h11.Request(method="POST", target=path, headers=list(every.items())),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            writer.write(connection.send(event) or b"")
        connection.receive_data(await reader.read())
        connection.receive_data(b"")
        return _response(connection)
    except h11.RemoteProtocolError as error:
        raise ConnectionError(f"incomplete answer: {error}") from error
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def _response(connection: h11.Connection) -> Response:
    """The answer that the connection has received, to its end."""
    status, body = 0, bytearray()
    while True:
        match connection.next_event():
            case h11.Response() as head:
                status = head.status_code
            case h11.Data() as piece:
                body += piece.data
            case h11.EndOfMessage():
                return Response(status, bytes(body))
            case _:
                raise ConnectionError("the server hung up before its answer")

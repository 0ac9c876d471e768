"""One connection to a listener of the sidecar, within bounds. What exceeds them is cut off without a word.

uvicorn bounds the time between two requests, and the size of headers that have not come whole. It waits for ever for a
first request, for the rest of a request, and for a peer that does not read its answer.
"""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from sidecar.web.answers import problem


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the connections to a listener may take.

    Attributes:
        connections: At a time.
        request_seconds: From the connection, or the last answer, to the last byte of the next request.
        answer_seconds: From there until the answer is made, and until the peer has read it.
        idle_seconds: Between an answer and the first byte of the next request.
    """

    connections: int = 64
    request_seconds: float = 10.0
    answer_seconds: float = 30.0
    idle_seconds: int = 5


BOUNDS: Final = Bounds()


class BoundedConnection(H11Protocol):
    """Ends when it takes too long, or when there are too many."""

    bounds = BOUNDS
    """Of all connections of the class."""

    _deadline: asyncio.TimerHandle | None = None

    @property
    def waits(self) -> bool:
        """Its request has not come whole."""
        return self.conn.their_state in {h11.IDLE, h11.SEND_BODY}

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvicorn narrows the type of asyncio's
        """Take it if there is room. Whoever has waited longest without asking anything makes room."""
        super().connection_made(transport)
        self._arm(self.bounds.request_seconds)
        if len(self.connections) > self.bounds.connections:
            waiting = [one for one in self.connections if isinstance(one, BoundedConnection) and one.waits]
            min(waiting, key=lambda one: one.expires, default=self).cut()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        waited = self.waits
        super().data_received(data)
        if waited and not self.waits:
            self._arm(self.bounds.answer_seconds)

    def on_response_complete(self) -> None:
        """The answer is made; the peer has yet to read it."""
        unread = bool(self.transport.get_write_buffer_size())
        self._arm(self.bounds.answer_seconds if unread else self.bounds.request_seconds)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._disarm()
        super().connection_lost(exc)

    @property
    def expires(self) -> float:
        """When it is cut off, by the event loop's clock."""
        return self._deadline.when() if self._deadline is not None else 0.0

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP: an error in the API's own form, which its document names, and the end."""
        answer = problem(HTTPStatus.BAD_REQUEST, msg)
        headers = [*answer.raw_headers, *self.server_state.default_headers, (b"connection", b"close")]
        status, reason = answer.status_code, HTTPStatus.BAD_REQUEST.phrase.encode()
        for event in (
            h11.Response(status_code=status, headers=headers, reason=reason),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def cut(self) -> None:
        """End it now, whatever is under way."""
        self._disarm()
        self.connections.discard(self)
        self.transport.abort()

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(seconds, self.cut)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

"""A turn that waits for its model: the time in which somebody else's write costs the turn."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sidecar.demo.errors import TurnEndedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sidecar.demo.gateway import Gateway, TurnResult
    from sidecar.demo.model import ModelCall, SlowModel


@dataclass(frozen=True, slots=True)
class OpenWindow:
    """A turn in its model call.

    Attributes:
        call: The model call, unanswered.
        session_file: The session's transcript.
    """

    call: ModelCall
    session_file: Path
    _turn: asyncio.Task[TurnResult] = field(repr=False)

    async def close(self, text: str = "The answer.") -> TurnResult:
        """Let the model answer, and wait for what becomes of the turn."""
        self.call.answer(text)
        return await self._turn


@asynccontextmanager
async def open_window(
    gateway: Gateway, model: SlowModel, session_key: str, text: str, timeout_seconds: float = 60.0
) -> AsyncIterator[OpenWindow]:
    """Start a turn and hold its model call open until `OpenWindow.close`, or until the block ends.

    Args:
        gateway: Where to start it.
        model: The gateway's model.
        session_key: The session.
        text: The user's message; no other open turn may contain it.
        timeout_seconds: How long the turn may take as a whole.

    Yields:
        The window, once the gateway waits for the model.

    Raises:
        TurnEndedError: The turn ended without a model call.
    """
    loop = asyncio.get_running_loop()
    turn = loop.create_task(gateway.turn(session_key, text, timeout_seconds))
    arrival = loop.create_task(model.next_call(mentioning=text, timeout_seconds=timeout_seconds))
    try:
        await asyncio.wait({turn, arrival}, return_when=asyncio.FIRST_COMPLETED)
        if not arrival.done():
            result = turn.result()
            raise TurnEndedError(result.status, result.text or result.error)
        call = arrival.result()
        try:
            yield OpenWindow(call, gateway.session_file(session_key), turn)
        finally:
            call.answer("")
    finally:
        for task in (turn, arrival):
            task.cancel()
        await asyncio.gather(turn, arrival, return_exceptions=True)

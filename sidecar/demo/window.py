"""A turn that waits for its model: the time in which somebody else's write costs the turn."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sidecar.demo.errors import TurnEndedError
from sidecar.demo.gateway import Gateway, TurnResult
from sidecar.demo.model import ModelCall, SlowModel

_FIRST_TO_TAKE_IT_AGAIN: Final = "2026.5.22"


@dataclass(frozen=True, slots=True)
class OpenWindow:
    """A turn in its model call.

    Attributes:
        call: The model call, unanswered.
        session_file: The session's transcript; where sessions are rows, the database with them.
    """

    call: ModelCall
    session_file: Path
    _turn: asyncio.Task[TurnResult] = field(repr=False)

    async def close(self, text: str = "The answer.") -> TurnResult:
        """Let the model answer, and wait for what becomes of the turn."""
        self.call.answer(text)
        return await self._turn


async def _lock_taken_again(lock: Path) -> None:
    """Wait until the run has the session lock again, which it takes as its model's call begins, and holds.

    A writer of the gateway's own process enters a lock that is held; one that asks for it in the very milliseconds in
    which it is taken waits for the whole call, with the gateway by itself as well. A turn for which there is no such
    lock is gone on with after two seconds.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(2.0):
            while not _is_whole(lock):  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.005)


def _is_whole(lock: Path) -> bool:
    try:
        return isinstance(json.loads(lock.read_bytes()), dict)
    except (OSError, ValueError):
        return False


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
        rows = gateway.package.keeps_rows
        session_file = gateway.database(session_key) if rows else gateway.session_file(session_key)
        if not rows and gateway.package.version >= _FIRST_TO_TAKE_IT_AGAIN:
            await _lock_taken_again(session_file.with_name(session_file.name + ".lock"))
        try:
            yield OpenWindow(call, session_file, turn)
        finally:
            call.answer("")
    finally:
        for task in (turn, arrival):
            task.cancel()
        await asyncio.gather(turn, arrival, return_exceptions=True)

"""Long jobs in the event loop take turns with everything else: a gateway waits 250 ms for an answer, and no longer."""

from __future__ import annotations

import asyncio
import time
from typing import Final

TURN_SECONDS: Final = 0.005
"""So long a job may hold the loop before others have their turn."""


class Turns:
    """Of one job."""

    def __init__(self, turn_seconds: float | None = None) -> None:
        """The first turn begins now."""
        self._turn_seconds = TURN_SECONDS if turn_seconds is None else turn_seconds
        self._began = time.monotonic()

    async def give(self) -> None:
        """Let everything that waits have its turn, if this one was long enough."""
        if time.monotonic() - self._began >= self._turn_seconds:
            await asyncio.sleep(0)
            self._began = time.monotonic()

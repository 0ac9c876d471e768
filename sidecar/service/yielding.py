"""Long jobs give the event loop back now and then: a gateway waits 250 ms for an answer, and no longer."""

import asyncio
import time
from typing import Final

SLICE_SECONDS: Final = 0.005
"""The time for which a job may hold the loop."""


class TimeSlice:
    """Measures how long one job has held the loop."""

    def __init__(self, slice_seconds: float | None = None) -> None:
        self._slice_seconds = SLICE_SECONDS if slice_seconds is None else slice_seconds
        self._began = time.monotonic()

    async def pause(self) -> None:
        """Let everything run that waits, if the slice is used up."""
        if time.monotonic() - self._began >= self._slice_seconds:
            await asyncio.sleep(0)
            self._began = time.monotonic()

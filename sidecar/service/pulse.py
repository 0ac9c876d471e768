"""Feels whether the event loop keeps time: a gateway waits 250 ms for an answer, whatever else the sidecar does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

BEAT_SECONDS: Final = 0.1
"""How often it is felt."""

LATE_SECONDS: Final = 0.1
"""A beat that is later than this is worth a line."""

QUIET_SECONDS: Final = 10.0
"""After such a line there is no other for so long."""

log = structlog.get_logger("sidecar")


class Pulse:
    """Beats in the running loop and says how late each beat was."""

    def __init__(self, told: Callable[[float], None]) -> None:
        """``told`` gets the seconds that a beat was late; never negative."""
        self._told = told
        self._next: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._quiet_until = 0.0

    def start(self) -> None:
        """Begin to beat."""
        loop = asyncio.get_running_loop()
        self._due = loop.time() + BEAT_SECONDS
        self._next = loop.call_at(self._due, self._beat)

    def stop(self) -> None:
        """Beat no more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _beat(self) -> None:
        now = asyncio.get_running_loop().time()
        late = max(0.0, now - self._due)
        self._told(late)
        if late > LATE_SECONDS and now >= self._quiet_until:
            self._quiet_until = now + QUIET_SECONDS
            log.info("loop_late", milliseconds=round(late * 1000), detail="a gateway would have waited")
        self.start()

"""Measures how late the event loop is: a gateway waits 250 ms for an answer, whatever else the sidecar does."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog

BEAT_SECONDS: Final = 0.1
"""The time between two measurements while a gateway is linked."""

IDLE_BEAT_SECONDS: Final = 0.5
"""The same while none is: nobody waits for an answer, and waking up is what an idle sidecar costs."""

LATE_SECONDS: Final = 0.1
"""A measurement of more than this is logged."""

HALT_SECONDS: Final = 0.2
"""A measurement of more than this is a halt, as far as this thread was not at work meanwhile."""

QUIET_SECONDS: Final = 10.0
"""The least time between two such lines."""

log = structlog.get_logger("sidecar")


class LoopLag:
    """Runs a timer in the event loop and reports how late it fired."""

    def __init__(
        self, report: Callable[[float], None], halted: Callable[[float], None], linked: Callable[[], bool]
    ) -> None:
        """Measure nothing before `start`.

        ``report`` gets the seconds by which a timer was late, never negative; ``halted`` those in which the process did
        not run, or waited for something other than the loop. ``linked`` says whether a gateway is linked.
        """
        self._report = report
        self._halted = halted
        self._linked = linked
        self._next: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._worked = 0.0
        self._quiet_until = 0.0

    def start(self) -> None:
        """Begin to measure."""
        loop = asyncio.get_running_loop()
        self._await_next(loop, loop.time(), time.thread_time())

    def stop(self) -> None:
        """Measure no more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def check(self) -> None:
        """Measure now if the timer is long overdue: what is about to be taken in may have waited since then."""
        if self._next is not None and asyncio.get_running_loop().time() - self._due > HALT_SECONDS:
            self._next.cancel()
            self._beat()

    def _beat(self) -> None:
        """Runs also in an idle sidecar, so each clock is read once."""
        loop = asyncio.get_running_loop()
        now, worked = loop.time(), time.thread_time()
        late = max(0.0, now - self._due)
        self._report(late)
        if late > LATE_SECONDS:
            self._came_late(late, now, worked)
            now, worked = loop.time(), time.thread_time()  # what was done about it is no lateness of the next beat
        self._await_next(loop, now, worked)

    def _came_late(self, late: float, now: float, worked: float) -> None:
        idle = late - (worked - self._worked)
        if idle > HALT_SECONDS:
            self._halted(idle)
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_SECONDS
            log.info("loop_late", milliseconds=round(late * 1000), detail="a gateway would have waited")

    def _await_next(self, loop: asyncio.AbstractEventLoop, now: float, worked: float) -> None:
        self._due, self._worked = now + (BEAT_SECONDS if self._linked() else IDLE_BEAT_SECONDS), worked
        self._next = loop.call_at(self._due, self._beat)

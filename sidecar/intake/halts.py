"""Counts the times in which the sidecar itself did not run, so that late answers have a cause."""

from collections.abc import Callable, Iterator
from typing import Final

import structlog

from sidecar.core.events import Event, SidecarHalted
from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.status import HaltStatus, Problem
from sidecar.store.public import iso_utc

RECENT_NS: Final = 600 * NS_PER_SECOND
"""A halt is a problem of the status for so long."""

log = structlog.get_logger("sidecar")


class Halts:
    """Reports each halt to the core, and keeps their number for the status."""

    def __init__(
        self, report: Callable[[Event], None], count: Callable[[float], None], now_ns: Callable[[], int]
    ) -> None:
        """``report`` takes an event of the core, ``count`` the seconds of each halt."""
        self._report = report
        self._count = count
        self._now_ns = now_ns
        self._status = HaltStatus()

    def halted(self, seconds: float) -> None:
        """The sidecar did not run for so long, until now."""
        at_ns, known = self._now_ns(), self._status
        since_ns = at_ns - round(seconds * NS_PER_SECOND)
        self._status = HaltStatus(
            count=known.count + 1, seconds=known.seconds + seconds, since_ns=since_ns, until_ns=at_ns
        )
        log.warning("not_running", seconds=round(seconds, 3), detail="a gateway that asked was not answered in time")
        self._count(seconds)
        self._report(SidecarHalted(since_ns=since_ns, at_ns=at_ns))

    def status(self) -> HaltStatus:
        """How often, how long, and when it was the last time."""
        return self._status

    def problems(self) -> Iterator[Problem]:
        """A halt of the last ten minutes."""
        last = self._status
        if last.count and self._now_ns() - last.until_ns < RECENT_NS:
            seconds = (last.until_ns - last.since_ns) / NS_PER_SECOND
            yield Problem(
                code="not_running",
                what=f"the sidecar did not run for {seconds:.1f} s until {iso_utc(last.until_ns)} (this is reported for"
                " ten minutes); turns that asked it then were lost as without a sidecar",
                remedy="see what stopped it: a signal, the CPU limit of its container, a slow disk, a busy machine",
            )

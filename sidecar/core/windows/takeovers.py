"""Takeovers that a gateway reported: the trip of a fence and two lines of the log are one event."""

from typing import Final

from sidecar.core.facts.bounded import Bounded
from sidecar.core.outcomes import TakeoverReported, TakeoverSource

MAX_REMEMBERED: Final = 4_096

SAME_NS: Final = 60 * 1_000_000_000
"""A line of the log names no run: within this time of other word of the same file, it is about the same takeover."""


class Takeovers:
    """Tells new takeovers from those that were reported before."""

    def __init__(self) -> None:
        self._runs: Bounded[tuple[str, str], int] = Bounded(MAX_REMEMBERED)
        self._unclaimed: Bounded[str, int] = Bounded(MAX_REMEMBERED)
        """Files that only the log has named: the fence's word for it may still come."""
        self._last: Bounded[str, int] = Bounded(MAX_REMEMBERED)

    def tripped(self, run: str, file: str, at_ns: int) -> TakeoverReported | None:
        """A fence stopped a run; ``run`` is its id, or the window's where it has none.

        Returns:
            The takeover if it is new.
        """
        name = file.rpartition("/")[2]
        if self._runs.get((run, name)) is not None:
            return None
        self._runs.put((run, name), at_ns)
        self._last.put(name, at_ns)
        logged = self._unclaimed.pop(name)
        if logged is not None and abs(at_ns - logged) <= SAME_NS:
            return None
        return TakeoverReported(file=file, source=TakeoverSource.FENCE)

    def logged(self, file: str, at_ns: int) -> TakeoverReported | None:
        """The gateway's log reported a takeover of this file.

        Returns:
            The takeover if it is new.
        """
        name = file.rpartition("/")[2]
        last = self._last.get(name)
        self._last.put(name, at_ns)
        if last is not None and abs(at_ns - last) <= SAME_NS:
            return None
        self._unclaimed.put(name, at_ns)
        return TakeoverReported(file=file, source=TakeoverSource.LOG)

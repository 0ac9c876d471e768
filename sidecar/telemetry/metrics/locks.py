"""Session locks: how long writers wait for them and hold them, and what goes wrong."""

from typing import Final

from sidecar.core.events import LockReleased, LockTaken
from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.core.outcomes import LockTimeout, LockTimeoutSettled
from sidecar.core.reports import LockFailed
from sidecar.telemetry.metrics.counting import BY_WRITER, Counting, Guarded, Handlers, by, guarded, kind_of
from sidecar.telemetry.metrics.instrument import LOCK_BUCKETS, counter, histogram, values
from sidecar.telemetry.names.labels import StaleLock
from sidecar.telemetry.names.names import Label

LOCK_WAIT = histogram("lock.wait", "Time a writer waited for the session lock.", LOCK_BUCKETS, BY_WRITER)
LOCK_HOLD = histogram("lock.hold", "Time a writer held the session lock.", LOCK_BUCKETS, BY_WRITER)
LOCK_FAILURES = counter(
    "lock.failures",
    "{failure}",
    "Session locks not had, by reason.",
    {Label.REASON: frozenset({"timeout", "stale", "aborted", "error"})},
)
LOCK_STALE = counter(
    "lock.stale",
    "{lock}",
    "Lock files that nobody will give back, once each, by reason.",
    {Label.REASON: values(StaleLock)},
)
LOCK_TIMEOUTS = counter(
    "lock.timeouts",
    "{timeout}",
    "Lock timeouts of fenced runs, by what came of them.",
    {Label.OUTCOME: values(LockTimeout)},
)


def _taken(into: Counting, event: LockTaken) -> None:
    where = into.runs.get(event.writer.run_id)
    into.meters.record(LOCK_WAIT, event.wait_ns / NS_PER_SECOND, kind_of(event.writer), where)


def _released(into: Counting, event: LockReleased) -> None:
    where = into.runs.get(event.writer.run_id)
    into.meters.record(LOCK_HOLD, event.held_ns / NS_PER_SECOND, kind_of(event.writer), where)


HANDLERS: Final[Handlers] = {
    LockTaken: _taken,
    LockReleased: _released,
    **by(LockFailed, LOCK_FAILURES, Label.REASON, lambda report: report.reason),
    **by(LockTimeoutSettled, LOCK_TIMEOUTS, Label.OUTCOME, lambda outcome: outcome.result.value),
}


class LockFileCounts(Guarded):
    """Counts what the sweep of lock files finds."""

    @guarded
    def stale_lock(self, reason: StaleLock | str) -> None:
        """A lock file was found that nobody will give back."""
        self._meters.add(LOCK_STALE, labels={Label.REASON: reason})

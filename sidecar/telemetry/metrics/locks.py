"""Session locks: how long writers wait for them and hold them, and what goes wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sidecar.core.events import LockReleased, LockTaken
from sidecar.core.outcomes import LockTimeout, LockTimeoutSettled
from sidecar.core.reports import LockFailed
from sidecar.telemetry.metrics.counting import BY_WRITER, NS_PER_SECOND, Family, Guarded, guarded, kind_of
from sidecar.telemetry.metrics.instrument import LOCK_BUCKETS, counter, histogram, values
from sidecar.telemetry.names.labels import LockFailure, StaleLock
from sidecar.telemetry.names.names import Label

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOCK_WAIT = histogram(
    "openclaw.sidecar.lock.wait", "Time a writer waited for the session lock.", LOCK_BUCKETS, BY_WRITER
)
LOCK_HOLD = histogram("openclaw.sidecar.lock.hold", "Time a writer held the session lock.", LOCK_BUCKETS, BY_WRITER)
LOCK_FAILURES = counter(
    "openclaw.sidecar.lock.failures",
    "{failure}",
    "Session locks not had, by reason.",
    {Label.REASON: values(LockFailure)},
)
LOCK_STALE = counter(
    "openclaw.sidecar.lock.stale",
    "{lock}",
    "Lock files that nobody will give back, once each, by reason.",
    {Label.REASON: values(StaleLock)},
)
LOCK_TIMEOUTS = counter(
    "openclaw.sidecar.lock.timeouts",
    "{timeout}",
    "Lock timeouts of fenced runs, by what came of them.",
    {Label.OUTCOME: values(LockTimeout)},
)


class LockCounts(Family):
    """Counts what processes report of their locks."""

    def handlers(self) -> Mapping[type, Callable[[Any], None]]:
        """See `Family.handlers`."""
        return {
            LockTaken: self._taken,
            LockReleased: self._released,
            LockFailed: self._failed,
            LockTimeoutSettled: self._settled,
        }

    def _taken(self, event: LockTaken) -> None:
        where = self._runs.get(event.writer.run_id)
        self._meters.record(LOCK_WAIT, event.wait_ns / NS_PER_SECOND, kind_of(event.writer), where)

    def _released(self, event: LockReleased) -> None:
        where = self._runs.get(event.writer.run_id)
        self._meters.record(LOCK_HOLD, event.held_ns / NS_PER_SECOND, kind_of(event.writer), where)

    def _failed(self, report: LockFailed) -> None:
        self._meters.add(LOCK_FAILURES, labels={Label.REASON: report.reason})

    def _settled(self, outcome: LockTimeoutSettled) -> None:
        self._meters.add(LOCK_TIMEOUTS, labels={Label.OUTCOME: outcome.result.value})


class LockFileCounts(Guarded):
    """Counts what the sweep of lock files finds."""

    @guarded
    def stale_lock(self, reason: StaleLock | str) -> None:
        """A lock file was found that nobody will give back."""
        self._meters.add(LOCK_STALE, labels={Label.REASON: reason})

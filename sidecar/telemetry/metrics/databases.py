"""The locks of agents' databases: how long they are waited for and held, by the gateway and by strangers."""

from typing import Final

from sidecar.core.events import DatabaseLocked
from sidecar.core.facts.database import LockError
from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.core.outcomes import ForeignHoldEnded
from sidecar.telemetry.metrics.counting import Counting, Handlers
from sidecar.telemetry.metrics.instrument import LOCK_BUCKETS, counter, histogram, values
from sidecar.telemetry.names.labels import NONE, OTHER, DatabaseWork
from sidecar.telemetry.names.names import Label

_BY_WORK: Final = {Label.OPERATION: values(DatabaseWork, NONE)}

DATABASE_LOCK_WAIT = histogram(
    "database.lock.wait",
    "Time a write transaction of the gateway waited for an agent's database.",
    LOCK_BUCKETS,
    _BY_WORK,
)
DATABASE_LOCK_HOLD = histogram(
    "database.lock.hold", "Time a write transaction of the gateway held an agent's database.", LOCK_BUCKETS, _BY_WORK
)
DATABASE_LOCK_FAILURES = counter(
    "database.lock.failures",
    "{failure}",
    "Write transactions that were not had, or committed nothing, by reason.",
    {Label.REASON: values(LockError)},
)
DATABASE_FOREIGN_HOLD = histogram(
    "database.foreign.hold",
    "Time a process without a link was seen to hold an agent's database for writing.",
    LOCK_BUCKETS,
)

_WORK: Final = (
    (("session.transcript", "session transcript", "sessions.transcript"), DatabaseWork.TRANSCRIPT),
    (("session.reclamation", "session cold", "session.canonical", "session-migration"), DatabaseWork.RECLAMATION),
    (("session",), DatabaseWork.SESSION),
    (("agent",), DatabaseWork.AGENT),
)
"""How the gateway's words for its operations begin."""


def work_of(lock: DatabaseLocked) -> str:
    """The label of a transaction."""
    if lock.rows:
        return DatabaseWork.TRANSCRIPT.value
    if not lock.operation:
        return NONE
    return next((work.value for words, work in _WORK if lock.operation.startswith(words)), OTHER)


def _locked(into: Counting, lock: DatabaseLocked) -> None:
    where, labels = into.runs.get(lock.writer.run_id), {Label.OPERATION: work_of(lock)}
    into.meters.record(DATABASE_LOCK_WAIT, lock.wait_ns / NS_PER_SECOND, labels, where)
    if lock.held_ns:
        into.meters.record(DATABASE_LOCK_HOLD, lock.held_ns / NS_PER_SECOND, labels, where)
    if lock.error is not None:
        into.meters.add(DATABASE_LOCK_FAILURES, labels={Label.REASON: lock.error.value})


def _foreign(into: Counting, ended: ForeignHoldEnded) -> None:
    into.meters.record(DATABASE_FOREIGN_HOLD, (ended.hold.until_ns - ended.hold.since_ns) / NS_PER_SECOND)


HANDLERS: Final[Handlers] = {DatabaseLocked: _locked, ForeignHoldEnded: _foreign}

"""Spans of the locks of agents' databases: those of runs, and of all others the long ones and those not had."""

from typing import Final

from sidecar.core.facts.database import DatabaseHold
from sidecar.core.facts.units import NS_PER_MS, NS_PER_SECOND
from sidecar.core.outcomes import DatabaseLockEnded
from sidecar.telemetry.names.attributes import Attributes, of_writer, present, token
from sidecar.telemetry.names.names import Attribute, Moment, Span
from sidecar.telemetry.traces.locks import previous_writer
from sidecar.telemetry.traces.span import SpanFact, SpanMoment

LONG_NS: Final = 100 * NS_PER_MS
"""A gateway makes hundreds of transactions in its upkeep: only those that waited or held so long are of interest."""


def database_lock_span(ended: DatabaseLockEnded) -> SpanFact | None:
    """The span starts with the wait; the moment of the taking parts wait and hold. None where nobody asks for it."""
    lock = ended.lock
    if not lock.writer.run_id and lock.error is None and max(lock.wait_ns, lock.held_ns) < LONG_NS:
        return None
    had_ns = lock.at_ns - lock.held_ns
    return SpanFact(
        name=Span.DATABASE_LOCK,
        start_ns=had_ns - lock.wait_ns,
        end_ns=lock.at_ns,
        attributes={
            Attribute.FILE_PATH: lock.database,
            Attribute.LOCK_WAIT: lock.wait_ns / NS_PER_SECOND,
            Attribute.LOCK_HOLD: lock.held_ns / NS_PER_SECOND,
            Attribute.THREAD_ID: lock.thread,
            **present({Attribute.LOCK_OPERATION: token(lock.operation), Attribute.LOCK_ROWS: lock.rows}),
            **of_writer(lock.writer),
            **previous_writer(ended.previous),
            **_holder(ended.holder),
        },
        moments=(SpanMoment(had_ns, Moment.LOCK_ACQUIRED),) if lock.held_ns else (),
        error=lock.error.value if lock.error is not None else "",
        description="" if lock.error is None else f"the database could not be written to: {lock.error.value}",
    )


def _holder(hold: DatabaseHold | None) -> Attributes:
    if hold is None:
        return {}
    process = hold.process
    return present(
        {
            Attribute.LOCK_HOLDER_PID: process.pid,
            Attribute.LOCK_HOLDER_COMMAND: hold.command,
            Attribute.LOCK_HOLDER_CONTAINER: process.container,
        }
    )

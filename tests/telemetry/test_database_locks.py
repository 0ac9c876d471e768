"""The locks of agents' databases: which of them are spans, where these go, and how they are counted."""

import pytest
from opentelemetry.trace import StatusCode

from sidecar.core.facts.database import LockError
from sidecar.telemetry.metrics.databases import (
    DATABASE_FOREIGN_HOLD,
    DATABASE_LOCK_FAILURES,
    DATABASE_LOCK_HOLD,
    DATABASE_LOCK_WAIT,
)
from sidecar.telemetry.traces.database_locks import LONG_NS
from tests.telemetry import facts
from tests.telemetry.conftest import Bench
from tests.telemetry.facts import COTENANT, DATABASE, GATEWAY, MS, RUN_SPAN, SECOND, T0, TRACE


def test_a_transaction_of_a_run_is_a_span_in_its_trace(bench: Bench) -> None:
    bench.telemetry.diagnostic(facts.run_started(T0), GATEWAY)
    bench.tell(facts.opened(), facts.database_locked(T0 + SECOND, wait_ns=40 * MS, held_ns=10 * MS))
    span = bench.span("db.lock")
    assert span.attributes is not None
    assert (span.start_time, span.end_time) == (T0 + SECOND - 50 * MS, T0 + SECOND)
    assert [(event.name, event.timestamp) for event in span.events] == [("lock.acquired", T0 + SECOND - 10 * MS)]
    assert span.attributes["file.path"] == DATABASE
    assert span.attributes["openclaw.lock.operation"] == "agent.write"
    assert (span.attributes["openclaw.lock.wait_seconds"], span.attributes["openclaw.lock.hold_seconds"]) == (
        0.04,
        0.01,
    )
    assert span.context is not None
    assert span.parent is not None
    assert (span.context.trace_id, span.parent.span_id) == (int(TRACE, 16), int(RUN_SPAN, 16))


def test_the_stranger_that_it_waited_for_is_named(bench: Bench) -> None:
    bench.tell(facts.opened(), facts.foreign(T0))
    bench.tell(facts.database_locked(T0 + 5 * SECOND, wait_ns=5 * SECOND, writer=COTENANT, error=LockError.BUSY))
    span = bench.span("db.lock")
    assert span.attributes is not None
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "busy"
    assert span.attributes["openclaw.lock.holder.pid"] == 99
    assert span.attributes["openclaw.lock.holder.command"] == "python3 /opt/backup.py"


@pytest.mark.parametrize(("wait_ns", "held_ns"), [(LONG_NS, MS), (0, LONG_NS)])
def test_of_what_no_run_did_only_what_took_long_is_a_span(bench: Bench, wait_ns: int, held_ns: int) -> None:
    bench.tell(facts.database_locked(T0, wait_ns=wait_ns - 1, held_ns=MS, writer=COTENANT))
    assert bench.spans() == []
    bench.tell(facts.database_locked(T0, wait_ns=wait_ns, held_ns=held_ns, writer=COTENANT))
    assert bench.span("db.lock").parent is None


@pytest.mark.parametrize(
    ("operation", "rows", "label"),
    [
        ("agent.write", 2, "transcript"),
        ("session.transcript.batch", 0, "transcript"),
        ("session transcript raw delta", 0, "transcript"),
        ("sessions.assign-owner", 0, "session"),
        ("session-entry.patch", 0, "session"),
        ("session.reclamation.commit-settlement", 0, "reclamation"),
        ("agent.write", 0, "agent"),
        ("", 0, "none"),
        ("something.new", 0, "other"),
    ],
)
def test_waits_and_holds_are_counted_by_what_they_were_for(bench: Bench, operation: str, rows: int, label: str) -> None:
    bench.tell(facts.database_locked(T0, held_ns=MS, operation=operation, rows=rows))
    assert bench.value(DATABASE_LOCK_WAIT, operation=label) == 1
    assert bench.value(DATABASE_LOCK_HOLD, operation=label) == 1
    assert bench.value(DATABASE_LOCK_FAILURES) == 0


def test_a_lock_that_was_not_had_is_a_wait_and_a_failure_and_no_hold(bench: Bench) -> None:
    bench.tell(facts.database_locked(T0, error=LockError.BUSY))
    assert bench.value(DATABASE_LOCK_WAIT) == 1
    assert bench.value(DATABASE_LOCK_HOLD) == 0
    assert bench.value(DATABASE_LOCK_FAILURES, reason="busy") == 1


def test_the_hold_of_a_stranger_is_counted_when_it_is_over(bench: Bench) -> None:
    bench.tell(facts.opened(), facts.foreign(T0))
    assert bench.value(DATABASE_FOREIGN_HOLD) == 0
    bench.tell(facts.foreign(T0, until_ns=T0 + 3 * SECOND))
    assert bench.value(DATABASE_FOREIGN_HOLD) == 1

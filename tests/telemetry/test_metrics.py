"""What is counted and measured."""

from opentelemetry.sdk.metrics.export import HistogramDataPoint

from sidecar.core import events as ev
from sidecar.core.facts.change import Operation
from sidecar.core.facts.gateway import Run
from sidecar.core.facts.loss import Loss
from sidecar.core.facts.value import replace
from sidecar.core.outcomes import RecoveryWithheld, TurnLost
from sidecar.core.policy.blocked import BlockReason
from sidecar.core.verdict.incident import Outcome
from sidecar.core.verdict.judge import Verdict
from sidecar.telemetry.metrics.custody import CUSTODY_LOSSES
from sidecar.telemetry.metrics.gateways import MODEL_CALLS, MODEL_DURATION
from sidecar.telemetry.metrics.instrument import LOCK_BUCKETS
from sidecar.telemetry.metrics.link import REJECTED, REPORT_GAPS, REPORTS, REPORTS_LOST
from sidecar.telemetry.metrics.locks import LOCK_HOLD, LOCK_WAIT
from sidecar.telemetry.metrics.recoveries import (
    INCIDENTS,
    RECOVERIES,
    RECOVERY_COMMANDS,
    RECOVERY_HOLDS,
    RECOVERY_LATENCY,
    TURNS_LOST,
    VERDICT_LATENCY,
)
from sidecar.telemetry.metrics.service import LOOP_DELAY, NOT_RUNNING, PAGES, POLICY_LOADS, WATCH_OVERFLOWS
from sidecar.telemetry.metrics.stalls import STALLS
from sidecar.telemetry.metrics.windows import CHANGES, WINDOW_LENGTH, WINDOWS_CLOSED, WRITTEN
from sidecar.telemetry.names.labels import PageOutcome, Rejection
from tests.telemetry import facts
from tests.telemetry.conftest import Bench
from tests.telemetry.facts import COTENANT, GATEWAY, MS, SECOND, T0


def test_lock_wait_and_hold_are_measured_by_writer_kind(bench: Bench) -> None:
    bench.tell(facts.taken(T0, COTENANT, wait_ns=90 * SECOND), facts.released(T0, COTENANT, held_ns=4 * MS))
    (wait,) = bench.points(LOCK_WAIT)
    assert isinstance(wait, HistogramDataPoint)
    assert wait.sum == 90.0
    assert tuple(wait.explicit_bounds) == LOCK_BUCKETS
    assert (LOCK_BUCKETS[0], LOCK_BUCKETS[-1]) == (0.001, 600.0)
    assert dict(wait.attributes or {}) == {"writer_kind": "inject"}
    assert bench.value(LOCK_HOLD, writer_kind="inject") == 1


def test_a_clock_that_was_set_back_gives_no_negative_length(bench: Bench) -> None:
    bench.tell(facts.fence(T0), facts.closed(T0 - SECOND))
    (length,) = bench.points(WINDOW_LENGTH)
    assert isinstance(length, HistogramDataPoint)
    assert length.sum == 0


def test_a_window_is_measured_from_the_first_fence_to_the_end(bench: Bench) -> None:
    bench.tell(facts.fence(T0), facts.fence(T0 + SECOND), facts.closed(T0 + 8 * SECOND), facts.closed(T0 + 9 * SECOND))
    (length,) = bench.points(WINDOW_LENGTH)
    assert isinstance(length, HistogramDataPoint)
    assert (length.count, length.sum) == (1, 8.0)
    assert bench.label_sets(WINDOWS_CLOSED) == [
        {"agent": "main", "run_kind": "user_turn", "verdict": "none", "outcome": "ended"}
    ]


def test_changes_and_bytes_count_when_a_call_has_ended(bench: Bench) -> None:
    bench.tell(facts.wrote(T0, ended=None), facts.wrote(T0, ended=3), facts.wrote(T0 + 1, length=7))
    assert bench.value(CHANGES, operation="append", writer_kind="inject") == 2
    assert bench.value(WRITTEN, writer_kind="inject") == 57


def test_a_truncation_writes_no_bytes(bench: Bench) -> None:
    cut = facts.wrote(T0, operation=Operation.TRUNCATE, length=4096)
    bench.tell(replace(cut, change=replace(cut.change, sha256="")))
    assert bench.value(CHANGES, operation="truncate") == 1
    assert bench.value(WRITTEN) == 0


def test_an_incident_counts_once_under_each_verdict_that_it_reached(bench: Bench) -> None:
    calm, grave = facts.incident(), facts.incident(Verdict.EXTERNAL, Outcome.REFUSED)
    bench.tell(facts.changed(calm), facts.changed(calm, new=False), facts.changed(grave))
    assert bench.value(INCIDENTS, verdict="co_tenant") == 1
    assert bench.value(INCIDENTS, verdict="external") == 1
    assert bench.value(RECOVERIES, outcome="approved") == 1
    assert bench.value(RECOVERIES, outcome="refused") == 1


def test_a_lost_turn_counts_by_the_verdict_on_the_change(bench: Bench) -> None:
    bench.tell(TurnLost(window="w1", verdict=Verdict.EXTERNAL, at_ns=T0), TurnLost(window="w2", verdict=None, at_ns=0))
    assert bench.value(TURNS_LOST, verdict="external") == 1
    assert bench.value(TURNS_LOST, verdict="none") == 1


def test_commands_to_move_a_fence_are_measured_by_the_preloads_answer(bench: Bench) -> None:
    bench.tell(facts.applied(T0), facts.applied(T0, pushed=True, latency_ns=0), facts.applied(T0, ok=False))
    assert bench.value(RECOVERY_COMMANDS, result="applied", way="asked") == 1
    assert bench.value(RECOVERY_COMMANDS, result="applied", way="pushed") == 1
    assert bench.value(RECOVERY_COMMANDS, result="refused", way="asked") == 1
    assert bench.value(RECOVERY_LATENCY, way="asked") == 1


def test_model_calls_follow_the_gen_ai_conventions(bench: Bench) -> None:
    for event, more in (
        ("model.call.started", {}),
        ("model.call.completed", {"duration_ms": 1500.0}),
        ("model.call.error", {"duration_ms": 10.0, "error": "timeout", "provider": "amazon-bedrock"}),
    ):
        bench.telemetry.diagnostic(facts.diagnostic(event, T0, **more), GATEWAY)
    assert bench.value(MODEL_CALLS, outcome="completed") == 1
    assert bench.value(MODEL_CALLS, outcome="error") == 1
    done = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic"}
    failed = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "aws.bedrock", "error.type": "timeout"}
    assert bench.label_sets(MODEL_DURATION) == [done, failed]


def test_stalls_count_by_state_and_other_diagnostics_do_not(bench: Bench) -> None:
    for event in ("session.stuck", "session.stalled", "session.long_running", "session.state", "run.started"):
        bench.telemetry.diagnostic(facts.diagnostic(event, T0, call=""), GATEWAY)
    assert bench.value(STALLS) == 3
    assert bench.value(STALLS, state="stuck") == 1


def test_what_the_rooms_report_is_counted(bench: Bench) -> None:
    telemetry = bench.telemetry
    telemetry.report(7)
    telemetry.report(1)
    telemetry.gap(2)
    telemetry.lost(5)
    telemetry.overflow()
    telemetry.page(PageOutcome.SENT)
    telemetry.answered(0.004)
    telemetry.delayed(0.3)
    telemetry.halted(0.4)
    telemetry.rejected(Rejection.TOO_LARGE)
    telemetry.rejected("foreign_uid")
    values = {metric: bench.value(metric) for metric in (REPORTS, REPORT_GAPS, REPORTS_LOST, WATCH_OVERFLOWS)}
    assert list(values.values()) == [8, 2, 5, 1]
    assert bench.value(PAGES, outcome="sent") == 1
    assert bench.value(VERDICT_LATENCY) == 1
    assert bench.value(LOOP_DELAY) == 1
    assert bench.value(NOT_RUNNING) == 0.4
    assert bench.value(REJECTED, reason="too_large") == 1
    assert bench.value(REJECTED, reason="foreign_uid") == 1


def test_lost_custody_counts_by_class_of_reason(bench: Bench) -> None:
    """Whatever the sentence says that a person reads."""
    for loss in Loss:
        bench.tell(ev.AccountBroken(loss=loss, reason=facts.OVERFLOWED, at_ns=T0))
    for loss in Loss:
        assert bench.value(CUSTODY_LOSSES, reason=loss.value) == 1


def test_lost_custody_shows_on_the_windows_that_it_touches(bench: Bench) -> None:
    broken = ev.AccountBroken(loss=Loss.OVERFLOW, reason=facts.OVERFLOWED, at_ns=T0 + 1)
    bench.tell(facts.fence(T0), broken, facts.closed(T0 + SECOND))
    (lost,) = bench.span("session.fence").events
    assert (lost.name, dict(lost.attributes or {})) == ("custody.lost", {"openclaw.custody.reason": "overflow"})


def test_a_run_of_a_kind_that_is_new_counts_as_other(bench: Bench) -> None:
    bench.tell(facts.fence(T0, run=Run(run_id="r", kind="telepathy")), facts.closed(T0 + SECOND))
    assert bench.label_sets(WINDOWS_CLOSED) == [
        {"agent": "main", "run_kind": "other", "verdict": "none", "outcome": "ended"}
    ]


def test_what_withheld_a_recovery_counts_by_its_reason(bench: Bench) -> None:
    bench.tell(RecoveryWithheld(incident_id="i", hold=BlockReason.SESSION_BUDGET))
    assert bench.value(RECOVERY_HOLDS, reason="session_budget") == 1
    assert bench.value(RECOVERY_HOLDS, reason="pause") == 0


def test_policy_files_count_by_what_became_of_them(bench: Bench) -> None:
    bench.telemetry.policy_read(taken=True)
    bench.telemetry.policy_read(taken=False)
    bench.telemetry.policy_read(taken=False)
    assert bench.value(POLICY_LOADS, outcome="loaded") == 1
    assert bench.value(POLICY_LOADS, outcome="refused") == 2

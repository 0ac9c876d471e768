"""Spans find the trace of their run, early or late."""

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from sidecar.core.facts.value import replace
from sidecar.core.reports import Diagnostic
from sidecar.telemetry.traces import placement
from tests.telemetry import facts
from tests.telemetry.conftest import Bench
from tests.telemetry.facts import COTENANT, GATEWAY, MS, OWN, RUN_SPAN, SECOND, T0, TRACE, UNTRACED


def trace_of(span: ReadableSpan) -> str:
    return f"{span.context.trace_id:032x}"


def test_a_lock_of_a_run_waits_until_the_trace_of_the_run_is_known(bench: Bench) -> None:
    bench.tell(facts.taken(T0), facts.released(T0 + 10 * MS))
    assert not bench.spans()
    bench.telemetry.diagnostic(facts.run_started(T0 + 20 * MS), GATEWAY)
    lock = bench.span("session.lock")
    assert trace_of(lock) == TRACE
    assert lock.parent is not None
    assert f"{lock.parent.span_id:016x}" == RUN_SPAN


def test_a_window_whose_trace_is_told_only_at_its_end_lands_in_that_trace(bench: Bench) -> None:
    bench.tell(facts.fence(T0, run=UNTRACED), facts.wrote(T0 + MS))
    bench.telemetry.diagnostic(facts.diagnostic("model.call.started", T0 + 2 * MS), GATEWAY)
    bench.tell(facts.closed(T0 + SECOND))
    assert trace_of(bench.span("session.fence")) == TRACE


def test_a_window_waits_for_a_trace_that_is_told_after_its_end(bench: Bench) -> None:
    bench.tell(facts.fence(T0, run=UNTRACED), facts.closed(T0 + SECOND))
    assert not bench.spans()
    bench.telemetry.diagnostic(facts.run_started(T0 + 2 * SECOND), GATEWAY)
    assert trace_of(bench.span("session.fence")) == TRACE


def test_without_diagnostics_the_spans_of_a_run_share_a_trace_of_their_own(bench: Bench) -> None:
    bench.tell(facts.taken(T0), facts.released(T0 + MS), facts.fence(T0, run=UNTRACED), facts.closed(T0 + SECOND))
    bench.tell(facts.opened(T0 + 90 * SECOND), facts.fence(T0 + 90 * SECOND, window="w2"))
    lock, fence = bench.span("session.lock"), bench.span("session.fence")
    assert trace_of(lock) == trace_of(fence)
    assert trace_of(lock) != TRACE
    assert lock.parent is None
    assert fence.parent is None


def test_a_run_whose_trace_is_known_without_its_span_is_a_root_of_that_trace(bench: Bench) -> None:
    run = replace(UNTRACED, trace_id=TRACE)
    bench.tell(facts.fence(T0, run=run), facts.closed(T0 + SECOND))
    bench.telemetry.shutdown()
    fence = bench.span("session.fence")
    assert trace_of(fence) == TRACE
    assert fence.parent is None


def test_a_hold_without_a_run_belongs_to_the_window_that_it_met(bench: Bench) -> None:
    bench.tell(facts.fence(T0), facts.taken(T0 + MS, COTENANT), facts.released(T0 + 2 * MS, COTENANT))
    bench.tell(facts.closed(T0 + SECOND))
    lock, fence = bench.span("session.lock"), bench.span("session.fence")
    assert lock.parent is not None
    assert lock.parent.span_id == fence.context.span_id


def test_a_hold_without_run_and_window_is_a_trace_of_its_own(bench: Bench) -> None:
    for n in range(2):
        bench.tell(facts.taken(T0 + n * SECOND, COTENANT), facts.released(T0 + n * SECOND + MS, COTENANT))
    first, second = bench.spans("session.lock")
    assert first.parent is None
    assert trace_of(first) != trace_of(second)


def test_a_cotenants_run_keeps_its_own_trace(bench: Bench) -> None:
    cron = replace(OWN, kind=COTENANT.kind, run_id="run-2")
    other = "a" * 32
    bench.telemetry.diagnostic(replace_run(facts.run_started(T0), "run-2", other), GATEWAY)
    bench.tell(facts.fence(T0), facts.taken(T0 + MS, cron), facts.released(T0 + 2 * MS, cron))
    assert trace_of(bench.span("session.lock")) == other


def test_waiting_is_bounded_and_loses_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "MAX_WAITING", 3)
    for n in range(5):
        bench.tell(facts.taken(T0, hold=f"h{n}"), facts.released(T0 + MS, hold=f"h{n}"))
    assert len(bench.spans("session.lock")) == 2
    bench.telemetry.shutdown()
    assert len(bench.spans("session.lock")) == 5


def test_what_the_bus_told_of_a_run_goes_over_what_a_fence_supposes(bench: Bench) -> None:
    supposed = replace(UNTRACED, trace_id=TRACE, span_id="23710e0000000001")
    bench.telemetry.diagnostic(facts.run_started(T0), GATEWAY)
    bench.tell(facts.taken(T0), facts.fence(T0 + MS, run=supposed), facts.released(T0 + MS), facts.closed(T0 + SECOND))
    for span in bench.spans():
        assert span.parent is not None
        assert f"{span.parent.span_id:016x}" == RUN_SPAN


def test_without_a_run_id_the_fence_is_the_root_of_a_trace_of_its_own(bench: Bench) -> None:
    bench.tell(facts.fence(T0, run=replace(UNTRACED, run_id="")), facts.closed(T0 + SECOND))
    assert bench.span("session.fence").parent is None


def test_a_trace_that_only_the_fence_tells_of_is_taken(bench: Bench) -> None:
    nameless = replace(UNTRACED, run_id="", trace_id=TRACE, span_id=RUN_SPAN)
    bench.tell(facts.fence(T0, run=nameless), facts.closed(T0 + SECOND))
    assert trace_of(bench.span("session.fence")) == TRACE


def test_ids_that_are_none_are_not_taken_for_a_trace(bench: Bench) -> None:
    for trace, span in (("", ""), ("0" * 32, RUN_SPAN), ("xyz", RUN_SPAN), (TRACE[:31] + "G", RUN_SPAN)):
        run = replace(UNTRACED, trace_id=trace, span_id=span)
        bench.tell(facts.fence(T0, run=run), facts.closed(T0 + SECOND))
    assert not bench.spans()


def replace_run(message: Diagnostic, run: str, trace: str) -> Diagnostic:
    return facts.diagnostic(message.event, message.at_ns, run=run, trace=trace, span=message.span, parent="")

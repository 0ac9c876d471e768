"""The run as the root of its trace, where the gateway does not export it itself."""

from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from sidecar.core import events as ev
from sidecar.core.facts.value import replace
from sidecar.core.reports import Diagnostic
from tests.telemetry import facts
from tests.telemetry.conftest import Bench
from tests.telemetry.facts import CALL_SPAN, GATEWAY, RUN_SPAN, SECOND, T0, TRACE

OTHER_TRACE = "5" * 32
OTHER_SPAN = "7" * 16


def ids(span: ReadableSpan) -> tuple[str, str, str]:
    """Trace, span and parent."""
    assert span.context is not None
    parent = f"{span.parent.span_id:016x}" if span.parent else ""
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}", parent


def tell(bench: Bench, *messages: Diagnostic) -> None:
    for message in messages:
        bench.telemetry.diagnostic(message, GATEWAY)


def test_the_run_is_exported_under_the_gateways_ids_as_the_root(bench: Bench) -> None:
    tell(bench, facts.run_started(T0))
    bench.tell(facts.fence(T0 + 1), facts.closed(T0 + SECOND))
    assert bench.spans("invoke_agent") == []
    tell(bench, facts.run_completed(T0 + 9 * SECOND))
    run = bench.span("invoke_agent")
    assert ids(run) == (TRACE, RUN_SPAN, "")
    assert (run.start_time, run.end_time) == (T0, T0 + 9 * SECOND)
    assert ids(bench.span("session.fence"))[::2] == (TRACE, RUN_SPAN)
    assert run.status.status_code is StatusCode.UNSET


def test_the_model_call_has_the_id_that_the_provider_is_told(bench: Bench) -> None:
    tell(bench, facts.diagnostic("model.call.started", T0), facts.diagnostic("model.call.completed", T0 + SECOND))
    assert ids(bench.span("chat")) == (TRACE, CALL_SPAN, RUN_SPAN)


def test_a_run_that_the_gateway_exports_is_left_to_it(bench: Bench) -> None:
    placed: dict[str, Any] = {"trace": OTHER_TRACE, "exported": True}
    started = facts.run_started(T0, **placed, span=OTHER_SPAN)
    tell(bench, started)
    bench.tell(facts.fence(T0 + 1), facts.closed(T0 + SECOND))
    call = facts.diagnostic("model.call.completed", T0 + 2, **placed, parent=OTHER_SPAN)
    tell(bench, call, facts.run_completed(T0 + SECOND, **placed, span=OTHER_SPAN))
    assert bench.spans("invoke_agent") == []
    for name in ("session.fence", "chat"):
        trace, span, parent = ids(bench.span(name))
        assert (trace, parent) == (OTHER_TRACE, OTHER_SPAN)
        assert span != CALL_SPAN


def test_a_turn_that_the_gateways_sampler_leaves_out_is_left_out_here_too(bench: Bench) -> None:
    started = facts.run_started(T0, exported=True, unsampled=True)
    tell(bench, started)
    bench.tell(facts.fence(T0 + 1), facts.closed(T0 + SECOND))
    assert bench.spans() == []


def test_a_sampled_turn_is_kept_as_a_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    bench = Bench()
    kept = 0
    for number in range(1, 41):
        trace = f"{number * 0x0600_0000_0000_0001:032x}"
        span, run_id = f"{number:016x}", f"run-{number}"
        run = replace(facts.RUN, run_id=run_id, trace_id=trace, span_id=span)
        more: dict[str, Any] = {"trace": trace, "span": span, "run": run_id}
        tell(bench, facts.run_started(T0, **more))
        bench.tell(facts.fence(T0, run=run, window=run_id), facts.closed(T0 + 1, window=run_id))
        tell(bench, facts.run_completed(T0 + SECOND, **more))
        names = {s.name for s in bench.spans() if ids(s)[0] == trace}
        assert names in (set(), {"invoke_agent", "session.fence"})
        kept += bool(names)
    assert 0 < kept < 40
    bench.telemetry.shutdown()


def test_a_run_that_failed_says_so(bench: Bench) -> None:
    tell(bench, facts.run_started(T0), facts.run_completed(T0 + SECOND, state="error", error="timeout"))
    run = bench.span("invoke_agent")
    assert run.status.status_code is StatusCode.ERROR
    assert (run.attributes or {})["error.type"] == "timeout"


def test_a_run_whose_gateway_is_gone_ends_with_it(bench: Bench) -> None:
    tell(bench, facts.run_started(T0))
    bench.tell(ev.LinkLost(link=GATEWAY.link, clean=False, at_ns=T0 + SECOND))
    run = bench.span("invoke_agent")
    assert ((run.attributes or {})["error.type"], run.end_time) == ("link_lost", T0 + SECOND)


def test_a_run_that_outlives_the_sidecar_ends_with_it(bench: Bench) -> None:
    tell(bench, facts.run_started(T0))
    bench.telemetry.shutdown()
    assert (bench.span("invoke_agent").attributes or {})["error.type"] == "sidecar_stopped"


def test_a_run_whose_beginning_was_not_seen_is_as_long_as_the_gateway_says(bench: Bench) -> None:
    tell(bench, facts.run_completed(T0 + 9 * SECOND))
    assert bench.span("invoke_agent").start_time == T0

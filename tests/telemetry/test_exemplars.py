"""A measurement points to the trace that it was made in, where the format has a place for it."""

from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.telemetry import facts
from tests.telemetry.conftest import Bench
from tests.telemetry.facts import GATEWAY, MS, RUN_SPAN, SECOND, T0, TRACE

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def buckets(bench: Bench, name: str) -> dict[str, Sample]:
    body, content_type = bench.telemetry.render_metrics(OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text")
    families = text_string_to_metric_families(body.decode())  # type: ignore[no-untyped-call] # the library leaves it untyped
    samples = [s for f in families if f.name == name for s in f.samples]
    return {s.labels["le"]: s for s in samples if s.name.endswith("_bucket") and s.exemplar}


def test_a_hold_points_to_the_run_that_held(bench: Bench) -> None:
    bench.telemetry.diagnostic(facts.run_started(T0), GATEWAY)
    bench.tell(facts.taken(T0, wait_ns=40 * MS), facts.released(T0 + 700 * MS, held_ns=700 * MS))
    (found,) = buckets(bench, "openclaw_sidecar_lock_hold_seconds").items()
    assert found[0] == "1.0"
    assert found[1].exemplar is not None
    assert found[1].exemplar.labels == {"trace_id": TRACE, "span_id": RUN_SPAN}
    assert found[1].exemplar.value == 0.7
    assert set(buckets(bench, "openclaw_sidecar_lock_wait_seconds")) == {"0.05"}


def test_windows_and_model_calls_have_exemplars_too(bench: Bench) -> None:
    bench.tell(facts.fence(T0), facts.closed(T0 + 700 * SECOND))
    bench.telemetry.diagnostic(facts.diagnostic("model.call.completed", T0 + SECOND, duration_ms=8000.0), GATEWAY)
    assert set(buckets(bench, "openclaw_sidecar_window_length_seconds")) == {"+Inf"}
    assert set(buckets(bench, "gen_ai_client_operation_duration_seconds")) == {"10.24"}


def test_a_label_that_only_other_series_have_costs_no_exemplar(bench: Bench) -> None:
    bench.telemetry.diagnostic(facts.diagnostic("model.call.completed", T0 + SECOND, duration_ms=8000.0), GATEWAY)
    failed = facts.diagnostic("model.call.error", T0 + SECOND, call="c2", error="timeout", duration_ms=2.0)
    bench.telemetry.diagnostic(failed, GATEWAY)
    assert set(buckets(bench, "gen_ai_client_operation_duration_seconds")) == {"0.01", "10.24"}


def test_without_a_trace_there_is_no_exemplar(bench: Bench) -> None:
    bench.tell(facts.taken(T0, facts.COTENANT), facts.released(T0 + MS, facts.COTENANT))
    assert buckets(bench, "openclaw_sidecar_lock_hold_seconds") == {}


def test_the_classic_format_shows_none(bench: Bench) -> None:
    bench.tell(facts.fence(T0), facts.closed(T0 + SECOND))
    assert TRACE not in bench.telemetry.render_metrics("text/plain")[0].decode()

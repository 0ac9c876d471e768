"""OTLP, to backends that speak it, that are gone and that say nothing."""

import gc
import logging
import threading
import tracemalloc
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from time import monotonic

import pytest

from sidecar import __version__
from sidecar.core.engine import Engine
from sidecar.core.policy.policy import Mode, Policy
from sidecar.telemetry import ExportConfigurationError, Telemetry, open_pipeline
from sidecar.telemetry.metrics.locks import LOCK_WAIT
from sidecar.telemetry.metrics.windows import CHANGES, WINDOW_LENGTH
from tests.telemetry import facts
from tests.telemetry.facts import MS, RUN_SPAN, SECOND, T0, TRACE
from tests.telemetry.receivers import Received, grpc_backend, http_backend, silent_backend

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
DEAD = "http://127.0.0.1:9"
EXPORT_SECONDS = 60
"""How long an export may take that is not cut short."""


def told_over_http(monkeypatch: pytest.MonkeyPatch) -> tuple[Received, Telemetry]:
    """What a backend got of one turn, and the telemetry that has sent it and stopped."""
    with http_backend() as received:
        monkeypatch.setenv(ENDPOINT, received.endpoint)
        monkeypatch.setenv(PROTOCOL, "http/protobuf")
        telemetry = Telemetry()
        turn(telemetry)
        telemetry.shutdown()
    return received, telemetry


def turn(telemetry: Telemetry, number: int = 0) -> None:
    window, at_ns = f"w{number}", T0 + number * SECOND
    core = Engine(Policy(), Mode.RECOVER)
    for event in (
        facts.fence(at_ns, window=window),
        facts.taken(at_ns + MS, hold=window),
        facts.released(at_ns + 2 * MS, hold=window),
        facts.wrote(at_ns + MS),
        facts.closed(at_ns + 5 * MS, window=window),
    ):
        telemetry.event(event)
        core.handle(event)
        for outcome in core.outcomes:
            telemetry.outcome(outcome)
    telemetry.diagnostic(facts.run_started(at_ns), facts.GATEWAY)


@pytest.mark.parametrize(
    ("protocol", "backend"), [("grpc", grpc_backend), ("http/protobuf", http_backend), ("", grpc_backend)]
)
def test_spans_and_metrics_reach_a_real_backend(
    protocol: str, backend: Callable[[], AbstractContextManager[Received]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with backend() as received:
        monkeypatch.setenv(ENDPOINT, received.endpoint)
        if protocol:
            monkeypatch.setenv(PROTOCOL, protocol)
        telemetry = Telemetry()
        turn(telemetry)
        telemetry.shutdown()
    assert telemetry.last_error == ""
    spans = {span.name: span for span in received.spans}
    assert set(spans) == {"invoke_agent", "session.lock", "session.fence"}
    fence = spans["session.fence"]
    assert fence.trace_id.hex() == TRACE
    assert fence.parent_span_id.hex() == RUN_SPAN
    assert (fence.start_time_unix_nano, fence.end_time_unix_nano) == (T0, T0 + 5 * MS)
    assert [event.name for event in fence.events] == ["session.change"]
    assert {"service.name": "openclaw-sidecar", "service.version": __version__}.items() <= received.resource.items()
    assert {LOCK_WAIT.name, WINDOW_LENGTH.name, CHANGES.name} <= received.metric_names
    delivered = {signal: status.delivered for signal, status in telemetry.exports.items()}
    assert delivered == {"traces": 1, "metrics": 1, "logs": 0}


def test_the_environment_names_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "sidecar-of-host-7")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod,service.version=9")
    received, _ = told_over_http(monkeypatch)
    expected = {"service.name": "sidecar-of-host-7", "service.version": "9", "deployment.environment.name": "prod"}
    assert expected.items() <= received.resource.items()


def test_a_signal_can_have_a_backend_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with http_backend() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", received.endpoint + "/v1/traces")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
        telemetry = Telemetry()
        turn(telemetry)
        telemetry.shutdown()
    assert received.spans
    assert not received.metrics


def test_a_signal_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, DEAD)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "none")
    assert open_pipeline().exporters == []


@pytest.mark.parametrize("variable", [PROTOCOL, "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"])
def test_a_protocol_that_there_is_not_is_one_clear_line(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, DEAD)
    monkeypatch.setenv(variable, "http/json")
    with pytest.raises(
        ExportConfigurationError, match=f"^{variable} is 'http/json'; it must be grpc or http/protobuf$"
    ):
        open_pipeline()


def test_a_value_that_the_exporter_refuses_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, DEAD)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")
    with pytest.raises(ExportConfigurationError, match="OTLP export can't be set up"):
        open_pipeline()


def test_a_backend_that_takes_everything_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    _, telemetry = told_over_http(monkeypatch)
    traces = telemetry.exports["traces"]
    assert (traces.failed, traces.waiting, traces.dropped, traces.failing) == (0, 0, 0, False)
    assert traces.delivered > 0
    assert telemetry.problems() == ()


def test_without_a_backend_nothing_is_built_or_queued() -> None:
    before = threading.active_count()
    telemetry = Telemetry()
    turn(telemetry)
    assert telemetry._tracer is None
    assert telemetry._pipeline.tracer_provider is None
    assert threading.active_count() == before
    assert (
        b'openclaw_sidecar_changes_total{operation="append",writer_kind="inject"} 1.0' in telemetry.render_metrics()[0]
    )
    telemetry.shutdown()
    assert telemetry.last_error == ""


@pytest.mark.parametrize("backend", [partial(nullcontext, DEAD), silent_backend], ids=["gone", "silent"])
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_collector_that_does_not_answer_does_not_delay_the_end(
    protocol: str, backend: Callable[[], AbstractContextManager[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with backend() as endpoint:
        monkeypatch.setenv(ENDPOINT, endpoint)
        monkeypatch.setenv(PROTOCOL, protocol)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", str(EXPORT_SECONDS))
        telemetry = Telemetry()
        for number in range(20):
            turn(telemetry, number)
        began = monotonic()
        telemetry.shutdown(0.5)
        assert monotonic() - began < EXPORT_SECONDS / 2
        assert telemetry.last_error == ""


def test_a_dead_collector_costs_bounded_memory_and_shows_in_the_scrape(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1, "opentelemetry")
    monkeypatch.setenv(ENDPOINT, DEAD)
    monkeypatch.setenv(PROTOCOL, "http/protobuf")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "64")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "32")
    telemetry = Telemetry()
    tracemalloc.start()
    levels = []
    for part in range(2):
        for number in range(part * 600, (part + 1) * 600):
            turn(telemetry, number)
        gc.collect()
        levels.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert levels[1] - levels[0] < 600 * 1_000, "a turn leaves less than a tenth of its spans in memory"
    deadline = monotonic() + 20
    while telemetry.exports["traces"].failed == 0 and monotonic() < deadline:
        threading.Event().wait(0.02)
    body = telemetry.render_metrics()[0].decode()
    failed = [line for line in body.splitlines() if 'otlp_exports_total{outcome="failed",signal="traces"}' in line]
    assert float(failed[0].split()[1]) >= 1
    traces = telemetry.exports["traces"]
    assert traces.failing
    assert traces.waiting <= 64
    assert traces.dropped > 0
    assert {"metrics", "traces"} <= set(telemetry.exports)
    assert [problem.code for problem in telemetry.problems()] == ["otlp_failing"]
    full = [line for line in body.splitlines() if 'otlp_dropped_total{reason="queue_full",signal="traces"}' in line]
    assert float(full[0].split()[1]) > 0
    telemetry.shutdown(0.2)

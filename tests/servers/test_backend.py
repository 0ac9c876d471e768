"""The backend itself: what the real collector gets can be read back from Jaeger, its page and its file."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from tests.servers import gobuild
from tests.servers.backend import Collector, Jaeger, built
from tests.servers.gobuild import GoBuildError

# On a machine without the programs the first of these tests builds them.
pytestmark = pytest.mark.timeout(1200)

RESOURCE = Resource({"service.name": "kit"})


@pytest.fixture(scope="module")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    with Jaeger(tmp_path_factory.mktemp("jaeger")) as running:
        yield running


@pytest.fixture(scope="module")
def collector(jaeger: Jaeger, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    with Collector(tmp_path_factory.mktemp("collector"), jaeger.otlp) as running:
        yield running


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_spans_come_back_from_jaeger_with_their_parents(jaeger: Jaeger, collector: Collector, protocol: str) -> None:
    exporter: SpanExporter = (
        GrpcSpans(endpoint=collector.grpc, insecure=True)
        if protocol == "grpc"
        else HttpSpans(endpoint=f"{collector.http}/v1/traces")
    )
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("kit")
    with tracer.start_as_current_span("parent") as parent, tracer.start_as_current_span("child"):
        trace_id = format(parent.get_span_context().trace_id, "032x")
    provider.shutdown()

    spans = {s["operationName"]: s for s in jaeger.wait_trace(trace_id, lambda found: len(found) == 2)}
    assert spans["parent"]["references"] == []
    assert [r["spanID"] for r in spans["child"]["references"]] == [spans["parent"]["spanID"]]
    assert trace_id in {t["traceID"] for t in jaeger.traces("kit", "child")}


def test_an_unknown_trace_has_no_spans(jaeger: Jaeger) -> None:
    assert jaeger.trace("0af7651916cd43dd8448eb211c80319c") == []


def test_metrics_come_back_on_the_page(collector: Collector) -> None:
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=collector.grpc, insecure=True), 60_000)
    provider = MeterProvider([reader], RESOURCE, shutdown_on_exit=False)
    provider.get_meter("kit").create_counter("kit.things").add(3)
    provider.shutdown()
    assert [line.rpartition(" ")[2] for line in collector.metrics().splitlines() if line.startswith("kit_things")] == [
        "3"
    ]


def test_log_records_come_back_in_the_file(collector: Collector) -> None:
    provider = LoggerProvider(RESOURCE, shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter(endpoint=collector.grpc, insecure=True)))
    provider.get_logger("kit").emit(severity_number=SeverityNumber.WARN, body="told", timestamp=1)
    provider.shutdown()
    until = time.monotonic() + 10
    while not (batches := collector.logs()):
        assert time.monotonic() < until
        time.sleep(0.05)
    [record] = batches[0]["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    assert record["body"] == {"stringValue": "told"}


def test_without_go_a_program_is_an_error_on_ci_and_a_skip_with_a_hint_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gobuild, "_CACHE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", "true")
    with pytest.raises(GoBuildError, match="install Go"):
        built("jaeger")
    monkeypatch.setenv("CI", "")
    with pytest.raises(pytest.skip.Exception, match="install Go"):
        built("jaeger")

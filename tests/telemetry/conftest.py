import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sidecar.core.engine import Engine
from sidecar.core.events import Event
from sidecar.core.outcomes import AnyOutcome
from sidecar.core.policy.policy import Mode, Policy
from sidecar.telemetry import Telemetry, open_pipeline
from sidecar.telemetry.metrics.instrument import Instrument
from tests.telemetry.facts import T0

Point = NumberDataPoint | HistogramDataPoint


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


@dataclass
class Clock:
    now_ns: int = T0

    def __call__(self) -> int:
        return self.now_ns


@dataclass
class Bench:
    """A telemetry whose output stays in memory, beside a core."""

    clock: Clock = field(default_factory=Clock)
    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)
    core: Engine = field(default_factory=lambda: Engine(Policy(), Mode.RECOVER))

    def __post_init__(self) -> None:
        processor = SimpleSpanProcessor(self.exporter, meter_provider=NoOpMeterProvider())
        pipeline = open_pipeline(span_processors=[processor], metric_readers=[self.reader])
        self.telemetry = Telemetry(pipeline, core=self.core, clock=self.clock)

    def tell(self, *facts: Event | AnyOutcome) -> None:
        """Events, on which the core decides, and outcomes by themselves, told apart by their module."""
        for fact in facts:
            if type(fact).__module__.endswith("outcomes"):
                self.telemetry.outcome(fact)  # type: ignore[arg-type] # by its module
            else:
                self.handle(fact)  # type: ignore[arg-type] # by its module

    def handle(self, event: Event) -> None:
        """In the order of the driver."""
        self.telemetry.event(event)
        self.core.handle(event)
        for outcome in self.core.outcomes:
            self.telemetry.outcome(outcome)

    def spans(self, name: str = "") -> list[ReadableSpan]:
        return [s for s in self.exporter.get_finished_spans() if s.name.startswith(name)]

    def span(self, name: str) -> ReadableSpan:
        (found,) = self.spans(name)
        return found

    def points(self, metric: Instrument) -> list[Point]:
        data = self.reader.get_metrics_data()
        if data is None:
            return []
        return [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for found in scope.metrics
            if found.name == metric.name
            for point in found.data.data_points
            if isinstance(point, NumberDataPoint | HistogramDataPoint)
        ]

    def value(self, metric: Instrument, **labels: str) -> float:
        """The value of a counter or gauge, or the count of a histogram, over all points with these labels."""
        total = 0.0
        for point in self.points(metric):
            if all((point.attributes or {}).get(key) == value for key, value in labels.items()):
                total += point.count if isinstance(point, HistogramDataPoint) else point.value
        return total

    def label_sets(self, metric: Instrument) -> list[dict[str, str]]:
        return [{key: str(value) for key, value in (point.attributes or {}).items()} for point in self.points(metric)]


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    assert made.telemetry.last_error == ""
    made.telemetry.shutdown()

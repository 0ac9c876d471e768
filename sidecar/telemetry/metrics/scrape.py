"""What a scrape of Prometheus reads: the SDK's own translation, and the exemplars that it leaves out.

The OpenTelemetry exporter for Prometheus drops exemplars; OpenMetrics has a place for them on the buckets of a
histogram. They are taken from the same collection and put there. The classic text format does not show them.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics.export import Histogram
from prometheus_client import CollectorRegistry
from prometheus_client.samples import Exemplar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from opentelemetry.sdk.metrics._internal.exemplar import Exemplar as Measured
    from opentelemetry.sdk.metrics.export import HistogramDataPoint, MetricsData
    from prometheus_client.metrics_core import Metric as Family

_NS_PER_SECOND: Final = 1_000_000_000
_BUCKET: Final = "_bucket"
_UNIT: Final = "_seconds"
"""The exporter adds the unit to the name; all histograms here are in seconds."""

_Labels = frozenset[tuple[str, str]]
_Key = tuple[_Labels, float]


class _Reader(PrometheusMetricReader):
    """Keeps the last exemplar of each bucket: the SDK hands each out once, and there may be two who scrape."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.found: dict[str, dict[_Key, Exemplar]] = {}
        super().__init__(scope_info_enabled=False, registry=registry)

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:  # noqa: ANN401 - as in the SDK
        for name, exemplars in _exemplars(metrics_data):
            self.found.setdefault(name, {}).update(exemplars)
        super()._receive_metrics(metrics_data, timeout_millis, **kwargs)


class _Collector:
    """Puts them on the buckets."""

    def __init__(self, inner: CollectorRegistry, reader: _Reader) -> None:
        self._inner = inner
        self._reader = reader

    def describe(self) -> list[Family]:
        """Nothing: a registry asks ahead of the first collection."""
        return []

    def collect(self) -> Iterator[Family]:
        """All families, once."""
        for family in self._inner.collect():
            if family.type == "histogram":
                family.samples = [self._with_exemplar(family.name, sample) for sample in family.samples]
            yield family

    def _with_exemplar(self, name: str, sample: Any) -> Any:  # noqa: ANN401 - prometheus_client does not type it
        if not sample.name.endswith(_BUCKET):
            return sample
        labels = frozenset((key, value) for key, value in sample.labels.items() if key != "le")
        exemplars = self._reader.found.get(name.removesuffix(_UNIT), {})
        exemplar = exemplars.get((labels, float(sample.labels["le"])))
        return sample if exemplar is None else sample._replace(exemplar=exemplar)


def scrape_reader(registry: CollectorRegistry) -> PrometheusMetricReader:
    """A reader for the SDK whose metrics are collected from ``registry``."""
    inner = CollectorRegistry()
    reader = _Reader(inner)
    registry.register(_Collector(inner, reader))
    return reader


def _exemplars(data: MetricsData | None) -> Iterator[tuple[str, dict[_Key, Exemplar]]]:
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if isinstance(metric.data, Histogram):
                    yield metric.name.replace(".", "_"), dict(_of_points(metric.data.data_points))


def _of_points(points: Iterable[HistogramDataPoint]) -> Iterator[tuple[_Key, Exemplar]]:
    for point in points:
        labels = frozenset((key.replace(".", "_"), str(value)) for key, value in (point.attributes or {}).items())
        for measured in sorted(point.exemplars or (), key=lambda found: found.time_unix_nano):
            if measured.trace_id:
                yield (labels, _bound(point, measured)), _exemplar(measured)


def _bound(point: HistogramDataPoint, measured: Measured) -> float:
    at = bisect_left(point.explicit_bounds, measured.value)
    return point.explicit_bounds[at] if at < len(point.explicit_bounds) else float("inf")


def _exemplar(measured: Measured) -> Exemplar:
    ids = {"trace_id": f"{measured.trace_id:032x}"}
    if measured.span_id:
        ids["span_id"] = f"{measured.span_id:016x}"
    return Exemplar(ids, measured.value, measured.time_unix_nano / _NS_PER_SECOND)

"""What a scrape of Prometheus reads: the metrics by the names that OpenTelemetry's rules of translation give them.

OpenMetrics has a place for exemplars on the buckets of a histogram. The classic text format does not show them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import accumulate
from os import environ
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from prometheus_client import metrics_core as families
from prometheus_client.samples import Exemplar

from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.telemetry.metrics.distribution import Distribution, Example
from sidecar.telemetry.metrics.instrument import Instrument, Kind
from sidecar.telemetry.metrics.meters import Meters, Series

_UNITS: Final = {"s": "seconds", "By": "bytes", "1": ""}
"""A unit in braces says what is counted, and is no part of the name."""
_FAMILIES: Final[Mapping[Kind, type[Any]]] = {
    Kind.COUNTER: families.CounterMetricFamily,
    Kind.GAUGE: families.GaugeMetricFamily,
    Kind.HISTOGRAM: families.HistogramMetricFamily,
}
_NO_LETTER: Final = re.compile(r"^[0-9][^a-zA-Z0-9]*|[^a-zA-Z0-9]+")


class Scrape:
    """Reads all metrics at each collection. Any thread may collect."""

    def __init__(self, meters: Meters, resource: Resource) -> None:
        self._meters = meters
        self._resource = resource

    def collect(self) -> Iterator[families.Metric]:
        """What the sidecar is, and each metric that has a value."""
        attributes = {_label(key): _text(value) for key, value in self._resource.attributes.items()}
        yield families.InfoMetricFamily("target", "Target metadata", attributes)
        for instrument in self._meters.instruments:
            series = self._meters.read(instrument)
            if series:
                yield _family(instrument, series)


def _family(instrument: Instrument, series: list[Series | Distribution]) -> families.Metric:
    unit = "" if instrument.unit.startswith("{") else _UNITS[instrument.unit]
    keys = list(dict.fromkeys(key for one in series for key in one.labels))
    labels = [_label(key) for key in keys]
    family: Any = _FAMILIES[instrument.kind](_label(instrument.name), instrument.help, labels=labels, unit=unit)
    for one in series:
        values = [one.labels.get(key, "") for key in keys]
        if isinstance(one, Distribution):
            family.add_metric(values, list(_buckets(one)), one.total)
        else:
            family.add_metric(values, one.total)
    return family  # type: ignore[no-any-return] # the classes share no base that has `add_metric`


def _buckets(distribution: Distribution) -> Iterator[tuple[str, int] | tuple[str, int, Exemplar]]:
    shown = environ.get("OTEL_METRICS_EXEMPLAR_FILTER") != "always_off"
    bounds = [*map(str, distribution.bounds), "+Inf"]
    for bound, count, measured in zip(bounds, accumulate(distribution.counts), distribution.examples, strict=True):
        yield (bound, count, _exemplar(measured)) if measured is not None and shown else (bound, count)


def _exemplar(measured: Example) -> Exemplar:
    return Exemplar(measured.where.log_fields(), measured.value, measured.at_ns / NS_PER_SECOND)


def _label(name: str) -> str:
    return _NO_LETTER.sub("_", name)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)

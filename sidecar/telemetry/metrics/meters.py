"""The way to every measurement: closed labels, and a cap on time series with a drop counter (rule 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from typing import Final, TypeVar

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics.view import View

from sidecar.telemetry.metrics.distribution import Distribution, DistributionAggregation
from sidecar.telemetry.metrics.instrument import Instrument, Kind, counter
from sidecar.telemetry.names.names import Label
from sidecar.telemetry.names.traceref import TraceRef

MAX_SERIES: Final = 2_000
"""Time series in Prometheus' count: a label set of a histogram takes one for each bucket and three more."""

SERIES_DROPPED: Final = counter("series.dropped", "{measurement}", "Measurements dropped by the cap on series.")

_NO_LABELS: Final[dict[Label, str]] = {}

_SeriesKey = tuple[Instrument | tuple[str, str], ...]


Gauges = Callable[[], Mapping[Instrument, Iterable[tuple[float, Mapping["Label", str]]]]]
"""Values and labels of each gauge that has any now. Called from any thread; must not raise."""


class Cap:
    """Counts label sets as they appear and refuses those beyond the limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._known: set[tuple[str, ...]] = set()
        self._lock = Lock()

    @property
    def taken(self) -> int:
        """Time series admitted."""
        return self._taken

    def admits(self, instrument: Instrument, labels: Mapping[str, str]) -> bool:
        """This label set is known, or there is room for it."""
        key = (instrument.name, *labels.values())
        if key in self._known:
            return True
        with self._lock:
            if key in self._known:
                return True
            if self._taken + instrument.weight > self._limit:
                return False
            self._known.add(key)
            self._taken += instrument.weight
            return True


@dataclass(slots=True, eq=False)
class Series:
    """One time series of a counter or gauge.

    Attributes:
        labels: Closed, as the SDK wants them.
        total: What was counted; the value of a gauge.
    """

    labels: dict[str, str]
    total: float = 0

    def copy(self) -> Series:
        """It as it is now."""
        return replace(self)

    def observation(self) -> Observation:
        """Of a copy, for the SDK."""
        return Observation(self.total, self.labels)


_S = TypeVar("_S", bound=Series | Distribution)


class Meters:
    """All instruments of the sidecar.

    Counters and histograms are added up here, for the SDK's own way of counting costs more than all else that is done
    for a message; a scrape reads them, and the SDK at each collection.
    """

    def __init__(self, meter: Meter, instruments: Iterable[Instrument], *, max_series: int = MAX_SERIES) -> None:
        self._cap = Cap(max_series)
        self._gauges: Gauges | None = None
        self._lock = Lock()
        self._series: dict[Instrument, list[Series | Distribution]] = {}
        self._counters: dict[_SeriesKey, Series] = {}
        self._histograms: dict[_SeriesKey, Distribution] = {}
        # What tells of drops has its place before anything can be dropped.
        self.instruments = sorted(instruments, key=lambda i: i is not SERIES_DROPPED)
        for instrument in self.instruments:
            self._create(meter, instrument)

    @property
    def series(self) -> int:
        """Time series in use."""
        return self._cap.taken

    def add(self, metric: Instrument, amount: float = 1, labels: Mapping[Label, str] = _NO_LABELS) -> None:
        """Count up. Any thread may."""
        series = self._counters.get((metric, *labels.items()))
        if series is None:
            series = self._find(self._counters, Series, metric, labels)
        if series is not None:
            with self._lock:
                series.total += amount

    def record(
        self,
        metric: Instrument,
        value: float,
        labels: Mapping[Label, str] = _NO_LABELS,
        where: TraceRef | None = None,
    ) -> None:
        """Take a measurement into a histogram; a negative one, from a clock that was set back, counts as 0.

        Args:
            metric: Which one.
            value: In its unit.
            labels: Those of the metric.
            where: The span that the measurement was made in, for an exemplar.
        """
        series = self._histograms.get((metric, *labels.items()))
        if series is None:
            series = self._find(self._histograms, partial(Distribution, bounds=metric.buckets), metric, labels)
        if series is not None:
            with self._lock:
                series.add(max(0.0, value), where)

    def read(self, instrument: Instrument) -> list[Series | Distribution]:
        """Each time series of a metric as it is now. Any thread may."""
        if instrument.kind is not Kind.GAUGE:
            with self._lock:
                return [series.copy() for series in self._series[instrument]]
        found: dict[tuple[str, ...], Series | Distribution] = {}
        for value, labels in self._gauges().get(instrument, ()) if self._gauges is not None else ():
            closed = self._admitted(instrument, labels)
            if closed is not None:
                found[tuple(closed.values())] = Series(closed, value)
        return list(found.values())

    def bind(self, gauges: Gauges) -> None:
        """Read the gauges here from now on."""
        self._gauges = gauges

    def _find(
        self,
        known: dict[_SeriesKey, _S],
        new: Callable[[dict[str, str]], _S],
        metric: Instrument,
        labels: Mapping[Label, str],
    ) -> _S | None:
        """The series of these labels; None where there is no room for it."""
        closed = self._admitted(metric, labels)
        if closed is None:
            return None
        with self._lock:
            series = known.get((metric, *closed.items()))
            if series is None:
                series = known[metric, *closed.items()] = new(closed)
                self._series[metric].append(series)
            if all(closed.get(label) == value for label, value in labels.items()):
                # What is in no closed set is not remembered, so that no word of a gateway takes room.
                known[metric, *labels.items()] = series
        return series

    def _admitted(self, instrument: Instrument, labels: Mapping[Label, str]) -> dict[str, str] | None:
        closed = instrument.close(labels)
        if self._cap.admits(instrument, closed):
            return closed
        self.add(SERIES_DROPPED)
        return None

    def _create(self, meter: Meter, instrument: Instrument) -> None:
        def observe(_options: CallbackOptions) -> Iterable[Observation]:
            return [series.observation() for series in self.read(instrument)]

        gauge = instrument.kind is Kind.GAUGE
        create = meter.create_observable_gauge if gauge else meter.create_observable_counter
        create(instrument.name, [observe], instrument.unit, instrument.help)
        if not gauge:
            self._series[instrument] = []
        if instrument.zeroed:
            for labels in _combinations(instrument):
                self.add(instrument, 0, labels)


def views(instruments: Iterable[Instrument]) -> list[View]:
    """Buckets and label keys of each metric, for the SDK."""
    made = []
    for instrument in instruments:
        buckets = DistributionAggregation(instrument.buckets) if instrument.buckets else None
        keys = {label.value for label in instrument.labels}
        made.append(
            View(
                instrument_name=instrument.name,
                aggregation=buckets,
                attribute_keys=keys,
                aggregation_cardinality_limit=MAX_SERIES,
            )
        )
    return made


def _combinations(instrument: Instrument) -> list[dict[Label, str]]:
    found: list[dict[Label, str]] = [{}]
    for label, values in instrument.labels.items():
        found = [{**labels, label: value} for labels in found for value in sorted(values or ())]
    return found

"""The way to every measurement: closed labels, and a cap on time series with a drop counter (rule 8)."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Final, Protocol

from opentelemetry.context import Context
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View

from sidecar.telemetry.instrument import Instrument, Kind
from sidecar.telemetry.instruments import BY_NAME, INSTRUMENTS
from sidecar.telemetry.names import Label, Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from opentelemetry.metrics import CallbackOptions, Histogram, Meter

    from sidecar.telemetry.span import TraceRef

MAX_SERIES: Final = 2_000
"""Time series in Prometheus' count: a label set of a histogram takes one for each bucket and three more."""

_NO_LABELS: Final[dict[Label, str]] = {}
_NOWHERE: Final = Context()

_SeriesKey = tuple[str | tuple[str, str], ...]


class Gauges(Protocol):
    """Where the values of gauges come from, at the moment of a collection."""

    def read(self) -> Mapping[Metric, Iterable[tuple[float, Mapping[Label, str]]]]:
        """Values and labels of each gauge that has any now. Called from any thread; must not raise."""
        ...


class Cap:
    """Counts label sets as they appear and refuses those beyond the limit."""

    def __init__(self, limit: int) -> None:
        """Nothing admitted yet; ``limit`` is in time series."""
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
class _Series:
    """One time series of a counter, or one label set of a histogram.

    Attributes:
        labels: Closed, as the SDK wants them.
        total: What was counted; a histogram is kept by the SDK.
    """

    labels: dict[str, str]
    total: float = 0


class Meters:
    """All instruments of the sidecar.

    Counters are added up here, for the SDK's own way of counting costs more than all else that is done for a message;
    the SDK reads them at each collection.
    """

    def __init__(self, meter: Meter, *, max_series: int = MAX_SERIES) -> None:
        """Create the instruments; counters with few label sets start at 0."""
        self._cap = Cap(max_series)
        self._gauges: Gauges | None = None
        self._lock = Lock()
        self._counters: dict[Metric, list[_Series]] = {}
        self._by_labels: dict[_SeriesKey, _Series] = {}
        self._histograms: dict[Metric, Histogram] = {}
        # What tells of drops has its place before anything can be dropped.
        for instrument in sorted(INSTRUMENTS, key=lambda i: i.name is not Metric.SERIES_DROPPED):
            self._create(meter, instrument)

    @property
    def series(self) -> int:
        """Time series in use."""
        return self._cap.taken

    def add(self, name: Metric, amount: float = 1, labels: Mapping[Label, str] = _NO_LABELS) -> None:
        """Count up. Any thread may."""
        series = self._by_labels.get((name, *labels.items())) or self._find(name, labels)
        if series is not None:
            with self._lock:
                series.total += amount

    def record(
        self,
        name: Metric,
        value: float,
        labels: Mapping[Label, str] = _NO_LABELS,
        where: TraceRef | None = None,
    ) -> None:
        """Take a measurement into a histogram; a negative one, from a clock that was set back, counts as 0.

        Args:
            name: Which one.
            value: In its unit.
            labels: See `sidecar.telemetry.instruments`.
            where: The span that the measurement was made in, for an exemplar.
        """
        series = self._by_labels.get((name, *labels.items())) or self._find(name, labels)
        if series is not None:
            self._histograms[name].record(max(0.0, value), series.labels, where.context() if where else _NOWHERE)

    def bind(self, gauges: Gauges) -> None:
        """Read the gauges here from now on."""
        self._gauges = gauges

    def _find(self, name: Metric, labels: Mapping[Label, str]) -> _Series | None:
        """The series of these labels; None where there is no room for it."""
        instrument = BY_NAME[name]
        closed = self._admitted(instrument, labels)
        if closed is None:
            return None
        with self._lock:
            series = self._by_labels.get((name, *closed.items()))
            if series is None:
                series = self._by_labels[name, *closed.items()] = _Series(closed)
                if instrument.kind is Kind.COUNTER:
                    self._counters[name].append(series)
            if all(closed.get(label) == value for label, value in labels.items()):
                # What is in no closed set is not remembered, so that no word of a gateway takes room.
                self._by_labels[name, *labels.items()] = series
        return series

    def _admitted(self, instrument: Instrument, labels: Mapping[Label, str]) -> dict[str, str] | None:
        closed = instrument.close(labels)
        if self._cap.admits(instrument, closed):
            return closed
        self.add(Metric.SERIES_DROPPED)
        return None

    def _create(self, meter: Meter, instrument: Instrument) -> None:
        match instrument.kind:
            case Kind.COUNTER:
                self._counters[instrument.name] = []
                meter.create_observable_counter(
                    instrument.name.value, [self._counted(instrument.name)], instrument.unit, instrument.help
                )
                if instrument.zeroed:
                    for labels in _combinations(instrument):
                        self.add(instrument.name, 0, labels)
            case Kind.HISTOGRAM:
                histogram = meter.create_histogram(instrument.name.value, instrument.unit, instrument.help)
                self._histograms[instrument.name] = histogram
            case Kind.GAUGE:
                meter.create_observable_gauge(
                    instrument.name.value, [self._observer(instrument)], instrument.unit, instrument.help
                )

    def _counted(self, name: Metric) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_options: CallbackOptions) -> Iterable[Observation]:
            with self._lock:
                return [Observation(series.total, series.labels) for series in self._counters[name]]

        return observe

    def _observer(self, instrument: Instrument) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_options: CallbackOptions) -> Iterable[Observation]:
            if self._gauges is None:
                return
            for value, labels in self._gauges.read().get(instrument.name, ()):
                closed = self._admitted(instrument, labels)
                if closed is not None:
                    yield Observation(value, closed)

        return observe


def views() -> list[View]:
    """Buckets and label keys of each metric, for the SDK."""
    made = []
    for instrument in INSTRUMENTS:
        buckets = ExplicitBucketHistogramAggregation(instrument.buckets) if instrument.buckets else None
        keys = {label.value for label in instrument.labels}
        made.append(
            View(
                instrument_name=instrument.name.value,
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

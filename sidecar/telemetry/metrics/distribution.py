"""Histograms that are added up here and handed to a scrape, and to the SDK's readers at each collection.

The SDK has no asynchronous histogram. An asynchronous counter observes each `Distribution` in the context of a
measurement, and its view's aggregation makes a histogram's point of it.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from dataclasses import dataclass, field, replace
from typing import Any, Final

from opentelemetry.context import get_value, set_value
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics._internal.aggregation import _ExplicitBucketHistogramAggregation
from opentelemetry.sdk.metrics._internal.exemplar import Exemplar
from opentelemetry.sdk.metrics._internal.measurement import Measurement
from opentelemetry.sdk.metrics.export import AggregationTemporality, HistogramDataPoint
from opentelemetry.sdk.metrics.view import Aggregation

from sidecar.core.facts.value import Value
from sidecar.telemetry.names.traceref import TraceRef

_KEY: Final = "openclaw-sidecar-distribution"
_SAMPLED: Final = TraceRef(1, 1).context()
"""The SDK asks its exemplar filter about the context of an observation: only `always_off` says no to this one."""


class Example(Value, frozen=True):
    """A measurement that was made in a trace.

    Attributes:
        value: In the metric's unit.
        at_ns: When, in nanoseconds since the epoch.
        where: The span that it was made in.
    """

    value: float
    at_ns: int
    where: TraceRef

    def exemplar(self) -> Exemplar:
        """For the SDK."""
        return Exemplar({}, self.value, self.at_ns, self.where.span_id, self.where.trace_id)


@dataclass(slots=True, eq=False)
class Distribution:
    """One label set of a histogram. Whoever changes it or copies it holds the lock of `Meters`.

    Attributes:
        labels: Closed, as the SDK wants them.
        bounds: Upper bounds of the buckets.
        began_ns: When it was made, in nanoseconds since the epoch.
        counts: Measurements in each bucket; the last one is beyond all bounds.
        total: Sum of all measurements.
        low: The smallest measurement.
        high: The greatest measurement.
        examples: The last measurement of each bucket that was made in a trace.
    """

    labels: dict[str, str]
    bounds: tuple[float, ...]
    began_ns: int = field(default_factory=time.time_ns)
    counts: list[int] = field(default_factory=list)
    total: float = 0.0
    low: float = float("inf")
    high: float = 0.0
    examples: list[Example | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.counts:
            self.counts = [0] * (len(self.bounds) + 1)
            self.examples = [None] * len(self.counts)

    def add(self, value: float, where: TraceRef | None) -> None:
        """Take a measurement, which is not negative."""
        bucket = bisect_left(self.bounds, value)
        self.counts[bucket] += 1
        self.total += value
        self.low = min(self.low, value)
        self.high = max(self.high, value)
        if where is not None:
            self.examples[bucket] = Example(value, time.time_ns(), where)

    def copy(self) -> Distribution:
        """It as it is now."""
        return replace(self, counts=self.counts.copy(), examples=self.examples.copy())

    def observation(self) -> Observation:
        """Of a copy, for the SDK."""
        return Observation(0, self.labels, set_value(_KEY, self, _SAMPLED))


class DistributionAggregation(Aggregation):
    """For the view of a counter that observes distributions."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds

    def _create_aggregation(
        self,
        instrument: Any,  # noqa: ANN401, ARG002 - the SDK's own type, and of no use here
        attributes: Any,  # noqa: ANN401
        reservoir_factory: Any,  # noqa: ANN401
        start_time_unix_nano: int,
    ) -> _Points:
        builder = reservoir_factory(_ExplicitBucketHistogramAggregation)
        return _Points(attributes, AggregationTemporality.CUMULATIVE, start_time_unix_nano, builder, self._bounds)


class _Points(_ExplicitBucketHistogramAggregation):
    """The points of one distribution for one reader; the SDK knows a histogram by its base class."""

    _now: Distribution | None = None
    _handed_over: Distribution | None = None
    _sampled = False
    _collected_ns = 0

    def aggregate(self, measurement: Measurement, should_sample_exemplar: bool = True) -> None:  # noqa: FBT001, FBT002 - as in the SDK
        """Take the distribution as it is at this collection."""
        now = get_value(_KEY, measurement.context)
        if isinstance(now, Distribution):  # not for what goes beyond the SDK's limit
            self._now, self._sampled = now, should_sample_exemplar

    def collect(  # type: ignore[override] # the SDK's type variable names what this returns
        self,
        collection_aggregation_temporality: AggregationTemporality,
        collection_start_nano: int,
    ) -> HistogramDataPoint | None:
        """The point of this collection; each exemplar is in one."""
        now, before = self._now, self._handed_over
        if now is None:
            return None
        seen = before.examples if before is not None else [None] * len(now.examples)
        pairs = zip(now.examples, seen, strict=True)
        new = [example.exemplar() for example, old in pairs if example is not None and example is not old]
        since, self._collected_ns, self._handed_over = self._collected_ns, collection_start_nano, now
        counts, total, start_ns = now.counts, now.total, now.began_ns
        low: float | None = now.low
        high: float | None = now.high
        if collection_aggregation_temporality is AggregationTemporality.DELTA and before is not None:
            counts = [count - old for count, old in zip(counts, before.counts, strict=True)]
            if not any(counts):
                return None
            # Smallest and greatest are of all time, and optional.
            total, start_ns, low, high = total - before.total, since, None, None
        return HistogramDataPoint(
            attributes=now.labels,
            exemplars=new if self._sampled else [],
            start_time_unix_nano=start_ns,
            time_unix_nano=collection_start_nano,
            count=sum(counts),
            sum=total,
            bucket_counts=counts,
            explicit_bounds=now.bounds,
            min=low,  # type: ignore[arg-type] # OTLP has it optional
            max=high,  # type: ignore[arg-type] # OTLP has it optional
        )

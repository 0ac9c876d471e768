"""What came of the exports.

The SDK's force_flush says True while every export fails, so the results are counted where they come back.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from opentelemetry.sdk.metrics.export import MetricsData
    from opentelemetry.sdk.trace import ReadableSpan


class Signal(StrEnum):
    """What is exported."""

    TRACES = "traces"
    METRICS = "metrics"


@dataclass(slots=True)
class Attempt:
    """One export, under way.

    Attributes:
        delivered: The backend took it.
    """

    delivered: bool = False


class Deliveries:
    """Counts exports and tells a listener of each."""

    def __init__(self) -> None:
        """Nothing exported yet."""
        self.delivered = dict.fromkeys(Signal, 0)
        self.failed = dict.fromkeys(Signal, 0)
        self.listener: Callable[[Signal, bool], None] = lambda _signal, _delivered: None

    @contextmanager
    def watched(self, signal: Signal) -> Iterator[Attempt]:
        """Count one export; one that raises has failed. Used in the exporters' threads."""
        attempt = Attempt()
        try:
            yield attempt
        finally:
            counts = self.delivered if attempt.delivered else self.failed
            counts[signal] += 1
            self.listener(signal, attempt.delivered)


class CountedSpanExporter(SpanExporter):
    """Passes spans on and counts what came of it."""

    def __init__(self, inner: SpanExporter, deliveries: Deliveries) -> None:
        """Export through ``inner``."""
        self._inner = inner
        self._deliveries = deliveries

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export a batch."""
        with self._deliveries.watched(Signal.TRACES) as attempt:
            result = self._inner.export(spans)
            attempt.delivered = result is SpanExportResult.SUCCESS
        return result

    def shutdown(self) -> None:
        """Stop."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept here."""
        return self._inner.force_flush(timeout_millis)


class CountedMetricExporter(MetricExporter):
    """Passes metrics on and counts what came of it."""

    def __init__(self, inner: MetricExporter, deliveries: Deliveries) -> None:
        """Export through ``inner``, with the temporality and aggregation that it wants."""
        super().__init__(
            preferred_temporality=inner._preferred_temporality,  # noqa: SLF001 - the SDK's reader asks like this, too
            preferred_aggregation=inner._preferred_aggregation,  # noqa: SLF001
        )
        self._inner = inner
        self._deliveries = deliveries

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:  # noqa: ANN401
        """Export a collection."""
        with self._deliveries.watched(Signal.METRICS) as attempt:
            result = self._inner.export(metrics_data, timeout_millis, **kwargs)
            attempt.delivered = result is MetricExportResult.SUCCESS
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Nothing is kept here."""
        return self._inner.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:  # noqa: ANN401
        """Stop."""
        self._inner.shutdown(timeout_millis, **kwargs)

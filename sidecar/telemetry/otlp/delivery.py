"""What came of the exports.

The SDK's force_flush says True while every export fails, so the results are counted where they come back.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from sidecar.status import ExportStatus
from sidecar.telemetry.names.labels import OtlpDrop, Signal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk._logs import ReadableLogRecord, ReadWriteLogRecord
    from opentelemetry.sdk.metrics.export import MetricsData
    from opentelemetry.sdk.trace import ReadableSpan


@dataclass(slots=True)
class Attempt:
    """One export, under way.

    Attributes:
        delivered: The backend took it.
    """

    delivered: bool = False


class DeliveryListener(Protocol):
    """Told of every export. Called in the exporters' threads."""

    def exported(self, signal: Signal, *, delivered: bool) -> None:
        """A backend took a batch, or did not."""
        ...

    def dropped(self, signal: Signal, reason: OtlpDrop, count: int) -> None:
        """No backend will see these spans or log records."""
        ...


class Deliveries:
    """Counts exports, what waits for one, and what is lost; tells a listener of each."""

    def __init__(self) -> None:
        """Nothing exported yet."""
        self.delivered = dict.fromkeys(Signal, 0)
        self.failed = dict.fromkeys(Signal, 0)
        self.dropped = dict.fromkeys(Signal, 0)
        self.wanted: frozenset[Signal] = frozenset()
        """The signals that have a backend."""
        self.last_failed: dict[Signal, bool] = {}
        """Whether the last export of a signal failed."""
        self.listener: DeliveryListener | None = None
        self._waiting = dict.fromkeys(Signal, 0)
        self._lock = Lock()

    def waiting(self, signal: Signal) -> int:
        """How many items are in the queue of this signal."""
        return self._waiting[signal]

    def status(self) -> dict[str, ExportStatus]:
        """How the signals fare that have a backend."""
        return {
            signal.value: ExportStatus(
                delivered=self.delivered[signal],
                failed=self.failed[signal],
                waiting=self._waiting[signal],
                dropped=self.dropped[signal],
                failing=self.last_failed.get(signal, False),
            )
            for signal in Signal
            if signal in self.wanted
        }

    def queued(self, signal: Signal, limit: int) -> None:
        """An item goes into the SDK's queue of ``limit`` items, where the oldest makes room for it if need be."""
        with self._lock:
            full = self._waiting[signal] >= limit
            self._waiting[signal] += int(not full)
        if full:
            self._drop(signal, OtlpDrop.QUEUE_FULL, 1)

    @contextmanager
    def watched(self, signal: Signal, count: int = 0) -> Iterator[Attempt]:
        """Count one export of ``count`` items from the queue; one that raises has failed."""
        with self._lock:
            self._waiting[signal] = max(0, self._waiting[signal] - count)
        attempt = Attempt()
        try:
            yield attempt
        finally:
            counts = self.delivered if attempt.delivered else self.failed
            counts[signal] += 1
            self.last_failed[signal] = not attempt.delivered
            if self.listener is not None:
                self.listener.exported(signal, delivered=attempt.delivered)
            if count and not attempt.delivered:
                self._drop(signal, OtlpDrop.EXPORT_FAILED, count)

    def _drop(self, signal: Signal, reason: OtlpDrop, count: int) -> None:
        self.dropped[signal] += count
        if self.listener is not None:
            self.listener.dropped(signal, reason, count)


class QueuedSpanProcessor(BatchSpanProcessor):
    """The SDK's queue, and an account of what is in it: the SDK drops the oldest of a full one and only logs."""

    def __init__(self, exporter: SpanExporter, deliveries: Deliveries, max_queue_size: int) -> None:
        """Export through ``exporter`` what fits into the queue."""
        counted = CountedSpanExporter(exporter, deliveries)
        super().__init__(counted, max_queue_size=max_queue_size, meter_provider=NoOpMeterProvider())
        self._deliveries = deliveries
        self._limit = max_queue_size

    def on_end(self, span: ReadableSpan) -> None:
        """A span is over."""
        if span.context is not None and span.context.trace_flags.sampled:
            self._deliveries.queued(Signal.TRACES, self._limit)
        super().on_end(span)


class QueuedLogProcessor(BatchLogRecordProcessor):
    """The same for log records."""

    def __init__(self, exporter: LogRecordExporter, deliveries: Deliveries, max_queue_size: int) -> None:
        """Export through ``exporter`` what fits into the queue."""
        counted = CountedLogExporter(exporter, deliveries)
        super().__init__(counted, max_queue_size=max_queue_size, meter_provider=NoOpMeterProvider())
        self._deliveries = deliveries
        self._limit = max_queue_size

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """A record was made."""
        self._deliveries.queued(Signal.LOGS, self._limit)
        super().on_emit(log_record)


class CountedLogExporter(LogRecordExporter):
    """Passes log records on and counts what came of it."""

    def __init__(self, inner: LogRecordExporter, deliveries: Deliveries) -> None:
        """Export through ``inner``."""
        self._inner = inner
        self._deliveries = deliveries

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Export a batch."""
        with self._deliveries.watched(Signal.LOGS, len(batch)) as attempt:
            result = self._inner.export(batch)
            attempt.delivered = result is LogRecordExportResult.SUCCESS
        return result

    def shutdown(self) -> None:
        """Stop."""
        self._inner.shutdown()  # type: ignore[no-untyped-call] # the SDK leaves it untyped

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept here."""
        return self._inner.force_flush(timeout_millis)


class CountedSpanExporter(SpanExporter):
    """Passes spans on and counts what came of it."""

    def __init__(self, inner: SpanExporter, deliveries: Deliveries) -> None:
        """Export through ``inner``."""
        self._inner = inner
        self._deliveries = deliveries

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export a batch."""
        with self._deliveries.watched(Signal.TRACES, len(spans)) as attempt:
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
            preferred_aggregation=inner._preferred_aggregation,  # noqa: SLF001 - the SDK gives it no other way
        )
        self._inner = inner
        self._deliveries = deliveries

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:  # noqa: ANN401 - as in the SDK
        """Export a collection."""
        with self._deliveries.watched(Signal.METRICS) as attempt:
            result = self._inner.export(metrics_data, timeout_millis, **kwargs)
            attempt.delivered = result is MetricExportResult.SUCCESS
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Nothing is kept here."""
        return self._inner.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:  # noqa: ANN401 - as in the SDK
        """Stop."""
        self._inner.shutdown(timeout_millis, **kwargs)

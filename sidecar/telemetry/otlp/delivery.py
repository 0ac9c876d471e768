"""What came of the exports.

The SDK's force_flush says True while every export fails, so the results are counted where they come back.
"""

from dataclasses import replace
from threading import Lock
from typing import Any, TypeVar, cast

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk._logs import ReadWriteLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from sidecar.status import ExportStatus
from sidecar.telemetry.metrics.export import ExportCounts
from sidecar.telemetry.names.labels import OtlpDrop, Signal

_Exporter = TypeVar("_Exporter")


class Deliveries:
    """Counts exports, what waits for one, and what is lost; tells a listener of each."""

    def __init__(self) -> None:
        self.wanted: frozenset[Signal] = frozenset()
        """The signals that have a backend."""
        self.listener: ExportCounts | None = None
        """Called in the exporters' threads."""
        self._of = dict.fromkeys(Signal, ExportStatus())
        self._lock = Lock()

    def waiting(self, signal: Signal) -> int:
        """How many items are in the queue of this signal."""
        return self._of[signal].waiting

    def status(self) -> dict[str, ExportStatus]:
        """How the signals fare that have a backend."""
        return {signal.value: found for signal, found in self._of.items() if signal in self.wanted}

    def queued(self, signal: Signal, limit: int) -> None:
        """An item goes into the SDK's queue of ``limit`` items, where the oldest makes room for it if need be."""
        with self._lock:
            waiting = self._of[signal].waiting
            if waiting < limit:
                self._of[signal] = replace(self._of[signal], waiting=waiting + 1)
        if waiting >= limit:
            self._drop(signal, OtlpDrop.QUEUE_FULL, 1)

    def taken(self, signal: Signal, count: int) -> None:
        """So many items have left the queue for an export."""
        with self._lock:
            known = self._of[signal]
            self._of[signal] = replace(known, waiting=max(0, known.waiting - count))

    def exported(self, signal: Signal, count: int, *, delivered: bool) -> None:
        """An export of ``count`` items from the queue is over."""
        with self._lock:
            known = self._of[signal]
            counts = {"delivered": known.delivered + delivered, "failed": known.failed + (not delivered)}
            self._of[signal] = replace(known, **counts, failing=not delivered)
        if self.listener is not None:
            self.listener.exported(signal, delivered=delivered)
        if count and not delivered:
            self._drop(signal, OtlpDrop.EXPORT_FAILED, count)

    def _drop(self, signal: Signal, reason: OtlpDrop, count: int) -> None:
        with self._lock:
            self._of[signal] = replace(self._of[signal], dropped=self._of[signal].dropped + count)
        if self.listener is not None:
            self.listener.dropped(signal, reason, count)


class QueuedSpanProcessor(BatchSpanProcessor):
    """The SDK's queue, and an account of what is in it: the SDK drops the oldest of a full one and only logs."""

    def __init__(self, exporter: SpanExporter, deliveries: Deliveries, max_queue_size: int) -> None:
        super().__init__(exporter, max_queue_size=max_queue_size, meter_provider=NoOpMeterProvider())
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
        super().__init__(exporter, max_queue_size=max_queue_size, meter_provider=NoOpMeterProvider())
        self._deliveries = deliveries
        self._limit = max_queue_size

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """A record was made."""
        self._deliveries.queued(Signal.LOGS, self._limit)
        super().on_emit(log_record)


def counted(exporter: _Exporter, signal: Signal, deliveries: Deliveries) -> _Exporter:
    """The exporter, with an account of what came of each export."""
    return cast("_Exporter", _Counted(exporter, signal, deliveries))


class _Counted:
    """Is the exporter within in all but `export`. The SDK's three kinds differ in what they take and give."""

    def __init__(self, inner: Any, signal: Signal, deliveries: Deliveries) -> None:  # noqa: ANN401 - of three kinds
        self._inner = inner
        self._signal = signal
        self._deliveries = deliveries

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the exporter has
        return getattr(self._inner, name)

    def export(self, batch: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the exporter
        """Pass a batch on. One that raises has failed."""
        count = 0 if self._signal is Signal.METRICS else len(batch)
        self._deliveries.taken(self._signal, count)
        delivered = False
        try:
            result = self._inner.export(batch, *args, **kwargs)
            delivered = result.name == "SUCCESS"
        finally:
            self._deliveries.exported(self._signal, count, delivered=delivered)
        return result

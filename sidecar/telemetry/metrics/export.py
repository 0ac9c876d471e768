"""Metrics of telemetry itself: spans made, exports, drops, errors."""

from sidecar.telemetry.metrics.counting import Guarded, guarded
from sidecar.telemetry.metrics.instrument import counter, gauge, values
from sidecar.telemetry.names.labels import OtlpDrop, Queue, Signal
from sidecar.telemetry.names.names import Label, Span

SPANS = counter("spans", "{span}", "Spans made.", {Label.SPAN: values(Span)})
SPANS_DROPPED = counter(
    "spans.dropped", "{span}", "Spans given up because a table was full.", {Label.SPAN: values(Span)}
)
EXPORTS = counter(
    "otlp.exports",
    "{export}",
    "OTLP exports, by what came of them.",
    {Label.SIGNAL: values(Signal), Label.OUTCOME: frozenset({"delivered", "failed"})},
)
OTLP_DROPPED = counter(
    "otlp.dropped",
    "{item}",
    "Spans and log records that no backend took, by reason.",
    {Label.SIGNAL: values((Signal.TRACES, Signal.LOGS)), Label.REASON: values(OtlpDrop)},
)
QUEUE_ITEMS = gauge(
    "queue.items",
    "{item}",
    "Spans and log records that wait.",
    {Label.QUEUE: values((Queue.SPANS, Queue.OTLP_TRACES, Queue.OTLP_LOGS))},
)


class ExportCounts(Guarded):
    """Counts spans and exports."""

    @guarded
    def exported(self, signal: Signal, *, delivered: bool) -> None:
        """A backend took a batch, or did not."""
        outcome = "delivered" if delivered else "failed"
        self._meters.add(EXPORTS, labels={Label.SIGNAL: signal.value, Label.OUTCOME: outcome})

    @guarded
    def dropped(self, signal: Signal, reason: OtlpDrop, count: int) -> None:
        """No backend will see these spans or log records."""
        self._meters.add(OTLP_DROPPED, count, {Label.SIGNAL: signal.value, Label.REASON: reason.value})

    def _span_made(self, span: Span) -> None:
        self._meters.add(SPANS, labels={Label.SPAN: span.value})

    def _span_dropped(self, span: Span) -> None:
        self._meters.add(SPANS_DROPPED, labels={Label.SPAN: span.value})

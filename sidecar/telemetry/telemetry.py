"""The room's face: the service tells it what happens, and never hears of its troubles."""

from __future__ import annotations

import functools
import time
import traceback
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec

import structlog
from prometheus_client.exposition import choose_encoder

from sidecar.core import events as ev
from sidecar.core.decisions import SaveIncident
from sidecar.status import Problem
from sidecar.telemetry.custodytime import CustodyTime
from sidecar.telemetry.delivery import Signal
from sidecar.telemetry.export import Pipeline, open_pipeline
from sidecar.telemetry.gauges import StatusGauges, StatusSource
from sidecar.telemetry.incidentlog import IncidentLog
from sidecar.telemetry.labels import PolicyLoad, Queue
from sidecar.telemetry.log import LINES
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.names import Label, Metric, Span
from sidecar.telemetry.runs import RunTraces
from sidecar.telemetry.series import Meters
from sidecar.telemetry.span import SpanWriter
from sidecar.telemetry.traces import Traces
from sidecar.telemetry.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sidecar.core.decisions import Decision
    from sidecar.core.gateway import Gateway
    from sidecar.core.loss import Loss
    from sidecar.core.reports import Diagnostic, LockFailed
    from sidecar.status import ExportStatus
    from sidecar.telemetry.labels import OtlpDrop, PageOutcome, Rejection, StaleLock
    from sidecar.telemetry.span import TraceRef

SHUTDOWN_SECONDS: Final = 3.0
"""What a backend gets to take the last spans and metrics."""

P = ParamSpec("P")


def _guarded(
    method: Callable[Concatenate[Telemetry, P], None],
) -> Callable[Concatenate[Telemetry, P], None]:
    """Telemetry must not be able to hurt the service: an error is counted, and that is all."""

    @functools.wraps(method)
    def guarded(self: Telemetry, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - that is what the guard is for
            self.failed(error)

    return guarded


class Telemetry:
    """Spans and metrics of one sidecar.

    No method but `shutdown` waits for anything. All are for the service's one thread, but `logged` and
    `render_metrics`, which any thread may call.
    """

    def __init__(
        self, pipeline: Pipeline | None = None, *, instance: str = "", clock: Callable[[], int] = time.time_ns
    ) -> None:
        """Write to ``pipeline``, or to what the environment names.

        Args:
            pipeline: Where everything goes.
            instance: ``service.instance.id`` unless the environment names another: which gateway this is about.
            clock: Nanoseconds since the epoch.

        Raises:
            sidecar.telemetry.export.ExportConfigurationError: A variable of OpenTelemetry can't be obeyed.
        """
        self._pipeline = pipeline = pipeline or open_pipeline(instance=instance)
        self._meters = Meters(pipeline.meter)
        self._clock = clock
        self._runs = RunTraces()
        self._metrics = Metrics(self._meters, self._runs)
        self._tracing = self._start_tracing(clock)
        self._custody: CustodyTime | None = None
        self._incidents = IncidentLog(pipeline.logger)
        self._last_error = ""
        self._scrape = Lock()
        self._stopped = False
        self._gauges: StatusGauges | None = None
        pipeline.deliveries.listener = self
        LINES.listen(self.logged)

    @property
    def last_error(self) -> str:
        """Type and place of the last error that was kept from the service; empty when there was none."""
        return self._last_error

    @property
    def exports(self) -> dict[str, ExportStatus]:
        """How the signals fare that have a backend."""
        return self._pipeline.deliveries.status()

    def problems(self) -> tuple[Problem, ...]:
        """What an operator should mend."""
        failing = sorted(signal for signal, found in self.exports.items() if found.failing)
        if not failing:
            return ()
        what = f"the OTLP backend does not take {', '.join(failing)}; what the queue can't hold is given up"
        remedy = "see that the collector runs and OTEL_EXPORTER_OTLP_ENDPOINT, ..._PROTOCOL and ..._HEADERS are right"
        return (Problem(code="otlp_failing", what=what, remedy=remedy),)

    @_guarded
    def event(self, event: ev.Event) -> None:
        """The core is about to be told this."""
        if self._custody is not None:
            self._custody.tick()
        if isinstance(event, ev.FenceSet | ev.VerdictAsked | ev.TurnTripped):
            self._learned(event.run.run_id, self._runs.suppose(event.run))
        self._metrics.event(event)
        if self._tracing is not None:
            self._tracing.event(event)

    @contextmanager
    def within(self, event: ev.Event) -> Iterator[None]:
        """What is logged meanwhile is about this event, and carries the ids of the trace that it belongs to, if any."""
        ids = self._trace_of(event)
        if not ids:
            yield
            return
        with structlog.contextvars.bound_contextvars(**ids):
            yield

    def _trace_of(self, event: ev.Event) -> dict[str, str]:
        try:
            where = self._metrics.place(event)
        except Exception as error:  # noqa: BLE001 - a line without ids is better than none
            self.failed(error)
            return {}
        return {} if where is None else where.log_fields()

    @_guarded
    def decision(self, decision: Decision) -> None:
        """The core decided this, on the event told last."""
        self._metrics.decision(decision)
        if self._tracing is not None:
            self._tracing.decision(decision)
        if isinstance(decision, SaveIncident):
            incident = decision.incident
            self._incidents.saved(incident, self._runs.get(incident.run.run_id), self._clock())

    @_guarded
    def diagnostic(self, message: Diagnostic, gateway: Gateway) -> None:
        """A gateway's diagnostics bus said this."""
        self._learned(message.run, self._runs.heard(message))
        self._metrics.diagnostic(message, gateway)
        if self._tracing is not None:
            self._tracing.diagnostic(message, gateway)

    @_guarded
    def lock_failed(self, message: LockFailed) -> None:
        """A writer did not get the session lock."""
        self._metrics.lock_failed(message)
        if self._tracing is not None:
            self._tracing.lock_failed(message)

    @_guarded
    def rejected(self, reason: Rejection | str) -> None:
        """Input was not taken; a word that `Rejection` does not have counts as ``other``."""
        self._meters.add(Metric.REJECTED, labels={Label.REASON: reason})

    @_guarded
    def answered(self, seconds: float) -> None:
        """A gateway's question was answered, so long after it came."""
        self._meters.record(Metric.VERDICT_LATENCY, seconds)

    @_guarded
    def delayed(self, seconds: float) -> None:
        """The service came so late to something that was due."""
        self._meters.record(Metric.LOOP_DELAY, seconds)

    @_guarded
    def report(self, count: int = 1) -> None:
        """Messages came from a preload."""
        self._meters.add(Metric.REPORTS, count)

    @_guarded
    def gap(self, count: int = 1) -> None:
        """A link's messages are not in sequence."""
        self._meters.add(Metric.REPORT_GAPS, count)

    @_guarded
    def lost(self, count: int) -> None:
        """A preload had to drop messages."""
        self._meters.add(Metric.REPORTS_LOST, count)

    @_guarded
    def spared(self, loss: Loss) -> None:
        """Events were lost, and no file is touched by it. It counts all the same."""
        self._meters.add(Metric.CUSTODY_LOSSES, labels={Label.REASON: loss.value})

    @_guarded
    def overflow(self) -> None:
        """The kernel's queue of file events overflowed."""
        self._meters.add(Metric.WATCH_OVERFLOWS)

    @_guarded
    def page(self, outcome: PageOutcome | str) -> None:
        """A notification was tried; a word that `PageOutcome` does not have counts as ``other``."""
        self._meters.add(Metric.PAGES, labels={Label.OUTCOME: outcome})

    @_guarded
    def policy_read(self, *, taken: bool) -> None:
        """A policy file was read."""
        outcome = PolicyLoad.LOADED if taken else PolicyLoad.REFUSED
        self._meters.add(Metric.POLICY_LOADS, labels={Label.OUTCOME: outcome.value})

    @_guarded
    def logged(self, level: str, count: int = 1) -> None:
        """Log lines were written."""
        self._meters.add(Metric.LOG_LINES, count, {Label.LEVEL: level})

    @_guarded
    def stale_lock(self, reason: StaleLock | str) -> None:
        """A lock file was found that nobody will give back."""
        self._meters.add(Metric.LOCK_STALE, labels={Label.REASON: reason})

    @_guarded
    def bind_custody(self, unknown: Callable[[], int]) -> None:
        """Add up the time that custody is unknown; ``unknown`` tells of how many fenced files it is now."""
        self._custody = CustodyTime(self._meters, unknown, time.monotonic_ns)

    @_guarded
    def bind_status(self, source: StatusSource) -> None:
        """Read the gauges from here: in this thread, if it runs an event loop."""
        self._gauges = StatusGauges(source, self.failed, self._own_gauges)
        self._meters.bind(self._gauges)

    def render_metrics(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics for a scrape.

        Args:
            accept: The request's Accept header: the text format of Prometheus, or OpenMetrics where it is asked for.

        Returns:
            Body and content type.
        """
        try:
            encode, content_type = choose_encoder(accept)
            with self._scrape:  # the exporter for Prometheus mixes up two collections at once
                return encode(self._pipeline.registry), content_type
        except Exception as error:  # noqa: BLE001 - a scrape that fails must not fail the service
            self.failed(error)
            encode, content_type = choose_encoder("")
            return b"", content_type

    @_guarded
    def shutdown(self, timeout_seconds: float = SHUTDOWN_SECONDS) -> None:
        """Close what is open and send what is queued; returns after the timeout at the latest, and a moment.

        Once is enough; nothing is taken in after it.
        """
        if self._stopped:
            return
        self._stopped = True
        LINES.listen(None)
        if self._tracing is not None:
            self._tracing.close()
        if self._gauges is not None:
            self._gauges.freeze()
        self._pipeline.shutdown(timeout_seconds)

    @_guarded
    def exported(self, signal: Signal, *, delivered: bool) -> None:
        """A backend took a batch, or did not."""
        outcome = "delivered" if delivered else "failed"
        self._meters.add(Metric.EXPORTS, labels={Label.SIGNAL: signal.value, Label.OUTCOME: outcome})

    @_guarded
    def dropped(self, signal: Signal, reason: OtlpDrop, count: int) -> None:
        """No backend will see these spans or log records."""
        self._meters.add(Metric.OTLP_DROPPED, count, {Label.SIGNAL: signal.value, Label.REASON: reason.value})

    def failed(self, error: Exception) -> None:
        """An error was kept from the service."""
        where = traceback.extract_tb(error.__traceback__)[-1:]
        self._last_error = " ".join([type(error).__name__, *(f"at {Path(f.filename).name}:{f.lineno}" for f in where)])
        with suppress(Exception):  # the counter itself fails: there is nothing left to do
            self._meters.add(Metric.ERRORS)

    def _own_gauges(self) -> Mapping[Metric, Iterable[tuple[float, Mapping[Label, str]]]]:
        """What telemetry knows itself; read in the service's thread."""
        if self._custody is not None:
            self._custody.tick()
        deliveries = self._pipeline.deliveries
        waiting = {
            Queue.SPANS: self._tracing.waiting if self._tracing is not None else 0,
            Queue.OTLP_TRACES: deliveries.waiting(Signal.TRACES),
            Queue.OTLP_LOGS: deliveries.waiting(Signal.LOGS),
        }
        return {
            Metric.SESSIONS_STALLED: self._metrics.stalls.readings(self._clock()),
            Metric.QUEUE_ITEMS: [(count, {Label.QUEUE: queue.value}) for queue, count in waiting.items()],
        }

    def _learned(self, run_id: str, where: TraceRef | None) -> None:
        if where is not None and self._tracing is not None:
            self._tracing.learned(run_id, where)

    def _start_tracing(self, clock: Callable[[], int]) -> Tracing | None:
        tracer, provider = self._pipeline.tracer, self._pipeline.tracer_provider
        if tracer is None or provider is None:
            return None
        writer = SpanWriter(tracer, self._pipeline.ids, provider.sampler, self._span_made)
        return Tracing(Traces(writer, self._runs), self._span_dropped, clock)

    def _span_made(self, span: Span) -> None:
        self._meters.add(Metric.SPANS, labels={Label.SPAN: span.value})

    def _span_dropped(self, span: Span) -> None:
        self._meters.add(Metric.SPANS_DROPPED, labels={Label.SPAN: span.value})

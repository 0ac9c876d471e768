"""The one entry to telemetry. Its own errors are counted and never reach the caller."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final

import structlog
from prometheus_client.exposition import choose_encoder

from sidecar.core import events as ev
from sidecar.core.engine import Engine
from sidecar.core.facts.gateway import Gateway
from sidecar.core.outcomes import AnyOutcome, Ending
from sidecar.core.reports import Diagnostic, LockFailed
from sidecar.core.verdict.incident import Incident
from sidecar.status import ExportStatus, Problem, Status
from sidecar.telemetry.logs.incidents import IncidentLog
from sidecar.telemetry.logs.setup import LINES
from sidecar.telemetry.metrics.catalogue import INSTRUMENTS
from sidecar.telemetry.metrics.counters import Counters
from sidecar.telemetry.metrics.counting import guarded
from sidecar.telemetry.metrics.custody import CustodyTime, LossCounts
from sidecar.telemetry.metrics.export import QUEUE_ITEMS, ExportCounts
from sidecar.telemetry.metrics.gateways import count_log_line
from sidecar.telemetry.metrics.gauges import StatusGauges
from sidecar.telemetry.metrics.instrument import Instrument
from sidecar.telemetry.metrics.link import InputCounts
from sidecar.telemetry.metrics.locks import LockFileCounts
from sidecar.telemetry.metrics.meters import Meters
from sidecar.telemetry.metrics.recoveries import AnswerCounts
from sidecar.telemetry.metrics.scrape import Scrape
from sidecar.telemetry.metrics.service import ServiceCounts
from sidecar.telemetry.metrics.stalls import SESSIONS_STALLED, Stalls
from sidecar.telemetry.names.labels import Queue, Signal
from sidecar.telemetry.names.names import Label
from sidecar.telemetry.names.runs import RunTraces
from sidecar.telemetry.names.traceref import TraceRef
from sidecar.telemetry.otlp.pipeline import Pipeline, open_pipeline
from sidecar.telemetry.traces.model_calls import ModelCalls
from sidecar.telemetry.traces.placement import Placement
from sidecar.telemetry.traces.span import SpanWriter
from sidecar.telemetry.traces.tracer import Tracer

_NO_TRACE: Final = nullcontext()
_OF_RUNS: Final = (ev.FenceSet, ev.VerdictAsked, ev.TurnTripped)
"""Events that name a run and its trace."""
_OF_LOCKS: Final = (ev.LockTaken, ev.LockReleased, ev.DatabaseLocked, ev.DatabaseHeld, ev.HoldersHidden)
"""Events that leave custody as it is."""

SHUTDOWN_SECONDS: Final = 3.0
"""What a backend gets to take the last spans and metrics."""


class Telemetry(InputCounts, AnswerCounts, LossCounts, LockFileCounts, ServiceCounts, ExportCounts):
    """Spans and metrics of one sidecar. What is only counted is told to the families of metrics that it inherits.

    No method but `shutdown` waits for anything. All are for the service's one thread, but `logged` and
    `render_metrics`, which any thread may call.
    """

    def __init__(
        self,
        pipeline: Pipeline | None = None,
        *,
        core: Engine | None = None,
        instance: str = "",
        head: Callable[[], str] = lambda: "",
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Write to ``pipeline``, or to what the environment names.

        Args:
            pipeline: Where everything goes.
            core: Says what windows are about, who holds locks and where custody is unknown.
            instance: ``service.instance.id`` unless the environment names another: which gateway this is about.
            head: The last entry of the chain of records.
            clock: Nanoseconds since the epoch.

        Raises:
            sidecar.telemetry.otlp.pipeline.ExportConfigurationError: A variable of OpenTelemetry can't be obeyed.
        """
        self._pipeline = pipeline = pipeline or open_pipeline(instance=instance)
        self._meters = Meters(pipeline.meter, INSTRUMENTS)
        self._scrape = Scrape(self._meters, pipeline.resource)
        self._clock = clock
        self._runs = RunTraces()
        self._counters = Counters(self._meters, self._runs)
        self._stalls = Stalls(self._meters)
        self._tracer = self._start_tracer(clock)
        self._calls = ModelCalls(self._span_dropped if self._tracer is not None else lambda _: None)
        self._custody = CustodyTime(self._meters, core.custody_unknown, time.monotonic_ns) if core is not None else None
        self._incidents = IncidentLog(pipeline.logger, head)
        self._core = core
        self._stopped = False
        self._gauges: StatusGauges | None = None
        pipeline.deliveries.listener = self
        LINES.listen(self.logged)

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

    @guarded
    def event(self, event: ev.Event) -> None:
        """The core is about to be told this."""
        if self._custody is not None and not isinstance(event, _OF_LOCKS):
            self._custody.tick()
        if isinstance(event, _OF_RUNS):
            self._learned(event.run.run_id, self._runs.suppose(event.run))
        if isinstance(event, ev.LinkLost):
            self._link_lost(event)
        self._take(event)
        if self._tracer is not None:
            self._tracer.settle(event.change.at_ns if isinstance(event, ev.FileChanged) else event.at_ns)

    @guarded
    def outcome(self, outcome: AnyOutcome) -> None:
        """This came of the event told last."""
        self._take(outcome)

    @guarded
    def recorded(self, incident: Incident) -> None:
        """The incident has come to something new, and is on record as far as it could be put there."""
        self._incidents.changed(incident, self._runs.get(incident.run.run_id), self._clock())

    def within(self, event: ev.Event) -> AbstractContextManager[None]:
        """What is logged meanwhile is about this event, and carries the ids of the trace that it belongs to, if any."""
        ids = self._trace_of(event)
        return structlog.contextvars.bound_contextvars(**ids) if ids else _NO_TRACE

    @guarded
    def diagnostic(self, report: Diagnostic, gateway: Gateway) -> None:
        """A gateway's diagnostics bus said this."""
        match report.event.partition(".")[0]:
            case "run" | "model":
                self._learned(report.run, self._runs.heard(report))
                call = self._calls.diagnostic(report, gateway)
                if call is not None:
                    self._take(call)
            case "session":
                self._stalls.diagnostic(report, gateway.link)
            case "log":
                count_log_line(self._meters, report)
        if self._tracer is not None:
            self._tracer.diagnostic(report, gateway)

    @guarded
    def lock_failed(self, report: LockFailed) -> None:
        """A writer did not acquire the session lock."""
        self._counters.take(report)
        if self._tracer is not None:
            self._tracer.lock_failed(report, self._core.last_holder(report.file) if self._core is not None else None)

    @guarded
    def bind_status(self, status: Callable[[], Status]) -> None:
        """Read the gauges from here, see `StatusGauges`: in this thread, if it runs an event loop."""
        self._gauges = StatusGauges(status, self.failed, self._own_gauges)
        self._meters.bind(self._gauges.read)

    def render_metrics(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics for a scrape.

        Args:
            accept: The request's Accept header: the text format of Prometheus, or OpenMetrics where it is asked for.

        Returns:
            Body and content type.
        """
        try:
            encode, content_type = choose_encoder(accept)
            return encode(self._scrape), content_type
        except Exception as error:  # noqa: BLE001 - a scrape that fails must not fail the service
            self.failed(error)
            encode, content_type = choose_encoder("")
            return b"", content_type

    @guarded
    def shutdown(self, timeout_seconds: float = SHUTDOWN_SECONDS) -> None:
        """Close what is open and send what is queued; returns after the timeout at the latest, and a moment.

        Once is enough; nothing is taken in after it.
        """
        if self._stopped:
            return
        self._stopped = True
        LINES.listen(None)
        if self._tracer is not None:
            for call in self._calls.flush(self._clock()):
                self._tracer.take(call)
            for hold in self._core.open_holds(self._clock()) if self._core is not None else ():
                self._tracer.take(hold)
            self._tracer.close()
        if self._gauges is not None:
            self._gauges.freeze()
        self._pipeline.shutdown(timeout_seconds)

    def _take(self, fact: object) -> None:
        self._counters.take(fact)
        if self._tracer is not None:
            self._tracer.take(fact)

    def _link_lost(self, event: ev.LinkLost) -> None:
        self._stalls.link_lost(event.link)
        ending = Ending.GATEWAY_ENDED if event.clean else Ending.LINK_LOST
        for call in self._calls.lost(event.link, event.at_ns, ending):
            self._take(call)

    def _trace_of(self, event: ev.Event) -> dict[str, str]:
        try:
            where = self._runs.get(self._run_of(event))
        except Exception as error:  # noqa: BLE001 - a line without ids is better than none
            self.failed(error)
            return {}
        return {} if where is None else where.log_fields()

    def _run_of(self, event: ev.Event) -> str:
        """The id of the run that an event is about; empty where it is about none."""
        match event:
            case ev.FenceSet() | ev.VerdictAsked() | ev.TurnTripped() | ev.TurnLost():
                return event.run.run_id
            case ev.FenceClosed() | ev.RecoveryApplied() | ev.LineageChecked():
                run = self._core.run_of(event.window) if self._core is not None else None
                return run.run_id if run is not None else ""
            case ev.LockTaken() | ev.LockReleased() | ev.DatabaseLocked():
                return event.writer.run_id
            case ev.FileChanged():
                return event.change.writer.run_id
            case ev.GatewayLogged() | ev.TimelineNote() | ev.WriterClaimed():
                return event.run_id
            case _:
                return ""

    def _own_gauges(self) -> Mapping[Instrument, Iterable[tuple[float, Mapping[Label, str]]]]:
        """What telemetry knows itself; read in the service's thread."""
        if self._custody is not None:
            self._custody.tick()
        deliveries = self._pipeline.deliveries
        waiting = {
            Queue.SPANS: self._tracer.waiting if self._tracer is not None else 0,
            Queue.OTLP_TRACES: deliveries.waiting(Signal.TRACES),
            Queue.OTLP_LOGS: deliveries.waiting(Signal.LOGS),
        }
        return {
            SESSIONS_STALLED: self._stalls.readings(self._clock()),
            QUEUE_ITEMS: [(count, {Label.QUEUE: queue.value}) for queue, count in waiting.items()],
        }

    def _learned(self, run_id: str, where: TraceRef | None) -> None:
        if where is not None and self._tracer is not None:
            self._tracer.learned(run_id, where)

    def _start_tracer(self, clock: Callable[[], int]) -> Tracer | None:
        tracer, provider = self._pipeline.tracer, self._pipeline.tracer_provider
        if tracer is None or provider is None:
            return None
        writer = SpanWriter(tracer, self._pipeline.ids, provider.sampler, self._span_made)
        return Tracer(Placement(writer, self._runs), self._span_dropped, clock)

"""Counts and measurements from events and decisions of the core, and from the gateway's diagnostics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core import events as ev
from sidecar.core.decisions import AnswerWait, Decision, SaveIncident
from sidecar.core.hold import Hold
from sidecar.core.loss import Loss
from sidecar.telemetry import calls
from sidecar.telemetry.agents import Agents
from sidecar.telemetry.labels import CallOutcome, Ending, LockTimeout, LogEvent
from sidecar.telemetry.names import Label, Metric, Span
from sidecar.telemetry.span import TraceRef
from sidecar.telemetry.stalls import Stalls
from sidecar.telemetry.table import OpenTable
from sidecar.telemetry.takeovers import Takeovers
from sidecar.telemetry.tallies import Tallies

if TYPE_CHECKING:
    from sidecar.core.change import Change
    from sidecar.core.gateway import Gateway
    from sidecar.core.incident import Incident
    from sidecar.core.reports import Diagnostic, LockFailed
    from sidecar.core.writer import Writer
    from sidecar.telemetry.runs import RunTraces
    from sidecar.telemetry.series import Meters

MAX_REMEMBERED: Final = 4_096
"""Calls and incidents of which it is remembered what has been counted."""

_NS_PER_SECOND: Final = 1_000_000_000
_MS_PER_SECOND: Final = 1_000
_LOG: Final = "log."
_TAKEOVER: Final = "takeover"


class Metrics:
    """Feeds the meters."""

    def __init__(self, meters: Meters, runs: RunTraces) -> None:
        """Nothing counted yet; ``runs`` tells which trace is an example of a measurement."""
        self._meters = meters
        self._runs = runs
        self._agents = Agents()
        self._tallies = Tallies(meters, self._agents, runs)
        self._takeovers = Takeovers(meters)
        self.stalls = Stalls(meters)
        self._calls: OpenTable[tuple[str, str], str] = OpenTable(MAX_REMEMBERED)
        self._lost: OpenTable[str, bool] = OpenTable(MAX_REMEMBERED)
        self._counted: OpenTable[tuple[str, Metric, str], bool] = OpenTable(8 * MAX_REMEMBERED)

    def event(self, event: ev.Event) -> None:  # noqa: C901 - one case for each event
        """Take in an event of the core."""
        match event:
            case ev.LockTaken():
                self._lock_time(Metric.LOCK_WAIT, event.wait_ns, event.writer)
            case ev.LockReleased():
                self._lock_time(Metric.LOCK_HOLD, event.held_ns, event.writer)
            case ev.FileChanged() if event.change.finished:
                self._changed(event.file, event.change)
            case ev.FenceSet():
                self._tallies.opened(event)
            case ev.FenceClosed():
                self._fence_closed(event)
            case ev.TurnTripped():
                self._takeovers.tripped(event.run.run_id or event.window, event.file, event.at_ns)
            case ev.LinkLost():
                self._link_lost(event)
            case ev.LockWaitEnded():
                self._lock_timeout(LockTimeout.FORGIVEN if event.had else LockTimeout.GIVEN_UP)
            case ev.AccountBroken():
                self._meters.add(Metric.CUSTODY_LOSSES, labels={Label.REASON: event.loss.value})
            case ev.RecoveryApplied():
                self._recovery_applied(event)
            case _:
                pass

    def place(self, event: ev.Event) -> TraceRef | None:
        """The trace that an event belongs to; None where it is not known, or of no run."""
        match event:
            case ev.FenceSet() | ev.VerdictAsked() | ev.TurnTripped():
                run_id = event.run.run_id
            case ev.FenceClosed() | ev.RecoveryApplied() | ev.LineageChecked():
                run_id = self._tallies.run(event.window)
            case ev.LockTaken() | ev.LockReleased():
                run_id = event.writer.run_id
            case ev.FileChanged():
                run_id = event.change.writer.run_id
            case ev.TurnTold() | ev.Noted():
                run_id = event.run_id
            case _:
                return None
        return self._runs.get(run_id)

    def decision(self, decision: Decision) -> None:
        """Take in a decision."""
        if isinstance(decision, AnswerWait) and not decision.granted:
            self._lock_timeout(LockTimeout.REFUSED)
        if not isinstance(decision, SaveIncident):
            return
        incident = decision.incident
        self._once(incident, Metric.INCIDENTS, Label.VERDICT, incident.verdict.value)
        self._once(incident, Metric.RECOVERIES, Label.OUTCOME, incident.recovery.outcome.value)
        self._tallies.judged(incident)
        if incident.recovery.hold is not Hold.NONE:
            self._once(incident, Metric.RECOVERY_HOLDS, Label.REASON, incident.recovery.hold.value)
        if incident.turn_lost:
            self._turn_lost(incident.window or incident.incident_id, incident.verdict.value)

    def diagnostic(self, message: Diagnostic, gateway: Gateway) -> None:
        """Take in an event of the gateway's diagnostics bus."""
        key = (gateway.link, message.call)
        match message.event:
            case calls.STARTED:
                self._calls.put(key, gateway.link)
            case calls.COMPLETED:
                self._calls.pop(key)
                self._call_ended(message, CallOutcome.COMPLETED)
            case calls.ERROR:
                self._calls.pop(key)
                self._call_ended(message, CallOutcome.ERROR)
            case logged if logged.startswith(_LOG):
                self._logged(message, logged.removeprefix(_LOG))
            case _:
                self.stalls.diagnostic(message, gateway.link)

    def lock_failed(self, message: LockFailed) -> None:
        """A lock was not had."""
        self._meters.add(Metric.LOCK_FAILURES, labels={Label.REASON: message.reason})

    def _logged(self, message: Diagnostic, event: str) -> None:
        """A line of the gateway's log; of the two lanes' lines, the session's has the session."""
        self._meters.add(Metric.GATEWAY_LOG, labels={Label.EVENT: event})
        if message.reason != _TAKEOVER:
            return
        if message.file:
            self._takeovers.logged(message.file, message.at_ns)
        if event == LogEvent.LANE_TASK_ERROR and message.session:
            seconds = message.duration_ms / _MS_PER_SECOND
            self._meters.record(Metric.TURN_LOST_WAIT, seconds, where=TraceRef.parse(message.trace, message.span))

    def _lock_time(self, metric: Metric, time_ns: int, writer: Writer) -> None:
        self._meters.record(metric, time_ns / _NS_PER_SECOND, _kind(writer), self._runs.get(writer.run_id))

    def _lock_timeout(self, outcome: LockTimeout) -> None:
        self._meters.add(Metric.LOCK_TIMEOUTS, labels={Label.OUTCOME: outcome.value})

    def _changed(self, file: str, change: Change) -> None:
        kind = _kind(change.writer)
        self._meters.add(Metric.CHANGES, labels={Label.OPERATION: change.operation.value, **kind})
        if change.sha256:  # of a truncation, the length is what is left
            self._meters.add(Metric.WRITTEN, change.length, {Label.AGENT: self._agents.of(file), **kind})
        self._tallies.changed(file, change)

    def _fence_closed(self, event: ev.FenceClosed) -> None:
        verdict = self._tallies.verdict(event.window)
        opened = self._tallies.closed(event.window, event.at_ns, Ending.TAKEOVER if event.takeover else Ending.ENDED)
        if event.takeover:
            self._turn_lost(event.window, verdict)
            if opened is not None:
                self._takeovers.tripped(opened.run.run_id or event.window, opened.file, event.at_ns)

    def _link_lost(self, event: ev.LinkLost) -> None:
        ending = Ending.GATEWAY_ENDED if event.clean else Ending.LINK_LOST
        for window in self._tallies.on_link(event.link):
            self._tallies.closed(window, event.at_ns, ending)
        self.stalls.link_lost(event.link)
        for _ in self._calls.take(lambda link: link == event.link):
            self._meters.add(Metric.MODEL_CALLS, labels={Label.OUTCOME: CallOutcome.ABANDONED.value})
        if not event.clean:
            self._meters.add(Metric.CUSTODY_LOSSES, labels={Label.REASON: Loss.LINK_LOST.value})

    def _recovery_applied(self, event: ev.RecoveryApplied) -> None:
        way = {Label.WAY: "pushed" if event.pushed else "asked"}
        result = {Label.RESULT: "applied" if event.applied else "refused"}
        self._meters.add(Metric.RECOVERY_COMMANDS, labels={**result, **way})
        if event.applied:
            where = self._runs.get(self._tallies.run(event.window))
            self._meters.record(Metric.RECOVERY_LATENCY, event.latency_ns / _NS_PER_SECOND, way, where)

    def _turn_lost(self, window: str, verdict: str) -> None:
        """The gateway says it twice, with the trip and with the end of the window; it is one turn."""
        if self._lost.get(window) is None:
            self._lost.put(window, value=True)
            self._meters.add(Metric.TURNS_LOST, labels={Label.VERDICT: verdict})

    def _once(self, incident: Incident, metric: Metric, label: Label, value: str) -> None:
        """Count an incident under a value that it has reached, once."""
        key = (incident.incident_id, metric, value)
        if self._counted.get(key) is None:
            self._counted.put(key, value=True)
            self._meters.add(metric, labels={label: value})

    def _call_ended(self, message: Diagnostic, outcome: CallOutcome) -> None:
        self._meters.add(Metric.MODEL_CALLS, labels={Label.OUTCOME: outcome.value})
        labels = {
            Label.GEN_AI_OPERATION: Span.CHAT.value,
            Label.GEN_AI_PROVIDER: calls.provider_name(message.provider),
        }
        if outcome is CallOutcome.ERROR:
            labels[Label.ERROR_TYPE] = message.error
        where = calls.place(message) or self._runs.get(message.run)
        self._meters.record(Metric.MODEL_DURATION, calls.duration_seconds(message), labels, where)


def _kind(writer: Writer) -> dict[Label, str]:
    return {Label.WRITER_KIND: writer.kind.value}

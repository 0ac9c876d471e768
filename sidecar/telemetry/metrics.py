"""Counts and measurements from events and decisions of the core, and from the gateway's diagnostics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core import events as ev
from sidecar.core.decisions import Decision, SaveIncident
from sidecar.core.loss import Loss
from sidecar.telemetry import calls
from sidecar.telemetry.labels import NONE, CallOutcome, Ending
from sidecar.telemetry.names import Label, Metric, Span
from sidecar.telemetry.table import OpenTable

if TYPE_CHECKING:
    from sidecar.core.change import Change
    from sidecar.core.gateway import Gateway
    from sidecar.core.incident import Incident
    from sidecar.core.writer import Writer
    from sidecar.telemetry.series import Meters
    from sidecar.wire.messages import Diagnostic, LockFailed

MAX_REMEMBERED: Final = 4_096
"""Windows, calls and incidents of which it is remembered what has been counted."""

_NS_PER_SECOND: Final = 1_000_000_000
_STALL_PREFIX: Final = "session."
_STALLS: Final = frozenset({"session.long_running", "session.stalled", "session.stuck"})
_UNKNOWN_KIND: Final = "unknown"


class Metrics:
    """Feeds the meters."""

    def __init__(self, meters: Meters) -> None:
        """Nothing counted yet."""
        self._meters = meters
        self._windows: OpenTable[str, ev.FenceSet] = OpenTable(MAX_REMEMBERED)
        self._calls: OpenTable[tuple[str, str], str] = OpenTable(MAX_REMEMBERED)
        self._verdicts: OpenTable[str, str] = OpenTable(MAX_REMEMBERED)
        self._lost: OpenTable[str, bool] = OpenTable(MAX_REMEMBERED)
        self._counted: OpenTable[tuple[str, Metric, str], bool] = OpenTable(8 * MAX_REMEMBERED)

    def event(self, event: ev.Event) -> None:
        """Take in an event of the core."""
        match event:
            case ev.LockTaken():
                self._meters.record(Metric.LOCK_WAIT, event.wait_ns / _NS_PER_SECOND, _kind(event.writer))
            case ev.LockReleased():
                self._meters.record(Metric.LOCK_HOLD, event.held_ns / _NS_PER_SECOND, _kind(event.writer))
            case ev.FileChanged() if event.change.finished:
                self._changed(event.change)
            case ev.FenceSet() if self._windows.get(event.window) is None:
                self._windows.put(event.window, event)
            case ev.FenceClosed():
                self._window_closed(event.window, event.at_ns, Ending.TAKEOVER if event.takeover else Ending.ENDED)
                if event.takeover:
                    self._turn_lost(event.window, self._verdicts.get(event.window) or NONE)
            case ev.LinkLost():
                self._link_lost(event)
            case ev.AccountBroken():
                self._meters.add(Metric.CUSTODY_LOSSES, labels={Label.REASON: event.loss.value})
            case ev.RecoveryApplied():
                self._recovery_applied(event)
            case _:
                pass

    def decision(self, decision: Decision) -> None:
        """Take in a decision."""
        if not isinstance(decision, SaveIncident):
            return
        incident = decision.incident
        self._once(incident, Metric.INCIDENTS, Label.VERDICT, incident.verdict.value)
        self._once(incident, Metric.RECOVERIES, Label.OUTCOME, incident.recovery.outcome.value)
        if incident.window:
            self._verdicts.put(incident.window, incident.verdict.value)
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
            case stall if stall in _STALLS:
                self._meters.add(Metric.STALLS, labels={Label.STATE: stall.removeprefix(_STALL_PREFIX)})
            case _:
                pass

    def lock_failed(self, message: LockFailed) -> None:
        """A lock was not had."""
        self._meters.add(Metric.LOCK_FAILURES, labels={Label.REASON: message.reason})

    def _changed(self, change: Change) -> None:
        kind = _kind(change.writer)
        self._meters.add(Metric.CHANGES, labels={Label.OPERATION: change.operation.value, **kind})
        if change.sha256:  # of a truncation, the length is what is left
            self._meters.add(Metric.WRITTEN, change.length, kind)

    def _window_closed(self, window: str, at_ns: int, ending: Ending) -> None:
        opened = self._windows.pop(window)
        if opened is None:
            return
        outcome = {Label.OUTCOME: ending.value}
        self._meters.record(Metric.WINDOW_LENGTH, (at_ns - opened.at_ns) / _NS_PER_SECOND, outcome)
        kind = opened.run.kind or _UNKNOWN_KIND
        self._meters.add(Metric.WINDOWS_CLOSED, labels={Label.RUN_KIND: kind, **outcome})

    def _link_lost(self, event: ev.LinkLost) -> None:
        ending = Ending.GATEWAY_ENDED if event.clean else Ending.LINK_LOST
        for opened in self._windows.values():
            if opened.link == event.link:
                self._window_closed(opened.window, event.at_ns, ending)
        for _ in self._calls.take(lambda link: link == event.link):
            self._meters.add(Metric.MODEL_CALLS, labels={Label.OUTCOME: CallOutcome.ABANDONED.value})
        if not event.clean:
            self._meters.add(Metric.CUSTODY_LOSSES, labels={Label.REASON: Loss.LINK_LOST.value})

    def _recovery_applied(self, event: ev.RecoveryApplied) -> None:
        way = {Label.WAY: "pushed" if event.pushed else "asked"}
        result = {Label.RESULT: "applied" if event.applied else "refused"}
        self._meters.add(Metric.RECOVERY_COMMANDS, labels={**result, **way})
        if event.applied:
            self._meters.record(Metric.RECOVERY_LATENCY, event.latency_ns / _NS_PER_SECOND, way)

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
        self._meters.record(Metric.MODEL_DURATION, calls.duration_seconds(message), labels)


def _kind(writer: Writer) -> dict[Label, str]:
    return {Label.WRITER_KIND: writer.kind.value}

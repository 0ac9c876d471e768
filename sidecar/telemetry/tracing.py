"""Spans from events and decisions of the core, and from the gateway's diagnostics, in the gateway's own trace.

Nothing is measured here. Every time is the gateway's or comes with an event; only the moment of a decision, which has
no time of its own, is read from the clock that both processes share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core import events as ev
from sidecar.core.decisions import Approve, Decision, Refuse, SaveIncident
from sidecar.telemetry.calls import STARTED, Calls
from sidecar.telemetry.judgements import Judgements
from sidecar.telemetry.labels import Ending
from sidecar.telemetry.locks import Locks
from sidecar.telemetry.names import Attribute, Moment
from sidecar.telemetry.span import TraceRef
from sidecar.telemetry.turns import Turns
from sidecar.telemetry.windows import Awaited, OpenWindow, OpenWindows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sidecar.core.gateway import Gateway
    from sidecar.core.reports import Diagnostic, LockFailed
    from sidecar.telemetry.calls import CallSpan
    from sidecar.telemetry.locks import LockSpan
    from sidecar.telemetry.names import Span
    from sidecar.telemetry.traces import Traces

_PATIENCE_NS: Final = 60 * 1_000_000_000
"""After so long an ended window becomes spans although its incident was never closed."""


class Tracing:
    """Keeps what has begun and writes what has ended."""

    def __init__(self, traces: Traces, dropped: Callable[[Span], None], clock: Callable[[], int]) -> None:
        """Write to ``traces``; ``clock`` gives nanoseconds since the epoch."""
        self._traces = traces
        self._clock = clock
        self._gateways: dict[str, Gateway] = {}
        self._locks = Locks(dropped)
        self._calls = Calls(dropped)
        self._turns = Turns(dropped)
        self._windows = OpenWindows(dropped)
        self._judgements = Judgements(clock)

    @property
    def waiting(self) -> int:
        """Spans that wait for their trace."""
        return self._traces.waiting

    def learned(self, run_id: str, where: TraceRef) -> None:
        """The trace of a run is known now."""
        self._traces.learned(run_id, where)

    def event(self, event: ev.Event) -> None:  # noqa: C901, PLR0912 - one case for each event
        """Take in an event of the core, ahead of the decisions that it leads to."""
        self._judgements.settle()
        match event:
            case ev.LinkOpened():
                self._gateways[event.gateway.link] = event.gateway
                for window in self._windows.on_link(event.gateway.link):
                    window.gateway = event.gateway
            case ev.LinkLost():
                self._link_lost(event)
            case ev.AccountBroken():
                reason = {Attribute.CUSTODY_REASON: event.loss.value}
                for window in self._windows.on_file(event.file) if event.file else self._windows.all():
                    window.note(event.at_ns, Moment.CUSTODY_LOST, {**reason})
            case ev.FenceSet():
                self._fence_set(event)
            case ev.FenceClosed():
                if (closed := self._windows.get(event.window)) is not None:
                    closed.end(event.at_ns, Ending.TAKEOVER if event.takeover else Ending.ENDED)
            case ev.FileChanged() if event.change.finished:
                for window in self._windows.on_file(event.file):
                    window.changed(event.change)
                    window.looked_ns = event.change.at_ns
            case ev.LockTaken():
                self._locks.taken(event)
            case ev.LockReleased():
                self._put_lock(self._locks.released(event), event.at_ns)
                self._look(event.file, event.at_ns)
            case ev.FileMoved() | ev.SnapshotTaken():
                self._look(event.file, event.at_ns)
            case ev.VerdictAsked():
                self._judgements.asked(self._known(event), event)
            case ev.TurnTripped():
                stopped = self._known(event)
                stopped.looked_ns = event.at_ns
                stopped.note(event.at_ns, Moment.TURN_STOPPED, {})
            case ev.RecoveryApplied():
                if (recovered := self._windows.get(event.window)) is not None:
                    recovered.recovered(event)
            case ev.LineageChecked():
                if (checked := self._windows.get(event.window)) is not None:
                    checked.awaits = Awaited.SAVE if event.missing or event.problem else Awaited.NOTHING
            case _:
                return
        self._finish(_time_of(event))

    def decision(self, decision: Decision) -> None:
        """Take in a decision, after the event that led to it."""
        match decision:
            case SaveIncident():
                window = self._windows.get(decision.incident.controller)
                if window is not None:
                    self._judgements.saved(window, decision.incident)
                    if window.awaits is Awaited.SAVE and not decision.incident.taken_in:
                        window.awaits = Awaited.NOTHING
            case Approve() | Refuse():
                window = self._windows.get(decision.window)
                if window is not None:
                    self._judgements.answered(window, decision)
            case _:
                return
        self._finish(0)

    def diagnostic(self, message: Diagnostic, gateway: Gateway) -> None:
        """Take in an event of the gateway's diagnostics bus."""
        run = self._turns.diagnostic(message, gateway)
        if run is not None:
            self._traces.put_root(run)
        ended = self._calls.diagnostic(message, gateway)
        if ended is not None:
            self._put_call(ended, message.at_ns)
        if message.event == STARTED:
            self._traces.settle(message.at_ns)

    def lock_failed(self, message: LockFailed) -> None:
        """A lock was not had."""
        self._put_lock(self._locks.failed(message), message.at_ns)

    def close(self) -> None:
        """Write all that is open, as ended by the end of the sidecar."""
        now_ns = self._clock()
        self._judgements.settle()
        for lock in self._locks.flush(now_ns):
            self._put_lock(lock, now_ns)
        for call in self._calls.flush(now_ns):
            self._put_call(call, now_ns)
        for run in self._turns.flush(now_ns):
            self._traces.put_root(run)
        for window in self._windows.take():
            window.end(now_ns, Ending.SIDECAR_STOPPED)
            self._put_window(window)
        self._traces.flush()

    def _link_lost(self, event: ev.LinkLost) -> None:
        ending = Ending.GATEWAY_ENDED if event.clean else Ending.LINK_LOST
        gateway = self._gateways.pop(event.link, None)
        for window in self._windows.on_link(event.link):
            window.end(event.at_ns, ending)
        self._put_all(self._calls.lost(event.link, event.at_ns, ending), event.at_ns)
        for run in self._turns.lost(event.link, event.at_ns, ending):
            self._traces.put_root(run)
        # A lock names the process that holds it, not the link: another thread of the process may still be there.
        if gateway is not None and all(other.pid != gateway.pid for other in self._gateways.values()):
            for lock in self._locks.lost(gateway.pid, event.at_ns, ending):
                self._put_lock(lock, event.at_ns)

    def _fence_set(self, event: ev.FenceSet) -> None:
        window = self._windows.get(event.window)
        if window is None or window.ended_ns:
            self._windows.put(self._opened(event, event.fence.size))
            return
        window.run = event.run
        window.link, window.gateway = event.link, self._gateways.get(event.link, window.gateway)
        window.let_pass()
        window.moves += 1
        window.note(event.at_ns, Moment.FENCE_MOVED, {Attribute.FENCE_SIZE: event.fence.size})

    def _known(self, event: ev.VerdictAsked | ev.TurnTripped) -> OpenWindow:
        """The window of a question or a trip; one whose beginning was not seen begins here."""
        window = self._windows.get(event.window)
        if window is None:
            window = self._opened(event, event.fence.size, partial=True)
            self._windows.put(window)
        return window

    def _opened(
        self, event: ev.FenceSet | ev.VerdictAsked | ev.TurnTripped, size_bytes: int, *, partial: bool = False
    ) -> OpenWindow:
        return OpenWindow(
            window_id=event.window,
            file=event.file,
            link=event.link,
            gateway=self._gateways.get(event.link),
            run=event.run,
            opened_ns=event.at_ns,
            size_bytes=size_bytes,
            partial=partial,
            looked_ns=event.at_ns,
        )

    def _look(self, file: str, at_ns: int) -> None:
        for window in self._windows.on_file(file):
            window.looked_ns = at_ns

    def _finish(self, now_ns: int) -> None:
        """Write the windows that are finished, and those that should long have been."""
        for window in self._windows.take_finished():
            self._put_window(window)
        if now_ns:
            for window in self._windows.take_ended_before(now_ns - _PATIENCE_NS):
                self._put_window(window)
            self._traces.settle(now_ns)

    def _put_window(self, window: OpenWindow) -> None:
        self._judgements.settle()
        run = window.run
        where = None if run.run_id else TraceRef.parse(run.trace_id, run.span_id)
        if where is not None:
            self._traces.put_at(window.span(), where)
        else:
            self._traces.put(window.span(), run.run_id, window.ended_ns)

    def _put_lock(self, lock: LockSpan, now_ns: int) -> None:
        """A run's hold goes to its trace. A hold without a run, by a co-tenant, belongs to the window that it met."""
        if not lock.writer.run_id:
            met = self._windows.on_file(lock.file)
            if met:
                met[-1].children.append(lock.fact)
                return
        self._traces.put(lock.fact, lock.writer.run_id, now_ns)

    def _put_call(self, call: CallSpan, now_ns: int) -> None:
        if call.where is not None:
            self._traces.put_at(call.fact, call.where)
        else:
            self._traces.put(call.fact, call.run_id, now_ns)

    def _put_all(self, calls: Iterable[CallSpan], now_ns: int) -> None:
        for call in calls:
            self._put_call(call, now_ns)


def _time_of(event: ev.Event) -> int:
    return event.change.at_ns if isinstance(event, ev.FileChanged) else event.at_ns

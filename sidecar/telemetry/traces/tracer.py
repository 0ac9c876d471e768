"""Spans from events and outcomes of the core, and from the gateway's diagnostics, in the gateway's own trace.

Nothing is measured here. Every time is the gateway's or comes with an event; only the moment of a decision, which has
no time of its own, is read from the clock that both processes share.
"""

from collections.abc import Callable
from typing import Any, Final

from sidecar.core import events as ev
from sidecar.core import outcomes as out
from sidecar.core.facts.gateway import Gateway
from sidecar.core.facts.writer import Writer
from sidecar.core.reports import Diagnostic, LockFailed
from sidecar.telemetry.names.names import Span
from sidecar.telemetry.names.traceref import TraceRef
from sidecar.telemetry.traces.agent_runs import AgentRuns
from sidecar.telemetry.traces.database_locks import database_lock_span
from sidecar.telemetry.traces.locks import failed_span, hold_span
from sidecar.telemetry.traces.model_calls import CallEnded, call_span
from sidecar.telemetry.traces.placement import Placement
from sidecar.telemetry.traces.span import SpanFact
from sidecar.telemetry.traces.windows import Windows, WindowSpan

_PATIENCE_NS: Final = 60 * 1_000_000_000
"""After so long an ended window becomes spans although its history was never read."""

_SETTLE_NS: Final = 1_000_000_000
"""It is looked for these no more often than that."""


class Tracer:
    """Keeps what has begun and writes what has ended."""

    def __init__(self, traces: Placement, dropped: Callable[[Span], None], clock: Callable[[], int]) -> None:
        self._traces = traces
        self._clock = clock
        self._settled_ns = 0
        self._agent_runs = AgentRuns(dropped)
        self._windows = windows = Windows(dropped, clock)
        self._handlers: dict[type, Callable[[Any], None]] = {
            ev.LinkLost: self._link_lost,
            CallEnded: self._call_ended,
            out.HoldEnded: lambda hold: self._put_lock(hold_span(hold), hold),
            out.DatabaseLockEnded: self._database_lock_ended,
            out.WindowOpened: windows.opened,
            out.FenceMoved: windows.moved,
            out.CustodyLost: windows.custody_lost,
            out.ChangesJudged: windows.judged,
            out.UnexplainedFound: windows.unexplained,
            out.VerdictGiven: windows.verdict,
            out.RecoveryAnswered: windows.recovery,
            out.TurnLost: windows.stopped,
            out.LossExplained: windows.explained,
            out.ClaimTold: windows.claimed,
            out.IncidentChanged: lambda outcome: windows.met(outcome.incident),
            out.WindowEnded: lambda outcome: self._put_window(windows.ended(outcome)),
            out.WindowSettled: lambda outcome: self._put_window(windows.settled(outcome)),
        }

    @property
    def waiting(self) -> int:
        """Spans that wait for their trace."""
        return self._traces.waiting

    def learned(self, run_id: str, where: TraceRef) -> None:
        """The trace of a run is known now."""
        self._traces.learned(run_id, where)

    def take(self, fact: object) -> None:
        """Take in an event or outcome of the core, a report, or a model call that is over."""
        handler = self._handlers.get(type(fact))
        if handler is not None:
            handler(fact)

    def settle(self, at_ns: int) -> None:
        """It is that late, by the clock of the events: what has waited too long does not wait any more."""
        if abs(at_ns - self._settled_ns) < _SETTLE_NS:
            return
        self._settled_ns = at_ns
        for window in self._windows.overdue(at_ns - _PATIENCE_NS):
            self._put_window(window)
        self._traces.settle(at_ns)

    def diagnostic(self, report: Diagnostic, gateway: Gateway) -> None:
        """Take in an event of the gateway's diagnostics bus."""
        run = self._agent_runs.diagnostic(report, gateway)
        if run is not None:
            self._traces.put_at(run, None)
        self.settle(report.at_ns)

    def lock_failed(self, report: LockFailed, previous: Writer | None) -> None:
        """Take in a failed attempt to acquire a lock; ``previous`` is the last known holder."""
        self._put_lock(failed_span(report, previous), report)

    def close(self) -> None:
        """Write all that is open, as ended by the end of the sidecar."""
        now_ns = self._clock()
        for run in self._agent_runs.flush(now_ns):
            self._traces.put_at(run, None)
        for window in self._windows.flush(now_ns):
            self._put_window(window)
        self._traces.flush()

    def _link_lost(self, event: ev.LinkLost) -> None:
        ending = out.Ending.GATEWAY_ENDED if event.clean else out.Ending.LINK_LOST
        for run in self._agent_runs.lost(event.link, event.at_ns, ending):
            self._traces.put_at(run, None)

    def _put_window(self, window: WindowSpan | None) -> None:
        if window is None:
            return
        fact, run = window
        where = None if run.run_id else TraceRef.parse(run.trace_id, run.span_id)
        if where is not None:
            self._traces.put_at(fact, where)
        else:
            self._traces.put(fact, run.run_id, fact.end_ns)

    def _put_lock(self, span: SpanFact, lock: out.HoldEnded | LockFailed) -> None:
        """A run's hold goes to its trace. A hold without a run, by a co-tenant, belongs to the window that it met."""
        if lock.writer.run_id or not self._windows.held(lock.file, span):
            self._traces.put(span, lock.writer.run_id, lock.at_ns)

    def _database_lock_ended(self, ended: out.DatabaseLockEnded) -> None:
        span = database_lock_span(ended)
        if span is not None:
            self._traces.put(span, ended.lock.writer.run_id, ended.lock.at_ns)

    def _call_ended(self, call: CallEnded) -> None:
        if call.where is not None:
            self._traces.put_at(call_span(call), call.where)
        else:
            self._traces.put(call_span(call), call.report.run, call.end_ns)

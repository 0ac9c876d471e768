"""Which trace a run is in, as far as its gateway has told."""

from typing import Final

from sidecar.core.facts.bounded import Bounded
from sidecar.core.facts.gateway import Run
from sidecar.core.reports import Diagnostic
from sidecar.telemetry.names.traceref import TraceRef

MAX_RUNS: Final = 4_096
"""Runs whose trace is remembered."""


class RunTraces:
    """Remembers the place of each run."""

    def __init__(self) -> None:
        self._runs: Bounded[str, TraceRef] = Bounded(MAX_RUNS)

    def get(self, run_id: str) -> TraceRef | None:
        """Where the spans of this run belong; None while nobody has told."""
        return self._runs.get(run_id)

    def learn(self, run_id: str, trace: str, span: str, *, sampled: bool | None = None) -> TraceRef | None:
        """The gateway's bus told the trace of a run and, if it is not empty, the run's own span in it.

        Returns:
            The place, if it is news and complete.
        """
        where = TraceRef.parse(trace, span, sampled=sampled)
        if not run_id or where is None:
            return None
        known = self._runs.get(run_id)
        if where.span_id or known is None:
            self._runs.put(run_id, where)
        return where if where.span_id and where != known else None

    def heard(self, message: Diagnostic) -> TraceRef | None:
        """An event of the bus: one of a model call is a child of the run's span, one of the run is that span."""
        sampled = not message.unsampled if message.exported else None
        if message.event.startswith("model.call."):
            return self.learn(message.run, message.trace, message.parent, sampled=sampled)
        if message.event.startswith("run."):
            return self.learn(message.run, message.trace, message.span, sampled=sampled)
        return None

    def suppose(self, run: Run) -> TraceRef | None:
        """What a fence tells of its run's trace holds as long as the bus has not told it."""
        known = self._runs.get(run.run_id)
        if known is not None and known.span_id:
            return None
        return self.learn(run.run_id, run.trace_id, run.span_id)

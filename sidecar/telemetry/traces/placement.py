"""Which trace a run belongs to, and the finished spans that wait to know.

The gateway tells the trace of a run with its diagnostics events. These may come after the first lock of the run, or not
at all when an operator has switched diagnostics off. A finished span of a run therefore waits until the trace is known;
after a while it goes to a trace that is made from the run's id, so that the spans of one run stay together.
"""

import hashlib
from collections import deque
from dataclasses import dataclass
from typing import Final

from sidecar.telemetry.names.runs import RunTraces
from sidecar.telemetry.names.traceref import TraceRef
from sidecar.telemetry.traces.span import SpanFact, SpanWriter

MAX_WAITING: Final = 1_024
"""Spans that wait; beyond that the longest waiting one stops waiting."""

PATIENCE_NS: Final = 60 * 1_000_000_000
"""How long a span waits, by the clock of the events."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    fact: SpanFact
    run_id: str
    since_ns: int


class Placement:
    """Puts spans into the trace of their run."""

    def __init__(self, writer: SpanWriter, runs: RunTraces) -> None:
        self._writer = writer
        self._runs = runs
        self._waiting: deque[_Waiting] = deque()

    @property
    def waiting(self) -> int:
        """Spans that wait for their trace."""
        return len(self._waiting)

    def learned(self, run_id: str, where: TraceRef) -> None:
        """The trace of a run is known now: its spans need not wait any more."""
        ready = [w for w in self._waiting if w.run_id == run_id]
        if ready:
            self._waiting = deque(w for w in self._waiting if w.run_id != run_id)
        for waiting in ready:
            self._writer.write(waiting.fact, where)

    def put(self, fact: SpanFact, run_id: str, now_ns: int) -> None:
        """Write a span of this run, now or when its trace is known. A span without a run starts a trace."""
        if not run_id:
            self._writer.write(fact, None)
            return
        known = self._runs.get(run_id)
        if known is not None and known.span_id:
            self._writer.write(fact, known)
            return
        self._waiting.append(_Waiting(fact, run_id, now_ns))
        if len(self._waiting) > MAX_WAITING:
            self._give_up(self._waiting.popleft())

    def put_at(self, fact: SpanFact, where: TraceRef | None) -> None:
        """Write a span whose place is known; None for one that has no parent."""
        self._writer.write(fact, where)

    def settle(self, now_ns: int) -> None:
        """Let those go that have waited too long."""
        while self._waiting and now_ns - self._waiting[0].since_ns > PATIENCE_NS:
            self._give_up(self._waiting.popleft())

    def flush(self) -> None:
        """Let all go."""
        while self._waiting:
            self._give_up(self._waiting.popleft())

    def _give_up(self, waiting: _Waiting) -> None:
        known = self._runs.get(waiting.run_id)
        self._writer.write(waiting.fact, known or _made_up(waiting.run_id))


def _made_up(run_id: str) -> TraceRef:
    """A trace for a run that has none; the same one each time."""
    digest = hashlib.sha256(run_id.encode("utf-8", "surrogatepass")).digest()
    return TraceRef(int.from_bytes(digest[:16], "big") or 1)

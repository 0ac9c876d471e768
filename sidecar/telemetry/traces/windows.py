"""Windows as spans, from the fence to the end, with all that was seen in between.

A window becomes spans only when it is over and its incident is final: then its run's trace is known, and what came of a
recovery. The core says when that is.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sidecar.core import outcomes as out
from sidecar.core.facts.bounded import Bounded
from sidecar.core.facts.gateway import Run
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.outcomes import Ending
from sidecar.core.verdict.incident import Incident
from sidecar.core.verdict.judge import Verdict
from sidecar.telemetry.names.attributes import Attributes, of_gateway, of_incident, of_run, of_writer, sentence, token
from sidecar.telemetry.names.labels import NONE
from sidecar.telemetry.names.names import Attribute, Moment, Span
from sidecar.telemetry.traces.span import SpanFact, SpanMoment

MAX_WINDOWS: Final = 512
MAX_MOMENTS: Final = 128
"""Events kept on a span, as by the SDK's default; the first to come are the first to go."""
MAX_CHILDREN: Final = 128


@dataclass(slots=True)
class _Open:
    """A window that has not become spans."""

    opened: out.WindowOpened
    moves: int = 0
    moments: deque[SpanMoment] = field(default_factory=lambda: deque(maxlen=MAX_MOMENTS))
    children: deque[SpanFact] = field(default_factory=lambda: deque(maxlen=MAX_CHILDREN))
    incident: Incident | None = None
    ended: out.WindowEnded | None = None

    def note(self, at_ns: int, name: Moment, attributes: Attributes) -> None:
        self.moments.append(SpanMoment(at_ns, name, attributes))


WindowSpan = tuple[SpanFact, "Run"]
"""The span of a window that is over with all below it, and whose it was."""


class Windows:
    """Turns outcomes of the core into spans."""

    def __init__(self, dropped: Callable[[Span], None], clock: Callable[[], int]) -> None:
        """``dropped`` is called for each window that the table had no room for."""
        self._open: Bounded[str, _Open] = Bounded(MAX_WINDOWS, lambda _: dropped(Span.FENCE))
        self._clock = clock
        self._claims: Bounded[str, out.ClaimTold] = Bounded(MAX_WINDOWS)

    def opened(self, outcome: out.WindowOpened) -> None:
        """A fence was set."""
        window = _Open(outcome)
        self._open.put(outcome.window, window)
        if (claim := self._claims.pop(outcome.run.run_id)) is not None:
            _note_claim(window, claim)

    def moved(self, outcome: out.FenceMoved) -> None:
        """The fence was set again."""
        if (window := self._open.get(outcome.window)) is not None:
            window.moves += 1
            window.note(outcome.at_ns, Moment.FENCE_MOVED, {Attribute.FENCE_SIZE: outcome.size})

    def custody_lost(self, outcome: out.CustodyLost) -> None:
        """Nothing may be assumed of these windows."""
        for name in outcome.windows:
            if (window := self._open.get(name)) is not None:
                window.note(outcome.at_ns, Moment.CUSTODY_LOST, {Attribute.CUSTODY_REASON: outcome.loss.value})

    def judged(self, outcome: out.ChangesJudged) -> None:
        """It is clear what came of these changes."""
        if (window := self._open.get(outcome.window)) is None:
            return
        for change in outcome.changes[-MAX_MOMENTS:]:
            attributes: Attributes = {
                Attribute.CHANGE_OPERATION: change.operation.value,
                Attribute.CHANGE_LENGTH: change.length,
                **of_writer(change.writer, outcome.run.run_id),
                Attribute.VERDICT: outcome.verdict.value if outcome.verdict else NONE,
            }
            if change.offset >= 0:
                attributes[Attribute.CHANGE_OFFSET] = change.offset
            window.note(change.at_ns, Moment.CHANGE, attributes)

    def unexplained(self, outcome: out.UnexplainedFound) -> None:
        """Bytes without a writer were found."""
        if (window := self._open.get(outcome.window)) is None:
            return
        kind = WriterKind.FOREIGN if outcome.verdict is Verdict.EXTERNAL else WriterKind.UNKNOWN
        for item in outcome.ranges:
            attributes: Attributes = {
                Attribute.CHANGE_OFFSET: item.offset,
                Attribute.CHANGE_LENGTH: item.length,
                Attribute.VERDICT: outcome.verdict.value,
                **of_writer(Writer(kind, pid=item.pid)),
            }
            window.note(outcome.at_ns, Moment.CHANGE, attributes)

    def verdict(self, outcome: out.VerdictGiven) -> None:
        """A verdict lasts from what made the core look, such as a gateway's question, to the decision."""
        if (window := self._open.get(outcome.window)) is None:
            return
        attributes: Attributes = {
            Attribute.VERDICT: outcome.verdict.value,
            Attribute.ANSWER: outcome.answer.value,
        }
        if outcome.incident is not None:
            attributes[Attribute.EVIDENCE] = outcome.incident.grade.value
            attributes[Attribute.INCIDENT_ID] = outcome.incident.incident_id
        window.children.append(
            SpanFact(name=Span.VERDICT, start_ns=outcome.asked_at_ns, end_ns=self._clock(), attributes=attributes)
        )

    def recovery(self, outcome: out.RecoveryAnswered) -> None:
        """The preload answered a command; it took as long as its own account says."""
        answer = outcome.answer
        if (window := self._open.get(answer.window)) is None:
            return
        window.children.append(
            SpanFact(
                name=Span.RECOVERY,
                start_ns=answer.at_ns - answer.latency_ns,
                end_ns=answer.at_ns,
                attributes={
                    Attribute.RECOVERY_APPLIED: answer.applied,
                    Attribute.RECOVERY_PUSHED: answer.pushed,
                    Attribute.RECOVERY_RECORDS: len(answer.records),
                },
                error="" if answer.applied else "refused",
                description="" if answer.applied else "the preload refused the command: something differed",
            )
        )

    def stopped(self, outcome: out.TurnLost) -> None:
        """The gateway's own fence stopped the turn."""
        if outcome.at_ns and (window := self._open.get(outcome.window)) is not None:
            window.note(outcome.at_ns, Moment.TURN_STOPPED, {})

    def explained(self, outcome: out.LossExplained) -> None:
        """A run told what it lost its turn to."""
        if (window := self._open.get(outcome.window)) is not None:
            window.note(outcome.at_ns, Moment.TURN_LOST, {Attribute.LOSS_CAUSE: outcome.cause.value})

    def claimed(self, outcome: out.ClaimTold) -> None:
        """A run claimed a session: told in its own window, which is to come, and in that of the run before it."""
        self._claims.put(outcome.run_id, outcome)
        for window in self._open.values():
            if window.opened.run.run_id in {outcome.run_id, outcome.previous}:
                _note_claim(window, outcome)

    def met(self, incident: Incident) -> None:
        """A window's incident is new or has changed. What its fence took in is another's."""
        if not incident.taken_in and (window := self._open.get(incident.controller)) is not None:
            window.incident = incident

    def held(self, file: str, lock: SpanFact) -> bool:
        """A lock was held. False when no window of its file is open, so that the span belongs elsewhere."""
        on_file = [w for w in self._open.values() if w.opened.file == file and w.ended is None]
        if on_file:
            on_file[-1].children.append(lock)
        return bool(on_file)

    def ended(self, outcome: out.WindowEnded) -> WindowSpan | None:
        """A window is over. None where its history is still to be read, or it was not seen."""
        if (window := self._open.get(outcome.window)) is None:
            return None
        window.ended, window.incident = outcome, outcome.incident
        return self._take(outcome.window) if outcome.final else None

    def settled(self, outcome: out.WindowSettled) -> WindowSpan | None:
        """Its history was read."""
        self.met(outcome.incident)
        return self._take(outcome.window)

    def overdue(self, before_ns: int) -> list[WindowSpan]:
        """Those that ended before that time, and whose history nobody has read."""
        late = self._open.take(lambda window: window.ended is not None and window.ended.at_ns < before_ns)
        return [_span(window, before_ns) for window in late]

    def flush(self, at_ns: int) -> list[WindowSpan]:
        """All, at the end of the sidecar."""
        return [_span(window, at_ns) for window in self._open.take()]

    def _take(self, name: str) -> WindowSpan | None:
        window = self._open.pop(name)
        return None if window is None else _span(window, 0)


def _note_claim(window: _Open, claim: out.ClaimTold) -> None:
    attributes: Attributes = {Attribute.CLAIM_RUN: token(claim.run_id), Attribute.CLAIM_SUPERSEDED: claim.superseded}
    if claim.previous:
        attributes[Attribute.CLAIM_PREVIOUS] = token(claim.previous)
    window.note(claim.at_ns, Moment.SESSION_CLAIMED, attributes)


def _span(window: _Open, stopped_ns: int) -> WindowSpan:
    opened, ended = window.opened, window.ended
    run = ended.run if ended else opened.run
    ending = ended.ending if ended else Ending.SIDECAR_STOPPED
    if ending is Ending.ENDED and window.incident is not None and window.incident.turn_lost:
        ending = Ending.LOST if window.incident.lost else Ending.TAKEOVER
    attributes: Attributes = {
        Attribute.FILE_PATH: opened.file,
        Attribute.WINDOW_ID: token(opened.window),
        Attribute.FENCE_SIZE: opened.size,
        Attribute.FENCE_MOVES: window.moves,
        **of_run(run),
        **of_gateway(ended.gateway if ended else opened.gateway),
        **of_incident(window.incident),
    }
    if opened.partial:
        attributes[Attribute.WINDOW_PARTIAL] = True
    fact = SpanFact(
        name=Span.FENCE,
        start_ns=opened.at_ns,
        end_ns=ended.at_ns if ended else stopped_ns,
        attributes=attributes,
        moments=tuple(sorted(window.moments, key=lambda moment: moment.at_ns)),
        error="" if ending is Ending.ENDED else ending.value,
        description=sentence(ending),
        children=tuple(window.children),
    )
    return fact, run

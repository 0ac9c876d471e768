"""Turns that were lost where sessions are rows of a database: the cause goes into an incident.

That is the window's own incident where it has one. Else it gets one when the window ends: a reading of the transcript
has come by then, so that the verdict is what custody says of the rows. What happens to one session again and again is
one incident with a count.
"""

from dataclasses import dataclass, field
from typing import Final

from sidecar.core.decisions import Decision, SaveIncident
from sidecar.core.events import TurnLost, WriterClaimed
from sidecar.core.facts.bounded import Bounded
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.rows import RowChange, RowVersion
from sidecar.core.facts.turn_loss import LossCause, LossDetail, LostTurn, TurnLoss
from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.core.facts.value import replace
from sidecar.core.facts.version import Version
from sidecar.core.outcomes import ClaimTold, LossExplained
from sidecar.core.verdict.incident import Outcome
from sidecar.core.verdict.judge import Judgement, Verdict
from sidecar.core.windows.decide import Decider
from sidecar.core.windows.record import Record
from sidecar.core.windows.registry import Registry
from sidecar.core.windows.window import Window

LOOP_NS: Final = 600 * NS_PER_SECOND
"""A session that loses a turn so long after it lost one to the same cause, or sooner, loses them in a loop."""

MAX_LOOPS: Final = 512

_NOTHING_DONE: Final = frozenset({Outcome.NONE, Outcome.NOT_ATTEMPTED, Outcome.APPROVED})
"""No fence was moved; what was approved ahead of a question was not asked for."""

ENDED_BY_GATEWAY: Final = frozenset({LossCause.RESET, LossCause.SUPERSEDED})
"""The gateway ended the run on purpose: that says nothing of a recovery before it."""

_Key = tuple[str, LossCause, LossDetail]


@dataclass(frozen=True, slots=True)
class _Loop:
    """The incident that a further loss belongs to, and the window whose loss was counted last."""

    record: Record
    counted: Record


@dataclass(eq=False, slots=True)
class Losses:
    """Gives lost turns their cause.

    Attributes:
        _loops: By session, cause and detail.
    """

    _registry: Registry
    _decider: Decider
    _loops: Bounded[_Key, _Loop] = field(default_factory=lambda: Bounded(MAX_LOOPS))

    def claimed(self, event: WriterClaimed) -> None:
        """A run claimed a session: told to whoever listens, and a line in the timelines of its windows."""
        self._registry.claimed(event)
        self._registry.outcomes.add(
            ClaimTold(
                run_id=event.run_id,
                session=event.session,
                previous=event.previous,
                superseded=event.superseded,
                at_ns=event.at_ns,
            )
        )

    def lost(self, event: TurnLost) -> list[Decision]:
        """A run told the first error that it lost its turn to. A second word of the same window changes nothing."""
        window = self._registry.windows.get(event.window)
        if window is not None and window.loss is not None:
            return []
        self._registry.outcomes.add(LossExplained(window=event.window, cause=event.loss.cause, at_ns=event.at_ns))
        if window is None:
            return self._without_window(event)
        window.loss, window.compared = self._known(event), False
        reason = window.loss.reason(_writer_of(window, window.loss.row))
        window.note(event.at_ns, "turn lost", reason=reason)
        if window.incident is None:
            return []  # it gets one at its end, see `ended`
        return self._explained(window, window.loss, reason, event.at_ns)

    def judged(self, window: Window, judgement: Judgement, current: Version, at_ns: int) -> list[Decision]:
        """The transcript was read after a turn was lost, and it is not as at the fence."""
        loss = window.loss
        if loss is None:
            return []
        if window.incident is not None:
            incident = window.incident
            unread = incident.verdict is Verdict.UNATTRIBUTED and incident.reason.code is ReasonCode.FILE_UNREADABLE
            return self._read_later(window, loss, judgement, current, at_ns) if unread else []
        return self._opened(window, loss, judgement, current, at_ns)

    def _read_later(
        self, window: Window, loss: TurnLoss, judgement: Judgement, current: Version, at_ns: int
    ) -> list[Decision]:
        """The transcript could not be read when the turn was stopped: what was met then is judged by this reading.

        Only where the row in the way was reported: a stranger's could have been there then and be gone by now.
        """
        explained = judgement.verdict is Verdict.CO_TENANT and _writer_of(window, loss.row) != ""
        if not explained:
            return []
        judgement = replace(judgement, policy=self._decider.policy.digest, may_recover=False)
        foreign = self._registry.locks.foreign(window.file)
        return [SaveIncident(incident=window.observe(judgement, current, foreign, at_ns, anew=True))]

    def ended(self, window: Window, at_ns: int) -> list[Decision]:
        """A window ends: where its turn was lost, its incident has the cause by now, whenever something was met."""
        loss = window.loss
        if loss is None:
            return []
        if window.incident is not None:
            reason = loss.reason(_writer_of(window, loss.row))
            return [] if window.incident.lost is not None else self._explained(window, loss, reason, at_ns)
        if window.account.broken is not None or not window.account.known or not window.compared:
            unknown = window.account.broken or Reason(ReasonCode.ROWS_NOT_COMPARED)
            judgement = Judgement(Verdict.UNATTRIBUTED, Grade.NONE, unknown, may_recover=False)
        else:
            judgement = Judgement(Verdict.UNCHANGED, Grade.BYTES, Reason(ReasonCode.SAME_ROWS), may_recover=False)
        return self._opened(window, loss, judgement, window.fence, at_ns)

    def _known(self, event: TurnLost) -> TurnLoss:
        """With what is known here: a run with a window, whatever its process has forgotten; who held the database."""
        loss = event.loss
        if loss.cause is LossCause.BUSY:
            return replace(loss, held=self._registry.database_locks.lost(event.run.run_id))
        known = any(w.run.run_id == loss.other_run for w in self._registry.windows.values())
        return replace(loss, known=True) if known and loss.other_run else loss

    def _without_window(self, event: TurnLost) -> list[Decision]:
        """The run had not come to a window: there is nothing to compare."""
        if not event.file:
            return []
        record = Record(
            window_id=event.window,
            gateway=self._registry.gateway(event.link),
            file=event.file,
            run=event.run,
            fence=RowVersion.absent(),
            opened_at_ns=event.at_ns,
        )
        loss = self._known(event)
        record.note(event.at_ns, "turn lost", reason=loss.reason())
        unread = Judgement(Verdict.UNCHANGED, Grade.NONE, Reason(ReasonCode.NO_CHANGE_SEEN), may_recover=False)
        decisions = self._opened(record, loss, unread, record.fence, event.at_ns)
        if record.incident is not None:
            record.close(event.at_ns)
            decisions.append(SaveIncident(incident=record.snapshot()))
        return decisions

    def _opened(
        self, record: Record, loss: TurnLoss, judgement: Judgement, current: Version, at_ns: int
    ) -> list[Decision]:
        """The incident of a turn whose window has met nothing else; of a loop, the one that is there."""
        writer = _writer_of(record, loss.row) if isinstance(record, Window) else ""
        reason = loss.reason(writer)
        loop = self._loops.get(_key(record, loss))
        lost = loop.record.incident.lost if loop is not None and loop.record.incident is not None else None
        again = lost is not None and at_ns - lost.last_at_ns <= LOOP_NS
        if loop is not None and lost is not None and again and judgement.verdict is not Verdict.EXTERNAL:
            if loop.counted is record:
                return []  # its reading came ahead of its end
            self._loops.put(_key(record, loss), _Loop(loop.record, record))
            return self._again(loop.record, lost, loss, reason, at_ns)
        if loss.cause is LossCause.RESET and judgement.verdict is not Verdict.EXTERNAL:
            judgement = replace(judgement, verdict=Verdict.RESET, reason=reason)
        judgement = replace(judgement, policy=self._decider.policy.digest, may_recover=False)
        record.observe(judgement, current, self._registry.locks.foreign(record.file), at_ns)
        return self._explained(record, loss, reason, at_ns)

    def _explained(self, record: Record, loss: TurnLoss, reason: Reason, at_ns: int) -> list[Decision]:
        """The incident gets its cause; a stranger's claim is a takeover, where one who is believed tells of it."""
        holder = loss.held.holder if loss.held is not None else None
        lost = LostTurn(loss.cause, loss.detail, reason, at_ns, loss.tools, holder=holder)
        decisions: list[Decision] = []
        if loss.strangers_claim and record.gateway.believed:
            incident = record.snapshot()
            takeover = Judgement(
                Verdict.EXTERNAL, incident.grade, reason, may_recover=False, policy=self._decider.policy.digest
            )
            record.observe(takeover, incident.current, self._registry.locks.foreign(record.file), at_ns)
            decisions = self._decider.recorded(record, takeover)
        elif record.snapshot().recovery.outcome in _NOTHING_DONE and loss.cause is not LossCause.CONFLICT:
            self._decider.conclude(record, Outcome.NONE, Reason(ReasonCode.NO_FENCE_STOPPED_IT))
        incident = record.amend(turn_lost=True, lost=lost)
        self._loops.put(_key(record, loss), _Loop(record, record))
        return [*decisions, SaveIncident(incident=incident)]

    @staticmethod
    def _again(earlier: Record, lost: LostTurn, loss: TurnLoss, reason: Reason, at_ns: int) -> list[Decision]:
        earlier.note(at_ns, "turn lost again", reason=reason)
        tools = tuple(dict.fromkeys((*lost.tools, *loss.tools)))
        holder = loss.held.holder if loss.held is not None else None
        counted = replace(lost, reason=reason, count=lost.count + 1, last_at_ns=at_ns, tools=tools, holder=holder)
        return [SaveIncident(incident=earlier.amend(turn_lost=True, lost=counted))]


def _key(record: Record, loss: TurnLoss) -> _Key:
    return (record.run.session or record.file, loss.cause, loss.detail)


def _writer_of(window: Window, row: int) -> str:
    """Who reported the row at this place last; empty where nobody did."""
    if row < 0:
        return ""
    told = [c for c in window.account.changes if isinstance(c, RowChange) and any(r.seq == row for r in c.rows)]
    return told[-1].writer.label() if told else ""

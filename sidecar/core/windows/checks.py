"""Handles each question, reading, stopped turn and history check: judges it, and decides what follows."""

from dataclasses import dataclass
from typing import Final

from sidecar.core.custody.account import AnyAccount
from sidecar.core.custody.claims import claimed
from sidecar.core.decisions import Decision, Refuse, SaveIncident
from sidecar.core.events import CommandWithheld, LineageChecked, RecoveryApplied, TurnTripped, VerdictAsked
from sidecar.core.facts.change import Operation
from sidecar.core.facts.gateway import Adapter
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.units import NS_PER_MS
from sidecar.core.facts.value import replace
from sidecar.core.facts.version import Reading
from sidecar.core.outcomes import RecoveryAnswered, WindowSettled
from sidecar.core.verdict.incident import Outcome, Subject
from sidecar.core.verdict.judge import Evidence, Judgement, Verdict, judge
from sidecar.core.windows.decide import UNHEARD, Decider, due, heard_ns, saved, withdraw
from sidecar.core.windows.late_answers import LateAnswers
from sidecar.core.windows.losses import Losses
from sidecar.core.windows.registry import Registry
from sidecar.core.windows.window import Window

_MAX_NAMED: Final = 4


@dataclass(eq=False, slots=True)
class Checks:
    """Judges what the registry knows by the decider's rules, and says what follows."""

    _registry: Registry
    _decider: Decider
    _late: LateAnswers
    _losses: Losses

    def look(self, window: Window, reading: Reading, at_ns: int, *, over: bool = False) -> list[Decision]:
        """Judge a change that the gateway has not asked about yet; push an approval or find a takeover early.

        Where the run is done with its window (``over``) there is no fence left to move: a takeover is told, and what
        became of the rows where the turn was lost.
        """
        judgement = self._decider.judge(window, reading)
        if over and judgement.verdict is not Verdict.EXTERNAL:
            return self._losses.judged(window, judgement, reading.version, at_ns)
        return [*self._decider.met(window, judgement, at_ns), *self._looked(window, judgement, reading, at_ns)]

    def _looked(self, window: Window, judgement: Judgement, reading: Reading, at_ns: int) -> list[Decision]:
        if judgement.verdict is Verdict.UNATTRIBUTED:
            return []
        judgement = self._decider.observe(window, judgement, reading.version, at_ns)
        if not judgement.may_recover:
            return self._decider.refused(window, judgement)
        if window.gateway.adapter is Adapter.WATCH:
            return saved(self._decider.conclude(window, Outcome.NONE, Reason(ReasonCode.NOTHING_ASKED)))
        held = self._decider.held(window, at_ns)
        if held is not None:
            return self._decider.not_attempted(window, held)
        if window.approved == reading.version:
            return []
        span = window.account.span_to(reading)
        return self._decider.approved(window, reading.version, judgement, at_ns, span=span)

    def look_back(self, window: Window, reading: Reading, at_ns: int) -> list[Decision]:
        """Judge what the fence has left behind. Nothing can be recovered there, but a takeover is not hidden.

        The run writes, and what the file is then becomes its fence: a stranger's bytes that came in between, too.
        """
        left = window.unjudged
        if left is None:
            return []
        told = window.incident is not None and window.incident.verdict is Verdict.EXTERNAL
        judgement = None if told else self._judge_left(window, left, reading)
        taken_in = judgement is not None and judgement.verdict is Verdict.EXTERNAL
        window.looked_back(taken_in=taken_in)
        if judgement is None or not taken_in:
            return []
        reason = judgement.reason.also(Reason(ReasonCode.TAKEN_INTO_NEXT_FENCE))
        judgement = replace(judgement, reason=reason, policy=self._decider.policy.digest)
        # An incident of its own: the window goes on from its new fence, and its verdicts do not rest on this look.
        apart = window.apart(left.head or window.fence)
        apart.observe(judgement, reading.version, self._registry.suspect(window.file, window.opened_at_ns), at_ns)
        apart.close(at_ns)
        return self._decider.recorded(apart, judgement)

    def _judge_left(self, window: Window, left: AnyAccount, reading: Reading) -> Judgement:
        finding = left.examined(reading)
        evidence = Evidence(
            window.run.run_id,
            finding,
            can_reload=False,
            file=window.file,
            session=window.run.session,
            claims=claimed(finding, reading, self._registry.claims.of(window.file)),
            doubt=window.gateway.doubt,
        )
        return judge(evidence, self._decider.policy)

    def asked(self, event: VerdictAsked) -> list[Decision]:
        """A gateway stands at its check and waits."""
        window = self._registry.window(event)
        if window.fence != event.fence:
            window.lose_custody(Reason(ReasonCode.FENCE_NOT_AS_REPORTED))
        if event.unheard:
            window.lose_custody(UNHEARD)
        if event.snapshot.version != event.current:
            # Nothing is concluded from it: the gateway asks again, or its own fence stops the turn.
            return [refusal(event, Verdict.UNATTRIBUTED, Reason(ReasonCode.CHANGED_WHILE_LOOKED_AT))]
        judgement = self._decider.judge(window, event.snapshot)
        return [*self._decider.met(window, judgement, heard_ns(event)), *self._answered(window, judgement, event)]

    def _answered(self, window: Window, judgement: Judgement, event: VerdictAsked) -> list[Decision]:
        judgement = self._decider.observe(window, judgement, event.current, event.at_ns)
        if not judgement.may_recover:
            return [*self._decider.refused(window, judgement), refusal(event, judgement.verdict, judgement.reason)]
        held = self._decider.held(window, heard_ns(event))
        if held is not None:
            return [*self._decider.not_attempted(window, held), refusal(event, judgement.verdict, held.reason)]
        if window.late is not None and window.late.ask == event.ask:
            return self._late.told(window, window.late)
        return self._decider.approved(window, event.current, judgement, heard_ns(event), asked=event)

    def withheld(self, event: CommandWithheld) -> list[Decision]:
        """A command was not given: nothing came of the approval, and a gateway that waits hears no."""
        window = self._registry.windows.get(event.window)
        if window is None or window.incident is None:
            return []
        if window.approved is not None:
            window.withdraw()
        reason = Reason(ReasonCode.NOT_RECORDED)
        window.note(event.at_ns, "command withheld", reason=reason)
        incident = self._decider.conclude(window, Outcome.NOT_ATTEMPTED, reason)
        answer = Refuse(link=event.link, window=event.window, ask=event.ask, verdict=incident.verdict, reason=reason)
        return [SaveIncident(incident=window.snapshot()), *([answer] if event.ask else [])]

    def applied(self, event: RecoveryApplied) -> list[Decision]:
        """The preload obeyed a command, or refused it because something differed."""
        window = self._registry.windows.get(event.window)
        run = window.run if window is not None else None
        self._registry.outcomes.add(RecoveryAnswered(answer=event, run=run))
        if window is None or window.incident is None:
            return []
        window.answered()
        if not event.applied:
            window.note(event.at_ns, "recovery refused by the gateway's preload", event.reason)
            reason = Reason.of(ReasonCode.PRELOAD_REFUSED, problem=event.reason)
            return saved(self._decider.conclude(window, Outcome.REFUSED, reason))
        window.note(event.at_ns, "recovery applied", "ahead of the check" if event.pushed else "at the check")
        window.records.extend(event.records)
        known = window.recovery(
            Outcome.APPLIED, self._decider.mode, window.incident.reason, event.latency_ns / NS_PER_MS
        )
        return saved(window.amend(known.counted(pushed=event.pushed)))

    def tripped(self, event: TurnTripped) -> list[Decision]:
        """The gateway's own fence stopped the turn."""
        window = self._registry.window(event)
        taken_back = withdraw(window)
        window.stopped()
        if event.unheard:
            window.lose_custody(UNHEARD)
        window.note(event.at_ns, "turn stopped", "by the gateway's own fence")
        outcome = window.incident.recovery.outcome if window.incident else Outcome.NONE
        judgement = self._decider.judge(window, event.snapshot)
        taken_back += self._decider.met(window, judgement, heard_ns(event))
        # What was judged at the check, under the lock, stands, unless a takeover shows now.
        if window.incident is None or judgement.verdict is Verdict.EXTERNAL:
            foreign = self._registry.suspect(window.file, window.opened_at_ns)
            window.observe(judgement, event.snapshot.version, foreign, event.at_ns)
        incident = window.amend(turn_lost=True)
        self._registry.outcomes.turn_lost(window.window_id, incident.verdict, event.at_ns)
        self._registry.outcomes.tripped(window, event.at_ns)
        if incident.verdict is Verdict.EXTERNAL:
            if outcome is not Outcome.REFUSED:
                self._decider.conclude(window, Outcome.REFUSED, incident.reason)
            due(window, Subject.TAKEOVER)
            return [*taken_back, SaveIncident(incident=window.snapshot())]
        if outcome is Outcome.APPROVED and window.gateway.adapter is Adapter.REBASE:
            # The gateway waits for nobody there: what is not approved by then is lost, and the approval came after it.
            late = self._decider.conclude(window, Outcome.LATE, Reason(ReasonCode.APPROVED_TOO_LATE))
            return [*taken_back, SaveIncident(incident=late)]
        if outcome in {Outcome.APPROVED, Outcome.APPLIED}:
            return [*taken_back, *self.lost(window)]
        if outcome is Outcome.NONE:
            if window.late is not None and judgement.may_recover and not self._decider.held(window, heard_ns(event)):
                return [*taken_back, *self._late.told(window, window.late)]
            reason = window.account.broken or Reason(ReasonCode.NOT_AWAITED)
            incident = self._decider.conclude(window, Outcome.NOT_ATTEMPTED, reason)
        return [*taken_back, SaveIncident(incident=incident)]

    def lost(self, window: Window) -> list[Decision]:
        """The turn of a window is lost. A page is due where a command was given and had no effect."""
        incident = window.lost(self._decider.mode)
        if incident is None:
            return []
        if incident.recovery.outcome is Outcome.INEFFECTIVE:
            due(window, Subject.RECOVERY)
        return [SaveIncident(incident=window.snapshot())]

    def lineage_checked(self, event: LineageChecked) -> list[Decision]:
        """The history after a recovery was read."""
        window = self._registry.closed.pop(event.window, None)
        if window is None:
            return []
        window.history_read()
        if window.incident is None:
            return []
        decisions = self._checked(window, event)
        self._registry.outcomes.add(WindowSettled(window=event.window, incident=window.incident))
        return decisions

    def _checked(self, window: Window, event: LineageChecked) -> list[Decision]:
        if event.problem:
            return self._unproven(window, event)
        if not event.missing:
            return []
        reason = Reason.of(ReasonCode.HISTORY_FORKED, records=event.missing[:_MAX_NAMED])
        window.note(event.at_ns, "history forked", reason=reason)
        self._decider.conclude(window, Outcome.INEFFECTIVE, reason)
        due(window, Subject.RECOVERY)
        return [SaveIncident(incident=window.snapshot())]

    def _unproven(self, window: Window, event: LineageChecked) -> list[Decision]:
        """The history could not be read: without it no effect shows (rule 6), unless the session itself is over."""
        window.note(event.at_ns, "history not read", event.problem)
        changes = self._registry.accounts.changes(window.file)
        if any(c.finished and c.operation is Operation.REMOVE for c in changes):
            return saved(window.snapshot())
        reason = Reason.of(ReasonCode.HISTORY_UNREAD, problem=event.problem)
        window.amend(replace(window.recovery(Outcome.INEFFECTIVE, self._decider.mode, reason), unproven=True))
        due(window, Subject.RECOVERY)
        return [SaveIncident(incident=window.snapshot())]


def refusal(event: VerdictAsked, verdict: Verdict, reason: Reason) -> Refuse:
    """The answer no: the gateway's own fence decides."""
    return Refuse(link=event.link, window=event.window, ask=event.ask, verdict=verdict, reason=reason)

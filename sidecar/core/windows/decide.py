"""Applies policy and gate to a judgement, and builds the decisions: approve, refuse, withhold, save with its pages."""

from collections.abc import Iterable
from typing import Final

from sidecar.core.custody.claims import claimed, own_claims
from sidecar.core.decisions import Approve, Decision, SaveIncident, Withdraw
from sidecar.core.events import LockTimedOut, PauseChanged, PolicyChanged, TurnTripped, VerdictAsked
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.value import replace
from sidecar.core.facts.version import Reading, Version
from sidecar.core.policy.blocked import Block, BlockReason
from sidecar.core.policy.budget import Spent
from sidecar.core.policy.gate import RecoveryGate
from sidecar.core.policy.policy import Mode, Policy
from sidecar.core.verdict.incident import Incident, Outcome, Subject
from sidecar.core.verdict.judge import Evidence, Judgement, Verdict, judge, narrowed
from sidecar.core.windows.record import Record
from sidecar.core.windows.registry import Registry
from sidecar.core.windows.window import Window

UNHEARD: Final = Reason(ReasonCode.PROCESS_UNHEARD)


class Decider:
    """Judges windows by the rules in force."""

    def __init__(self, registry: Registry, policy: Policy, mode: Mode, spent: Iterable[Spent] = ()) -> None:
        """Judge what the registry knows; ``spent`` are the recoveries of an earlier life."""
        self._registry = registry
        self.policy = policy
        self.gate = RecoveryGate(mode, spent)

    @property
    def mode(self) -> Mode:
        """Whether commands are given."""
        return self.gate.mode

    def policy_changed(self, event: PolicyChanged) -> list[Decision]:
        """From now on this policy holds, for what was approved and not acted upon as well."""
        self.policy = event.policy
        self.note("policy changed", f"to {event.policy.digest}", event.at_ns)
        return self.withdraw_all(ReasonCode.WITHDRAWN_POLICY_CHANGED)

    def pause_changed(self, event: PauseChanged) -> list[Decision]:
        """An operator asked for a pause, or ended one."""
        self.gate.pause = event.pause
        if event.pause is None:
            self.note("pause ended", "", event.at_ns)
            return []
        self.note("paused", event.pause.reason, event.at_ns)
        return self.withdraw_all(ReasonCode.WITHDRAWN_PAUSED)

    def judge(self, window: Window, reading: Reading) -> Judgement:
        """What the rules in force say of a transcript as it is now."""
        kernel_evidence = self._registry.kernel_evidence(window.file, window.account)
        finding = window.account.examined(reading, kernel_evidence, window.gateway.uid)
        claims = claimed(finding, reading, self._registry.claims.of(window.file))
        shares, own = own_claims(finding, window.gateway)
        evidence = Evidence(
            window.run.run_id,
            replace(finding, shares=shares),
            window.gateway.can_reload,
            file=window.file,
            session=window.run.session,
            claims=(*own, *claims),
            doubt=window.gateway.doubt,
        )
        return replace(judge(evidence, self.policy), policy=self.policy.digest)

    def unchanged(self, window: Window) -> Judgement:
        """Nothing was done to the transcript."""
        reason = Reason(ReasonCode.FILE_AT_FENCE)
        judgement = Judgement(Verdict.UNCHANGED, Grade.BYTES, reason, may_recover=True, policy=self.policy.digest)
        return narrowed(judgement, window.gateway.doubt)

    def met(self, window: Window, judgement: Judgement, at_ns: int) -> list[Decision]:
        """A session met a change; if a storm begins with it, what was approved before is held back too, and told."""
        limit = self.policy.storm
        if limit is None or judgement.verdict is Verdict.OWN or not self.gate.storm.met(limit, window.file, at_ns):
            return []
        held_back = [w for w in self._registry.windows.values() if w.approved is not None and not told(w)]
        self.note("storm", "", at_ns, self.gate.storm.reason(limit))
        decisions = self.withdraw_all(ReasonCode.WITHDRAWN_STORM, BlockReason.STORM)
        if held_back and self.gate.storm.tell():
            due(held_back[0], Subject.STORM)
            decisions.append(SaveIncident(incident=held_back[0].snapshot()))
        return decisions

    def held(self, window: Window, at_ns: int) -> Block | None:
        """What holds back a recovery that the verdict allows; None when nothing does."""
        return self.gate.held(self.policy, window.file, at_ns, paid=window.counted)

    def observe(self, window: Window, judgement: Judgement, current: Version, at_ns: int) -> Judgement:
        """Take a judgement into the window's incident.

        Returns:
            The judgement, or a refusal if a takeover was seen in this window before: that its contents are gone again
            does not mean that no one has read them.
        """
        incident = window.observe(judgement, current, self._registry.suspect(window.file, window.opened_at_ns), at_ns)
        if incident.verdict is not Verdict.EXTERNAL or judgement.verdict is Verdict.EXTERNAL:
            return judgement
        reason = Reason.of(ReasonCode.TAKEOVER_SEEN_BEFORE, incident.reason)
        return replace(judgement, verdict=Verdict.EXTERNAL, reason=reason, may_recover=False, rule="")

    def approved(
        self,
        window: Window,
        current: Version,
        judgement: Judgement,
        at_ns: int,
        *,
        asked: VerdictAsked | None = None,
        span: str = "",
    ) -> list[Decision]:
        """The intent goes to disk first (rule 6), and with it that a recovery is counted, once for each fence."""
        spent_at_ns = 0 if window.counted else at_ns
        window.approve(current)
        if spent_at_ns:
            self.gate.budget.spend(window.file, at_ns)
        intent = self.conclude(window, Outcome.APPROVED, judgement.reason)
        link, ask = (asked.link, asked.ask) if asked else (window.gateway.link, "")
        command = Approve(
            link=link,
            window=window.window_id,
            file=window.file,
            fence=window.fence,
            current=current,
            ask=ask,
            span=span,
        )
        return [SaveIncident(incident=intent, spent_at_ns=spent_at_ns), command]

    def refused(self, window: Window, judgement: Judgement) -> list[Decision]:
        """The verdict allows no recovery; a takeover is told."""
        return [*withdraw(window), *self.recorded(window, judgement)]

    def recorded(self, record: Record, judgement: Judgement) -> list[Decision]:
        """Put a refusal on record, and wake a person where it is of a takeover."""
        held = Block(BlockReason.POLICY, judgement.reason) if judgement.rule else None
        incident = self.conclude(record, Outcome.REFUSED, judgement.reason, held=held)
        if incident.verdict is Verdict.EXTERNAL:
            due(record, Subject.TAKEOVER)
        return [SaveIncident(incident=record.snapshot())]

    def not_attempted(self, window: Window, held: Block) -> list[Decision]:
        """The verdict allows a recovery, and it is held back; a storm is told once."""
        self.conclude(window, Outcome.NOT_ATTEMPTED, held.reason, held=held)
        if held.hold is BlockReason.STORM and not told(window) and self.gate.storm.tell():
            due(window, Subject.STORM)
        return [*withdraw(window), SaveIncident(incident=window.snapshot())]

    def conclude(self, record: Record, outcome: Outcome, reason: Reason | None, held: Block | None = None) -> Incident:
        """The incident of a window, of whose recovery this is what came."""
        return record.amend(record.recovery(outcome, self.mode, reason, held=held))

    def note(self, what: str, detail: str, at_ns: int, reason: Reason | None = None) -> None:
        """Add a line to the timeline of every window."""
        for window in self._registry.windows.values():
            window.note(at_ns, what, detail, reason)

    def withdraw_all(self, code: ReasonCode, hold: BlockReason = BlockReason.NONE) -> list[Decision]:
        """Take back every approval that has not been seen applied."""
        reason = Reason(code)
        decisions: list[Decision] = []
        for window in self._registry.windows.values():
            taken_back = withdraw(window)
            decisions += taken_back
            if taken_back and window.incident is not None:
                decisions += saved(self.conclude(window, Outcome.NOT_ATTEMPTED, reason, held=Block(hold, reason)))
        return decisions


def heard_ns(event: VerdictAsked | LockTimedOut | TurnTripped) -> int:
    """When the sidecar heard it, by its own clock: the one that pauses, budgets and storms go by."""
    return event.heard_ns or event.at_ns


def saved(incident: Incident | None) -> list[Decision]:
    """Save an incident, if there is one."""
    return [] if incident is None else [SaveIncident(incident=incident)]


def withdraw(window: Window) -> list[Decision]:
    """Take back what was approved ahead of a question."""
    if window.approved is None:
        return []
    window.withdraw()
    return [Withdraw(link=window.gateway.link, window=window.window_id)]


def told(record: Record) -> bool:
    """A person was told of a storm in this window."""
    return record.incident is not None and Subject.STORM in record.incident.paged_for


def due(record: Record, about: Subject) -> None:
    """A page is due when the incident is saved next.

    There is one for each incident and subject: that a person was told of a storm must not hide a takeover.
    """
    if record.incident is not None and about not in record.incident.paged_for:
        record.amend(paged=about)

"""From a look at a file to what is done about it: approve, refuse, save, page."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sidecar.core.brakes import Brakes, utc
from sidecar.core.change import Operation
from sidecar.core.decisions import AnswerWait, Approve, Decision, Page, Refuse, SaveIncident, Withdraw
from sidecar.core.hold import Held, Hold
from sidecar.core.incident import Outcome, Subject
from sidecar.core.policy import Grade
from sidecar.core.rules import Deed, May
from sidecar.core.verdict import Evidence, Judgement, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.core.budget import Spent
    from sidecar.core.content import Snapshot
    from sidecar.core.events import (
        LineageChecked,
        LockTimedOut,
        LockWaitEnded,
        PauseChanged,
        PolicyChanged,
        RecoveryApplied,
        TurnTripped,
        VerdictAsked,
    )
    from sidecar.core.fingerprint import Fingerprint
    from sidecar.core.incident import Incident
    from sidecar.core.policy import Mode, Policy
    from sidecar.core.registry import Registry
    from sidecar.core.window import Window

_NS_PER_MS: Final = 1_000_000
_UNHEARD: Final = "another linked process did not say in time what it had done"
_NS_PER_SECOND: Final = 1_000_000_000


class Answers:
    """Judges windows by the rules in force.

    Attributes:
        policy: Who is a co-tenant, and what recovery needs.
        brakes: What holds back a recovery that the verdict allows.
    """

    def __init__(self, registry: Registry, policy: Policy, mode: Mode, spent: Iterable[Spent] = ()) -> None:
        """Judge what the registry knows; ``spent`` are the recoveries of an earlier life."""
        self._registry = registry
        self.policy = policy
        self.brakes = Brakes(mode, spent)

    @property
    def mode(self) -> Mode:
        """Whether commands are given."""
        return self.brakes.mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self.brakes.mode = mode

    def policy_changed(self, event: PolicyChanged) -> list[Decision]:
        """From now on this policy holds, for what was approved and not acted upon as well."""
        self.policy = event.policy
        return self._withdraw_all("policy changed", f"to {event.policy.digest}", event.at_ns)

    def pause_changed(self, event: PauseChanged) -> list[Decision]:
        """An operator asked for a pause, or ended one."""
        self.brakes.pause = event.pause
        if event.pause is None:
            self._note("pause ended", "", event.at_ns)
            return []
        return self._withdraw_all("paused", event.pause.reason, event.at_ns)

    def look(self, window: Window, snapshot: Snapshot, at_ns: int, *, over: bool = False) -> list[Decision]:
        """Judge a change that the gateway has not asked about yet; push an approval or find a takeover early.

        Where the run is done with its window (``over``) there is no fence left to move, and only a takeover is told.
        """
        judgement = self._judge(window, snapshot)
        if over and judgement.verdict is not Verdict.EXTERNAL:
            return []
        return [*self._met(window, judgement, at_ns), *self._looked(window, judgement, snapshot, at_ns)]

    def _looked(self, window: Window, judgement: Judgement, snapshot: Snapshot, at_ns: int) -> list[Decision]:
        if judgement.verdict is Verdict.UNATTRIBUTED:
            return []
        judgement = self._observe(window, judgement, snapshot.fingerprint, at_ns)
        if not judgement.may_recover:
            return self._refused(window, judgement)
        held = self._held(window, at_ns)
        if held is not None:
            return self._not_attempted(window, held)
        step = (window.fence, snapshot.fingerprint)
        if window.approved == step:
            return []
        return self._approved(window, step, judgement, at_ns)

    def look_back(self, window: Window, snapshot: Snapshot, at_ns: int) -> list[Decision]:
        """Judge what the fence has left behind. Nothing can be recovered there, but a takeover is not hidden.

        The run writes, and what the file is then becomes its fence: a stranger's bytes that came in between, too.
        """
        left, window.unjudged = window.unjudged, None
        told = window.took_in or (window.incident is not None and window.incident.verdict is Verdict.EXTERNAL)
        if left is None or told:
            return []
        judgement = judge(
            Evidence(
                run_id=window.run.run_id,
                fence=left.fence,
                trusted=left.trusted,
                trusted_uid=left.trusted_uid,
                changes=left.changes,
                snapshot=snapshot,
                broken="",
                can_reload=False,
                file=window.file,
                session=window.run.session,
            ),
            self.policy,
        )
        if judgement.verdict is not Verdict.EXTERNAL:
            return []
        reason = f"{judgement.reason}; the run took it into its next fence, and no check came to it"
        judgement = replace(judgement, reason=reason, policy=self.policy.digest)
        window.took_in = True
        # An incident of its own: the window goes on from its new fence, and its verdicts do not rest on this look.
        apart = window.apart(left)
        foreign = self._registry.ledger(window.file).foreign
        apart.observe(judgement, snapshot.fingerprint, foreign, at_ns)
        apart.close(at_ns)
        return self._refused(apart, judgement)

    def asked(self, event: VerdictAsked) -> list[Decision]:
        """A gateway stands at its check and waits."""
        window = self._registry.window(event)
        if window.fence != event.fence:
            window.lose_custody("the fence is not the one that was reported")
        if event.unheard:
            window.lose_custody(_UNHEARD)
        if event.snapshot.fingerprint != event.current:
            # Nothing is concluded from it: the gateway asks again, or its own fence stops the turn.
            return [_no(event, Verdict.UNATTRIBUTED, "the file changed again while it was looked at")]
        judgement = self._judge(window, event.snapshot)
        return [*self._met(window, judgement, _heard_ns(event)), *self._answered(window, judgement, event)]

    def _answered(self, window: Window, judgement: Judgement, event: VerdictAsked) -> list[Decision]:
        judgement = self._observe(window, judgement, event.current, event.at_ns)
        if not judgement.may_recover:
            return [*self._refused(window, judgement), _no(event, judgement.verdict, judgement.reason)]
        held = self._held(window, _heard_ns(event))
        if held is not None:
            return [*self._not_attempted(window, held), _no(event, judgement.verdict, held.reason)]
        return self._approved(window, (event.fence, event.current), judgement, _heard_ns(event), event)

    def applied(self, event: RecoveryApplied) -> list[Decision]:
        """The preload obeyed a command, or refused it because something differed."""
        window = self._registry.windows.get(event.window)
        if window is None or window.incident is None:
            return []
        window.approved = None
        if not event.applied:
            window.note(event.at_ns, "recovery refused by the gateway's preload", event.reason)
            reason = f"the gateway's preload refused: {event.reason}"
            return saved(window.amend(window.recovery(Outcome.REFUSED, self.mode, reason)))
        window.note(event.at_ns, "recovery applied", "ahead of the check" if event.pushed else "at the check")
        window.records.extend(event.records)
        known = window.recovery(Outcome.APPLIED, self.mode, window.incident.reason, event.latency_ns / _NS_PER_MS)
        return saved(window.amend(known.counted(pushed=event.pushed)))

    def tripped(self, event: TurnTripped) -> list[Decision]:
        """The gateway's own fence stopped the turn."""
        window = self._registry.window(event)
        taken_back = _withdraw(window)
        if event.unheard:
            window.lose_custody(_UNHEARD)
        window.note(event.at_ns, "turn stopped", "by the gateway's own fence")
        outcome = window.incident.recovery.outcome if window.incident else Outcome.NONE
        judgement = self._judge(window, event.snapshot)
        taken_back += self._met(window, judgement, _heard_ns(event))
        # What was judged at the check, under the lock, stands, unless a takeover shows now.
        if window.incident is None or judgement.verdict is Verdict.EXTERNAL:
            foreign = self._registry.ledger(window.file).foreign
            window.observe(judgement, event.snapshot.fingerprint, foreign, event.at_ns)
        incident = window.amend(turn_lost=True)
        if incident.verdict is Verdict.EXTERNAL:
            if outcome is not Outcome.REFUSED:
                window.amend(window.recovery(Outcome.REFUSED, self.mode, incident.reason))
            return [*taken_back, SaveIncident(incident=window.snapshot()), *_page(window, Subject.TAKEOVER)]
        if outcome in {Outcome.APPROVED, Outcome.APPLIED}:
            return [*taken_back, *self.lost(window)]
        if outcome is Outcome.NONE:
            reason = window.broken or "the gateway did not wait for a command"
            incident = window.amend(window.recovery(Outcome.NOT_ATTEMPTED, self.mode, reason))
        return [*taken_back, SaveIncident(incident=incident)]

    def timed_out(self, event: LockTimedOut) -> list[Decision]:
        """A run did not get the session lock in time. It may wait on where the holder and the file are explained.

        The lock says nothing about the file: with the lock in hand, the run's own check comes as always.
        """
        window = self._registry.window(event)
        if window.fence != event.fence:
            window.lose_custody("the fence is not the one that was reported")
        if event.unheard:
            window.lose_custody(_UNHEARD)
        who, problem = self._holder(window, event)
        waited = f"{event.waited_ns / _NS_PER_SECOND:.1f} s"
        window.note(event.at_ns, "lock timeout", f"not had in {waited}; held by {who}")
        current = event.snapshot.fingerprint
        taken_back: list[Decision] = []
        if current == event.fence == window.fence:
            at_fence = "the file is as it was at the fence"
            judgement = Judgement(Verdict.UNCHANGED, Grade.BYTES, at_fence, may_recover=True, policy=self.policy.digest)
        else:
            judgement = self._judge(window, event.snapshot)
            taken_back = self._met(window, judgement, _heard_ns(event))
        may = judgement.may_recover and not problem
        reason = f"the session lock was not had in {waited}: it was held by {problem or who}; {judgement.reason}"
        judgement = self._observe(window, replace(judgement, reason=reason, may_recover=may), current, event.at_ns)
        if not judgement.may_recover:
            return [*taken_back, *self._refused(window, judgement), _wait(event, judgement.reason, granted=False)]
        # No fence is moved, so no budget is asked.
        held = self.brakes.held(self.policy, window.file, _heard_ns(event), paid=True)
        if held is not None:
            return [*taken_back, *self._not_attempted(window, held), _wait(event, held.reason, granted=False)]
        intent = window.amend(window.recovery(Outcome.APPROVED, self.mode, judgement.reason))
        return [*taken_back, SaveIncident(incident=intent), _wait(event, judgement.reason, granted=True)]

    def wait_ended(self, event: LockWaitEnded) -> list[Decision]:
        """A run that was let wait on has the lock, or has given up."""
        window = self._registry.windows.get(event.window)
        if window is None or window.incident is None:
            return []
        waited = f"{event.waited_ns / _NS_PER_SECOND:.1f} s"
        known = window.incident.recovery
        if event.had:
            window.note(event.at_ns, "lock had after all", f"{waited} after it was first asked for")
            applied = window.recovery(Outcome.APPLIED, self.mode, known.reason)
            return saved(window.amend(replace(applied, lock_waits=known.lock_waits + 1)))
        window.note(event.at_ns, "lock not had", f"given up after {waited}")
        if known.outcome is not Outcome.APPROVED:
            return saved(window.snapshot())
        reason = f"the run was let wait on, and did not get the session lock in {waited}: {known.reason}"
        return saved(window.amend(window.recovery(Outcome.INEFFECTIVE, self.mode, reason)))

    def _holder(self, window: Window, event: LockTimedOut) -> tuple[str, str]:
        """Who held the lock, for people; and why that is nobody to wait for, empty for a known co-tenant."""
        since_ns = event.at_ns - event.waited_ns
        pid, exe = event.holder_pid, event.holder_exe
        hold = self._registry.locks.holder(event.file, pid, since_ns)
        foreign = self._registry.ledger(event.file).foreign
        if not pid and foreign is not None and foreign.at_ns >= max(since_ns, hold.since_ns if hold else 0):
            pid, exe, hold = foreign.pid, foreign.exe, None
        if pid and pid not in self._registry.linked_pids():
            who = f"process {pid} ({exe or 'unknown'})"
            return who, f"{who}, which is no co-tenant"
        if hold is None:
            who = f"an unknown writer of process {pid}" if pid else "nobody that is known"
            return who, who
        who = f"{hold.writer.label()} (process {hold.writer.pid})"
        own = bool(window.run.run_id) and hold.writer.run_id == window.run.run_id
        deed = Deed(writer=hold.writer, did=May.APPEND, session=window.run.session, file=window.file)
        known = own or self.policy.decide(deed).allows(deed.did)
        return who, "" if known else f"{who}, which the policy does not let write here"

    def lost(self, window: Window) -> list[Decision]:
        """The turn of a window is lost. A page is due where a command was given and had no effect."""
        incident = window.lost(self.mode)
        if incident is None:
            return []
        paging = _page(window, Subject.RECOVERY) if incident.recovery.outcome is Outcome.INEFFECTIVE else []
        return [SaveIncident(incident=incident), *paging]

    def lineage_checked(self, event: LineageChecked) -> list[Decision]:
        """The history after a recovery was read."""
        window = self._registry.closed.pop(event.window, None)
        if window is None or window.incident is None:
            return []
        if event.problem:
            return self._unproven(window, event)
        if not event.missing:
            return []
        reason = f"records {', '.join(event.missing[:4])} are not on the path to the root: the history has forked"
        window.note(event.at_ns, "history forked", reason)
        window.amend(window.recovery(Outcome.INEFFECTIVE, self.mode, reason))
        return [SaveIncident(incident=window.snapshot()), *_page(window, Subject.RECOVERY)]

    def _unproven(self, window: Window, event: LineageChecked) -> list[Decision]:
        """The history could not be read: without it no effect shows (rule 6), unless the session itself is over."""
        window.note(event.at_ns, "history not read", event.problem)
        changes = self._registry.ledger(window.file).changes
        if any(c.finished and c.operation is Operation.REMOVE for c in changes):
            return saved(window.snapshot())
        reason = f"that no record was lost can't be seen: {event.problem}"
        window.amend(replace(window.recovery(Outcome.INEFFECTIVE, self.mode, reason), unproven=True))
        return [SaveIncident(incident=window.snapshot()), *_page(window, Subject.RECOVERY)]

    def _judge(self, window: Window, snapshot: Snapshot) -> Judgement:
        evidence = Evidence(
            run_id=window.run.run_id,
            fence=window.fence,
            trusted=window.trusted,
            trusted_uid=window.trusted_uid,
            gateway_uid=window.gateway.uid,
            changes=tuple(window.changes),
            snapshot=snapshot,
            broken=window.broken,
            can_reload=window.gateway.can_reload,
            file=window.file,
            session=window.run.session,
            testimony=self._registry.testimony(window),
        )
        return replace(judge(evidence, self.policy), policy=self.policy.digest)

    def _met(self, window: Window, judgement: Judgement, at_ns: int) -> list[Decision]:
        """A session met a change; if a storm begins with it, what was approved before is held back too, and told."""
        if judgement.verdict is Verdict.OWN or not self.brakes.met(self.policy, window.file, at_ns):
            return []
        held_back = [w for w in self._registry.windows.values() if w.approved is not None and not _told(w)]
        until = f"recovery is stopped until {utc(self.brakes.storm.until_ns)}"
        decisions = self._withdraw_all("storm", until, at_ns, Hold.STORM)
        if held_back and self.brakes.storm.tell():
            decisions += _page(held_back[0], Subject.STORM)
        return decisions

    def _held(self, window: Window, at_ns: int) -> Held | None:
        paid = window.spent_at == window.fence
        return self.brakes.held(self.policy, window.file, at_ns, paid=paid)

    def _observe(self, window: Window, judgement: Judgement, current: Fingerprint, at_ns: int) -> Judgement:
        """Take a judgement into the window's incident.

        Returns:
            The judgement, or a refusal if a takeover was seen in this window before: that its bytes are gone again
            does not mean that no one has read them.
        """
        incident = window.observe(judgement, current, self._registry.ledger(window.file).foreign, at_ns)
        if incident.verdict is not Verdict.EXTERNAL or judgement.verdict is Verdict.EXTERNAL:
            return judgement
        reason = f"a foreign change was seen in this window before: {incident.reason}"
        return replace(judgement, verdict=Verdict.EXTERNAL, reason=reason, may_recover=False, rule="")

    def _approved(
        self,
        window: Window,
        step: tuple[Fingerprint, Fingerprint],
        judgement: Judgement,
        at_ns: int,
        asked: VerdictAsked | None = None,
    ) -> list[Decision]:
        """The intent goes to disk first (rule 6), and with it that a recovery is counted, once for each fence."""
        spent_at_ns = 0 if window.spent_at == window.fence else at_ns
        if spent_at_ns:
            window.spent_at = window.fence
            self.brakes.budget.spend(window.file, at_ns)
        window.approved = step
        intent = window.amend(window.recovery(Outcome.APPROVED, self.mode, judgement.reason))
        fence, current = step
        link, ask = (asked.link, asked.ask) if asked else (window.gateway.link, "")
        command = Approve(link=link, window=window.window_id, file=window.file, fence=fence, current=current, ask=ask)
        return [SaveIncident(incident=intent, spent_at_ns=spent_at_ns), command]

    def _refused(self, window: Window, judgement: Judgement) -> list[Decision]:
        held = Held(Hold.POLICY, judgement.reason) if judgement.rule else None
        incident = window.amend(window.recovery(Outcome.REFUSED, self.mode, judgement.reason, held=held))
        paging = _page(window, Subject.TAKEOVER) if incident.verdict is Verdict.EXTERNAL else []
        return [*_withdraw(window), SaveIncident(incident=window.snapshot()), *paging]

    def _not_attempted(self, window: Window, held: Held) -> list[Decision]:
        incident = window.amend(window.recovery(Outcome.NOT_ATTEMPTED, self.mode, held.reason, held=held))
        tell = held.hold is Hold.STORM and not _told(window) and self.brakes.storm.tell()
        return [*_withdraw(window), SaveIncident(incident=incident), *(_page(window, Subject.STORM) if tell else [])]

    def _note(self, what: str, detail: str, at_ns: int) -> None:
        for window in self._registry.windows.values():
            window.note(at_ns, what, detail)

    def _withdraw_all(self, what: str, detail: str, at_ns: int, hold: Hold = Hold.NONE) -> list[Decision]:
        self._note(what, detail, at_ns)
        reason = f"the approval was taken back: {what}; the next check is judged anew"
        withdrawn: list[Decision] = []
        saves: list[Decision] = []
        for window in self._registry.windows.values():
            taken_back = _withdraw(window)
            if taken_back and window.incident is not None:
                saves += saved(
                    window.amend(window.recovery(Outcome.NOT_ATTEMPTED, self.mode, reason, held=Held(hold, reason)))
                )
            withdrawn += taken_back
        return [*withdrawn, *saves]


def _heard_ns(event: VerdictAsked | LockTimedOut | TurnTripped) -> int:
    """When the sidecar heard it, by its own clock: the one that pauses, budgets and storms go by."""
    return event.heard_ns or event.at_ns


def _wait(event: LockTimedOut, reason: str, *, granted: bool) -> AnswerWait:
    return AnswerWait(link=event.link, window=event.window, ask=event.ask, granted=granted, reason=reason)


def saved(incident: Incident | None) -> list[Decision]:
    """Save an incident, if there is one."""
    return [] if incident is None else [SaveIncident(incident=incident)]


def _withdraw(window: Window) -> list[Decision]:
    """Ahead of every save of its batch: what can't be recorded ends the batch, and must not keep an approval alive."""
    if window.approved is None:
        return []
    window.approved = None
    return [Withdraw(link=window.gateway.link, window=window.window_id)]


def _told(window: Window) -> bool:
    return window.incident is not None and Subject.STORM in window.incident.paged_for


def _page(window: Window, about: Subject) -> list[Decision]:
    """One page for each incident and subject: that a person was told of a storm must not hide a takeover."""
    if window.incident is None or about in window.incident.paged_for:
        return []
    incident = window.amend(paged=about)
    return [SaveIncident(incident=incident), Page(incident=incident, about=about)]


def _no(event: VerdictAsked, verdict: Verdict, reason: str) -> Refuse:
    return Refuse(link=event.link, window=event.window, ask=event.ask, verdict=verdict, reason=reason)

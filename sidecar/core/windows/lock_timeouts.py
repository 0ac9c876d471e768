"""A run that does not get the session lock in time: whether it may wait on, and what comes of it."""

from dataclasses import dataclass

from sidecar.core.decisions import AnswerWait, Decision, SaveIncident
from sidecar.core.events import LockTimedOut, LockWaitEnded
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.core.facts.value import replace
from sidecar.core.outcomes import LockTimeout, LockTimeoutSettled
from sidecar.core.policy.rules import AccessRequest, Permission
from sidecar.core.verdict.incident import Outcome
from sidecar.core.windows.decide import UNHEARD, Decider, heard_ns, saved
from sidecar.core.windows.late_answers import LateAnswers
from sidecar.core.windows.registry import Registry
from sidecar.core.windows.window import Window


@dataclass(eq=False, slots=True)
class LockTimeouts:
    """Judges lock timeouts by the decider's rules."""

    _registry: Registry
    _decider: Decider
    _late: LateAnswers

    def timed_out(self, event: LockTimedOut) -> list[Decision]:
        """A run did not get the session lock in time. It may wait on where the holder and the file are explained.

        The lock says nothing about the file: with the lock in hand, the run's own check comes as always.
        """
        window = self._registry.window(event)
        if window.fence != event.fence:
            window.lose_custody(Reason(ReasonCode.FENCE_NOT_AS_REPORTED))
        if event.unheard:
            window.lose_custody(UNHEARD)
        holder = self._holder(window, event)
        timeout = Reason.of(ReasonCode.LOCK_TIMEOUT, holder, waited_ns=event.waited_ns)
        window.note(event.at_ns, "lock timeout", reason=timeout)
        current = event.snapshot.version
        taken_back: list[Decision] = []
        if current == event.fence == window.fence:
            judgement = self._decider.unchanged(window)
        else:
            judgement = self._decider.judge(window, event.snapshot)
            taken_back = self._decider.met(window, judgement, heard_ns(event))
        may = judgement.may_recover and holder.code is ReasonCode.LOCK_HOLDER_KNOWN
        reason = timeout.also(judgement.reason)
        judgement = self._decider.observe(
            window, replace(judgement, reason=reason, may_recover=may), current, event.at_ns
        )
        if not judgement.may_recover:
            return [
                *taken_back,
                *self._decider.refused(window, judgement),
                answer_wait(event, judgement.reason, granted=False),
            ]
        # No fence is moved, so no budget is asked.
        held = self._decider.gate.held(self._decider.policy, window.file, heard_ns(event), paid=True)
        if held is not None:
            return [
                *taken_back,
                *self._decider.not_attempted(window, held),
                answer_wait(event, held.reason, granted=False),
            ]
        if window.late is not None and window.late.ask == event.ask:
            return [*taken_back, *self._late.told(window, window.late)]
        intent = self._decider.conclude(window, Outcome.APPROVED, judgement.reason)
        return [*taken_back, SaveIncident(incident=intent), answer_wait(event, judgement.reason, granted=True)]

    def wait_ended(self, event: LockWaitEnded) -> list[Decision]:
        """A run that was let wait on has the lock, or has given up."""
        result = LockTimeout.FORGIVEN if event.had else LockTimeout.GIVEN_UP
        self._registry.outcomes.add(LockTimeoutSettled(result=result))
        window = self._registry.windows.get(event.window)
        if window is None or window.incident is None:
            return []
        waited = f"{event.waited_ns / NS_PER_SECOND:.1f} s"
        known = window.incident.recovery
        if event.had:
            window.note(event.at_ns, "lock had after all", f"{waited} after it was first asked for")
            applied = window.recovery(Outcome.APPLIED, self._decider.mode, known.reason)
            return saved(window.amend(replace(applied, lock_waits=known.lock_waits + 1)))
        window.note(event.at_ns, "lock not had", f"given up after {waited}")
        if known.outcome is not Outcome.APPROVED:
            return saved(window.snapshot())
        before = () if known.reason is None else (known.reason,)
        reason = Reason.of(ReasonCode.LOCK_WAIT_IN_VAIN, *before, waited_ns=event.waited_ns)
        return saved(self._decider.conclude(window, Outcome.INEFFECTIVE, reason))

    def _holder(self, window: Window, event: LockTimedOut) -> Reason:
        """Who held the lock. Only for `ReasonCode.LOCK_HOLDER_KNOWN` a run may wait."""
        since_ns = event.at_ns - event.waited_ns
        pid = event.holder_pid
        links = self._registry.named(pid) if pid else None
        if links is not None and not links:
            return _stranger(pid, event.holder_exe, hidden=event.holder_hidden)
        hold = self._registry.locks.holder(event.file, links, since_ns)
        foreign = self._registry.locks.last_foreign(event.file)
        if not pid and foreign is not None and foreign.at_ns >= max(since_ns, hold.since_ns if hold else 0):
            return _stranger(foreign.pid, foreign.exe, hidden=foreign.hidden)
        if hold is None and pid:
            return Reason.of(ReasonCode.LOCK_HOLDER_UNKNOWN_WRITER, pid=pid)
        if hold is None:
            return Reason(ReasonCode.LOCK_HOLDER_UNKNOWN)
        request = AccessRequest(writer=hold.writer, did=Permission.APPEND, session=window.run.session, file=window.file)
        known = hold.writer.is_of(window.run.run_id) or self._decider.policy.decide(request).allows(request.did)
        code = ReasonCode.LOCK_HOLDER_KNOWN if known else ReasonCode.LOCK_HOLDER_FORBIDDEN
        return Reason.of(code, writer=hold.writer.label(), pid=hold.writer.pid)


def _stranger(pid: int, exe: str, *, hidden: bool) -> Reason:
    if hidden:
        return Reason.of(ReasonCode.LOCK_HOLDER_HIDDEN, pid=pid)
    return Reason.of(ReasonCode.LOCK_HOLDER_STRANGER, pid=pid, exe=exe)


def answer_wait(event: LockTimedOut, reason: Reason, *, granted: bool) -> AnswerWait:
    """The answer to a run that waits for the lock."""
    return AnswerWait(link=event.link, window=event.window, ask=event.ask, granted=granted, reason=reason)

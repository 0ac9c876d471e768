"""A window's timeline, and its incident: opening, amending and closing it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sidecar.core.facts.gateway import Gateway, Run
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.span import Span
from sidecar.core.facts.turn_loss import LostTurn
from sidecar.core.facts.value import replace
from sidecar.core.facts.version import Version
from sidecar.core.policy.blocked import Block, BlockReason
from sidecar.core.policy.policy import Mode
from sidecar.core.policy.rules import Permission
from sidecar.core.verdict.incident import (
    TAKEN_IN,
    Incident,
    Moment,
    Outcome,
    Recovery,
    Subject,
    UnexplainedRange,
    WriterShare,
    incident_id,
)
from sidecar.core.verdict.judge import Judgement, Ruled, Verdict, narrowed
from sidecar.core.windows.lock_table import ForeignHold

MAX_MOMENTS: Final = 400
"""Lines of a timeline that are kept; when there are more, the oldest after the first few go."""

_FIRST_MOMENTS: Final = 20

_GRAVITY: Final = {
    Verdict.UNCHANGED: 0,
    Verdict.OWN: 1,
    Verdict.CO_TENANT: 2,
    Verdict.RESET: 3,
    Verdict.UNATTRIBUTED: 4,
    Verdict.EXTERNAL: 5,
}


@dataclass(slots=True)
class Record:
    """A window as incidents tell of it.

    Attributes:
        window_id: The controller's id, with `TAKEN_IN` behind it where a step is meant that its fence has left behind.
        fence: What the run recorded last.
        opened_at_ns: When the fence was first set.
        incident: What the window met; None while nothing.
        settled: Writers of the steps that earlier fences have left behind.
        closed_at_ns: When it ended; 0 while it is open.
    """

    window_id: str
    gateway: Gateway
    file: str
    run: Run
    fence: Version
    opened_at_ns: int
    incident: Incident | None = None
    settled: tuple[WriterShare, ...] = ()
    moments: list[Moment] = field(default_factory=list)
    closed_at_ns: int = 0

    def apart(self, fence: Version) -> Record:
        """A record of the step that this window's fence has left behind, which began at ``fence``."""
        name = self.window_id + TAKEN_IN
        return Record(name, self.gateway, self.file, self.run, fence, self.opened_at_ns, moments=list(self.moments))

    def note(self, at_ns: int, what: str, detail: str = "", reason: Reason | None = None) -> None:
        """Add a line to the timeline."""
        if len(self.moments) == MAX_MOMENTS:
            del self.moments[_FIRST_MOMENTS]
        self.moments.append(Moment(at_ns, what, detail, reason))

    @property
    def strange(self) -> tuple[Span, ...]:
        """Bytes of the file that are a takeover's."""
        if self.incident is None or self.incident.verdict is not Verdict.EXTERNAL:
            return ()
        return tuple(Span(item.offset, item.length) for item in self.incident.unexplained)

    def observe(
        self, judgement: Judgement, current: Version, foreign: ForeignHold | None, at_ns: int, *, anew: bool = False
    ) -> Incident:
        """Take a judgement into the incident, opening it with the first one.

        The gravest verdict stays, unless what is known is judged ``anew``.
        """
        judgement = narrowed(judgement, self.gateway.doubt)
        known = self.incident
        if known is None:
            known = Incident(
                incident_id=incident_id(at_ns, self.window_id, self.file),
                session_file=self.file,
                opened_at_ns=at_ns,
                verdict=judgement.verdict,
                grade=judgement.grade,
                reason=judgement.reason,
                fence=self.fence,
                current=current,
                run=self.run,
                gateway=self.gateway,
                window=self.window_id,
                rule=judgement.rule,
                policy=judgement.policy,
            )
        graver = anew or _GRAVITY[judgement.verdict] >= _GRAVITY[known.verdict]
        self.note(at_ns, "verdict", judgement.verdict.value, judgement.reason)
        self.incident = replace(
            known,
            verdict=judgement.verdict if graver else known.verdict,
            grade=_grade(known, judgement, settled=bool(self.settled)) if graver else known.grade,
            reason=judgement.reason if graver else known.reason,
            rule=judgement.rule if graver else known.rule,
            policy=judgement.policy,
            writers=_merged_writers(self.settled, judgement, self.run.run_id),
            unexplained=_ranges(judgement, foreign, self.opened_at_ns) or known.unexplained,
            claims=judgement.claims or known.claims,
            fence=self.fence,
            current=current,
            run=self.run,
            gateway=self.gateway,
        )
        return self.snapshot()

    def amend(
        self,
        recovery: Recovery | None = None,
        *,
        turn_lost: bool = False,
        paged: Subject | None = None,
        lost: LostTurn | None = None,
    ) -> Incident:
        """Change the open incident's outcome. There must be one."""
        known = self.snapshot()
        told = known.paged_for
        self.incident = replace(
            known,
            recovery=recovery or known.recovery,
            turn_lost=known.turn_lost or turn_lost,
            lost=lost or known.lost,
            paged_for=told if paged is None or paged in told else (*told, paged),
        )
        return self.incident

    def went_on(self, mode: Mode) -> Incident | None:
        """The run is done, and was not stopped."""
        known = self.incident.recovery if self.incident else Recovery()
        if known.outcome in {Outcome.APPROVED, Outcome.LATE} and known.count == known.lock_waits == 0:
            return self.amend(self.recovery(Outcome.NONE, mode, Reason(ReasonCode.APPROVAL_NOT_NEEDED)))
        if known.outcome in {Outcome.APPLIED, Outcome.APPROVED, Outcome.LATE}:
            done = ReasonCode.WENT_ON_AFTER_MOVE if known.count else ReasonCode.WENT_ON_AFTER_WAIT
            return self.amend(self.recovery(Outcome.EFFECTIVE, mode, Reason(done)))
        return None

    def lost(self, mode: Mode) -> Incident | None:
        """The gateway stopped the turn. After a command that means that the command had no effect (rule 6)."""
        if self.incident is None:
            return None
        known = self.incident.recovery
        given = {
            Outcome.APPROVED: ReasonCode.LOST_AFTER_APPROVAL,
            Outcome.APPLIED: ReasonCode.LOST_AFTER_MOVE if known.count else ReasonCode.LOST_AFTER_WAIT,
        }
        code = given.get(known.outcome)
        recovery = self.recovery(Outcome.INEFFECTIVE, mode, Reason(code)) if code else None
        return self.amend(recovery, turn_lost=True)

    def left(self) -> None:
        """The process is gone, and there will be no word of what came of a command (rule 6)."""
        known = self.incident.recovery if self.incident else Recovery()
        if known.outcome in {Outcome.APPROVED, Outcome.APPLIED}:
            before = () if known.reason is None else (known.reason,)
            self.amend(replace(known, reason=Reason.of(ReasonCode.END_UNSEEN, *before)))

    def close(self, at_ns: int) -> Incident | None:
        """End the window; its incident, if it has one, gets its end.

        An end is told by the gateway, and an incident may begin with a reading of the sidecar's that came after it.
        """
        self.closed_at_ns = at_ns
        if self.incident is None:
            return None
        self.incident = replace(self.incident, closed_at_ns=max(at_ns, self.incident.opened_at_ns))
        return self.snapshot()

    def snapshot(self) -> Incident:
        """The incident with the timeline as it is now."""
        if self.incident is None:
            raise AssertionError(f"window {self.window_id} has no incident")
        self.incident = replace(self.incident, timeline=tuple(self.moments))
        return self.incident

    def recovery(
        self, outcome: Outcome, mode: Mode, reason: Reason | None, latency_ms: float = 0.0, held: Block | None = None
    ) -> Recovery:
        """The recovery record with a new outcome, and what held it back; counters are kept."""
        known = self.incident.recovery if self.incident else Recovery()
        return replace(
            known,
            outcome=outcome,
            mode=mode,
            reason=reason,
            latency_ms=latency_ms or known.latency_ms,
            hold=held.hold if held else BlockReason.NONE,
            budget_use=held.budget_use if held else None,
        )


def _grade(known: Incident, judgement: Judgement, *, settled: bool) -> Grade:
    """The evidence behind a window: that of its weakest step, but for a takeover the strongest."""
    same = judgement.verdict is known.verdict
    if same and known.grade is not judgement.grade and Grade.KERNEL in {known.grade, judgement.grade}:
        pick = max if judgement.verdict is Verdict.EXTERNAL else min if settled else None
        if pick is not None:
            return pick(known.grade, judgement.grade, key=lambda grade: grade.strength)
    return judgement.grade


def _merged_writers(known: tuple[WriterShare, ...], judgement: Judgement, run_id: str) -> tuple[WriterShare, ...]:
    """Add the shares of the present step to those of the settled ones."""
    merged = {(w.kind, w.name, w.pid, w.run_id): w for w in known}
    ruled = {r.request.writer: r for r in judgement.ruled}
    for share in judgement.shares:
        writer = share.writer
        key = (writer.kind.value, writer.name, writer.pid, writer.run_id)
        before = merged.get(key)
        count = share.size + (before.bytes if before else 0)
        made = WriterShare(
            kind=writer.kind.value,
            name=writer.name,
            pid=writer.pid,
            bytes=count,
            run_id=writer.run_id,
            own=writer.is_of(run_id),
            exe=writer.exe,
            uid=writer.uid,
            token=writer.token,
        )
        merged[key] = _with_ruling(made, ruled.get(writer), before)
    return tuple(merged.values())


def _with_ruling(share: WriterShare, ruled: Ruled | None, before: WriterShare | None) -> WriterShare:
    """What the policy said of this writer last, and the most that it did in all steps."""
    if ruled is None:
        return share if before is None else replace(before, bytes=share.bytes)
    request, ruling = ruled.request, ruled.ruling
    did = max(
        (request.did, *((Permission(before.did),) if before and before.did else ())), key=lambda may: may.strength
    )
    return replace(share, did=did.value, may=ruling.may.value, rule=ruling.rule)


def _ranges(judgement: Judgement, foreign: ForeignHold | None, since_ns: int) -> tuple[UnexplainedRange, ...]:
    if judgement.strangers:
        first = judgement.strangers[0]
        return tuple(
            UnexplainedRange(r.offset, r.length, first.pid, first.exe, judgement.strangers, judgement.unit)
            for r in judgement.unexplained
        )
    holder = foreign if foreign is not None and foreign.at_ns >= since_ns else None
    return tuple(
        UnexplainedRange(
            r.offset, r.length, holder.pid if holder else 0, holder.exe if holder else "", unit=judgement.unit
        )
        for r in judgement.unexplained
    )

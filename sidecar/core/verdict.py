"""What a change of a fenced session file is, and whether the fence may be moved across it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sidecar.core.change import Change, Operation
from sidecar.core.custody import Share, explain
from sidecar.core.fingerprint import Fingerprint
from sidecar.core.grade import Grade
from sidecar.core.kept import left_out
from sidecar.core.policy import UNCHANGED_RULE
from sidecar.core.projection import seen_through
from sidecar.core.reasons import Reason, ReasonCode
from sidecar.core.rules import DEFAULT_RULE, NEVER_RULE, Deed, May, Ruling, deed_of
from sidecar.core.testimony import NO_TESTIMONY, Testimony

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sidecar.core.account import Account
    from sidecar.core.content import Manifest, Range, Snapshot
    from sidecar.core.custody import Explanation
    from sidecar.core.policy import Policy
    from sidecar.core.process import Process
    from sidecar.core.writer import Writer

_MAX_NAMED: Final = 4
"""Processes or ranges that a reason names."""


class Verdict(StrEnum):
    """What a change is (design: The verdict)."""

    OWN = "own"
    CO_TENANT = "co_tenant"
    UNCHANGED = "unchanged"
    RESET = "reset"
    EXTERNAL = "external"
    UNATTRIBUTED = "unattributed"


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a verdict rests on.

    Attributes:
        run_id: The fenced run.
        account: The transcript since the fence, by the reports of linked processes.
        snapshot: The file as read now.
        can_reload: The gateway's adapter can make the run read the whole file again.
        file: Path of the session file.
        session: Hash of the session key; empty when not known.
        testimony: What the kernel says of who wrote since the fence.
        gateway_uid: User of the gateway's process, whose files are its own; -1 when not known.
    """

    run_id: str
    account: Account
    snapshot: Snapshot
    can_reload: bool
    file: str = ""
    session: str = ""
    testimony: Testimony = NO_TESTIMONY
    gateway_uid: int = -1

    @property
    def fence(self) -> Fingerprint:
        """The fingerprint that the run recorded."""
        return self.account.head or Fingerprint.absent()


@dataclass(frozen=True, slots=True)
class Ruled:
    """What the policy said of one writer.

    Attributes:
        deed: What the writer did.
        ruling: What it may.
    """

    deed: Deed
    ruling: Ruling


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and what follows from it.

    Attributes:
        verdict: What the change is.
        grade: Strength of the evidence.
        shares: Known writers and their bytes since the fence.
        unexplained: Byte ranges that nobody reported.
        may_recover: Re-fingerprinting is safe and allowed.
        reason: Why this verdict, or why no recovery.
        manifest: The file as it is now, for the fence that follows; None when it could not be read.
        rule: The rule of the policy that decided; empty where the evidence did.
        ruled: What the policy said of each writer but the run itself; empty where it was not asked.
        policy: Digest of the policy.
        strangers: Processes that the kernel saw at the file and that no one knows; only where bytes are unexplained.
    """

    verdict: Verdict
    grade: Grade
    reason: Reason
    shares: tuple[Share, ...] = ()
    unexplained: tuple[Range, ...] = ()
    may_recover: bool = False
    manifest: Manifest | None = None
    rule: str = ""
    ruled: tuple[Ruled, ...] = ()
    policy: str = ""
    strangers: tuple[Process, ...] = ()


def judge(evidence: Evidence, policy: Policy) -> Judgement:
    """Decide what the change from the fence to the snapshot is.

    Never answers `Verdict.EXTERNAL` without an unbroken account or a stranger whom the kernel saw writing, and never
    allows a recovery across an unexplained byte (design: rule 1).
    """
    judgement = _judge_bytes(evidence, policy)
    if judgement.verdict not in {Verdict.EXTERNAL, Verdict.UNATTRIBUTED}:
        return judgement
    seen = seen_through(evidence.fence, evidence.account.changes)
    explained = seen and not judgement.unexplained and judgement.manifest is not None
    return judgement if explained else _with_strangers(judgement, evidence.testimony)


def _with_strangers(judgement: Judgement, testimony: Testimony) -> Judgement:
    """Bytes are not accounted for: whom the kernel saw writing has written them, and others may have."""
    strangers = tuple(dict.fromkeys(p for p in (*testimony.proven, *testimony.doubtful) if p.pid))
    if not testimony.proven:
        return replace(judgement, strangers=strangers)
    names = tuple(p.label() for p in testimony.proven[:_MAX_NAMED])
    reason = judgement.reason.also(Reason.of(ReasonCode.SEEN_BY_KERNEL, processes=names))
    return replace(judgement, verdict=Verdict.EXTERNAL, grade=Grade.KERNEL, reason=reason, strangers=strangers)


def _judge_bytes(evidence: Evidence, policy: Policy) -> Judgement:
    snapshot = evidence.snapshot
    if not snapshot.fingerprint.exists:
        return _judge_absent(evidence)
    found = None
    if evidence.account.manifest is not None and snapshot.content is not None:
        found = explain(evidence.account.manifest, evidence.account.changes, snapshot.content)
    if evidence.account.manifest is None or evidence.account.broken is not None:
        return _judge_unknown(evidence, found)
    strange = _strange_file(evidence)
    if strange is not None:
        shares, unexplained = (found.shares, found.unexplained) if found else ((), ())
        return Judgement(Verdict.EXTERNAL, Grade.BYTES, strange, shares, unexplained)
    if found is None:
        unread = Reason.of(ReasonCode.FILE_UNREADABLE, problem=snapshot.problem)
        return Judgement(Verdict.UNATTRIBUTED, Grade.NONE, unread)
    if found.unexplained:
        return _judge_unexplained(found)
    if not seen_through(evidence.fence, evidence.account.changes):
        return Judgement(
            Verdict.UNATTRIBUTED,
            Grade.BYTES,
            Reason(ReasonCode.CHANGED_UNSEEN),
            found.shares,
            manifest=found.manifest,
        )
    return _judge_explained(evidence, found, policy)


def _judge_unknown(evidence: Evidence, found: Explanation | None) -> Judgement:
    """Custody has a gap: what can be said of the bytes is kept, and proves nothing (rule 5)."""
    reason = _unknown(evidence.account.broken or Reason(ReasonCode.FENCE_CONTENT_UNKNOWN))
    if found is None:
        return Judgement(Verdict.UNATTRIBUTED, Grade.NONE, reason)
    return Judgement(Verdict.UNATTRIBUTED, Grade.NONE, reason, found.shares, found.unexplained, manifest=found.manifest)


def _judge_absent(evidence: Evidence) -> Judgement:
    written = [c for c in evidence.account.changes if c.operation is not Operation.METADATA]
    doubt = False
    for removal in reversed(written):
        if removal.operation is not Operation.REMOVE:
            continue
        later = {_came_later(change, removal) for change in written}
        if later == {False}:
            share = Share(removal.writer, 0)
            return Judgement(Verdict.RESET, Grade.BYTES, Reason(ReasonCode.REMOVED_BY_GATEWAY), (share,))
        doubt = doubt or True not in later
    if doubt:
        return Judgement(Verdict.UNATTRIBUTED, Grade.NONE, Reason(ReasonCode.REMOVAL_ORDER_UNKNOWN))
    if evidence.account.broken is not None:
        gone = Reason.of(ReasonCode.FILE_GONE, _unknown(evidence.account.broken))
        return Judgement(Verdict.UNATTRIBUTED, Grade.NONE, gone)
    if not evidence.fence.exists and not any(c.finished for c in written):
        return Judgement(Verdict.UNCHANGED, Grade.BYTES, Reason(ReasonCode.NO_FILE_THEN_OR_NOW))
    return Judgement(Verdict.EXTERNAL, Grade.BYTES, Reason(ReasonCode.REMOVED_BY_STRANGER))


def _unknown(broken: Reason) -> Reason:
    return Reason.of(ReasonCode.CUSTODY_UNKNOWN, broken)


def _came_later(change: Change, removal: Change) -> bool | None:
    """This call put something there once more after the removal; None where that can't be told.

    No numbers order the calls of two links. Of those of another link, one that found no file made a new one, and its
    ctime says whether that is the one that was removed.
    """
    if change.link == removal.link:
        return removal.precedes(change) and change.finished
    made, gone = change.after, removal.before
    if made is None or not made.exists or change.before is None or change.before.exists:
        return False
    if gone is None or not gone.exists:
        return None
    if made.ctime_ns == gone.ctime_ns:
        return False if made == gone else None
    return made.ctime_ns > gone.ctime_ns


def _strange_file(evidence: Evidence) -> Reason | None:
    """Why the file is no longer the kind of file it was; None when it is."""
    if not evidence.fence.exists and not evidence.account.changes:
        return Reason(ReasonCode.CREATED_BY_STRANGER)
    if not evidence.snapshot.regular:
        return Reason(ReasonCode.NOT_A_REGULAR_FILE)
    if evidence.account.uid >= 0 and evidence.snapshot.uid != evidence.account.uid:
        return Reason.of(ReasonCode.OWNER_CHANGED, before=evidence.account.uid, after=evidence.snapshot.uid)
    return None


def _judge_unexplained(found: Explanation) -> Judgement:
    where = tuple(f"{r.offset}+{r.length}" for r in found.unexplained[:_MAX_NAMED])
    if not found.determinate:
        return Judgement(
            Verdict.UNATTRIBUTED,
            Grade.BYTES,
            Reason.of(ReasonCode.UNEXPLAINED_WHILE_WRITING, ranges=where),
            found.shares,
            found.unexplained,
            manifest=found.manifest,
        )
    return Judgement(
        Verdict.EXTERNAL,
        Grade.BYTES,
        Reason.of(ReasonCode.UNEXPLAINED_BYTES, ranges=where),
        found.shares,
        found.unexplained,
        manifest=found.manifest,
    )


def _judge_explained(evidence: Evidence, found: Explanation, policy: Policy) -> Judgement:
    others = [s for s in found.shares if not evidence.run_id or s.writer.run_id != evidence.run_id]
    if not others and found.shares:
        ruling = Ruling(DEFAULT_RULE, May.REWRITE, policy.needs)
        return _grant(Verdict.OWN, Reason(ReasonCode.EVERY_BYTE_OWN), (ruling,), evidence, found)
    if not others:
        return _judge_unchanged(evidence, found, policy)
    ruled = tuple(rule_on(evidence, share.writer, policy) for share in others)
    forbidden = [r for r in ruled if not r.ruling.allows(r.deed.did)]
    if forbidden:
        first, *more = dict.fromkeys(_forbids(r) for r in forbidden)
        return Judgement(
            Verdict.UNATTRIBUTED,
            Grade.BYTES,
            first.also(*more),
            found.shares,
            manifest=found.manifest,
            rule=_names(r.ruling for r in forbidden),
            ruled=ruled,
        )
    names = tuple(sorted({s.writer.label() for s in others}))
    rulings = [r.ruling for r in ruled]
    if len(others) < len(found.shares):
        rulings.append(Ruling("", May.REWRITE, policy.needs))  # the run's own bytes ask for the policy's evidence
    reason = Reason.of(ReasonCode.EVERY_BYTE_KNOWN, writers=names)
    return replace(_grant(Verdict.CO_TENANT, reason, rulings, evidence, found), ruled=ruled)


def _judge_unchanged(evidence: Evidence, found: Explanation, policy: Policy) -> Judgement:
    reason = Reason(ReasonCode.SAME_BYTES)
    # An owner that nobody has looked up yet is the gateway's user, where the file still is of that user.
    known = evidence.account.uid >= 0 or 0 <= evidence.gateway_uid == evidence.snapshot.uid
    if evidence.fence.exists and not known:
        reason = reason.also(Reason(ReasonCode.OWNER_AT_FENCE_UNKNOWN))
        return Judgement(Verdict.UNATTRIBUTED, Grade.BYTES, reason, manifest=found.manifest)
    refusal = policy.unchanged.refusal(evidence.testimony.touched)
    if refusal is not None:
        reason = reason.also(refusal)
        return Judgement(Verdict.UNCHANGED, Grade.BYTES, reason, manifest=found.manifest, rule=UNCHANGED_RULE)
    ruling = Ruling(UNCHANGED_RULE, May.METADATA, policy.needs)
    return _grant(Verdict.UNCHANGED, reason, (ruling,), evidence, found)


def rule_on(evidence: Evidence, writer: Writer, policy: Policy) -> Ruled:
    """What the policy says of what this writer did."""
    deed = Deed(
        writer=writer,
        did=deed_of(evidence.account.changes, writer),
        session=evidence.session,
        file=evidence.file,
    )
    return Ruled(deed, policy.decide(deed))


def _forbids(ruled: Ruled) -> Reason:
    who, did, ruling = ruled.deed.writer.label(), ruled.deed.did.value, ruled.ruling
    if ruling.rule == NEVER_RULE:
        return Reason.of(ReasonCode.NEVER_A_COTENANT, writer=who, did=did)
    unknown = (Reason(ReasonCode.CONDITION_UNKNOWN),) if ruling.unknown else ()
    may = ruling.may.value
    if ruling.rule == DEFAULT_RULE:
        return Reason.of(ReasonCode.DEFAULT_FORBIDS, *unknown, writer=who, may=may, did=did)
    return Reason.of(ReasonCode.RULE_FORBIDS, *unknown, rule=ruling.rule, writer=who, may=may, did=did)


def _names(rulings: Iterable[Ruling]) -> str:
    return ", ".join(dict.fromkeys(ruling.rule for ruling in rulings if ruling.rule))


def _grant(
    verdict: Verdict, reason: Reason, rulings: Sequence[Ruling], evidence: Evidence, found: Explanation
) -> Judgement:
    """Allow the recovery unless the evidence is too weak, or old bytes were replaced and the run can't read them."""
    may, rule = True, _names(rulings)
    content = evidence.snapshot.content
    asks = max(rulings, key=lambda ruling: ruling.needs.strength)
    writers = frozenset(s.writer.pid for s in found.shares if s.bytes)
    grade = Grade.KERNEL if evidence.testimony.vouches_for(writers) else Grade.BYTES
    if grade.strength < asks.needs.strength:
        may, rule = False, asks.rule or DEFAULT_RULE
        reason = reason.also(Reason.of(ReasonCode.EVIDENCE_TOO_WEAK, needs=asks.needs.value))
    elif verdict is not Verdict.OWN and not found.prefix_intact and not evidence.can_reload:
        may, rule = False, ""
        reason = reason.also(Reason(ReasonCode.NO_RELOAD))
    elif content is not None and (lost := left_out(evidence.account.changes, content)):
        may, rule = False, ""
        reason = reason.also(lost)
    return Judgement(verdict, grade, reason, found.shares, may_recover=may, manifest=found.manifest, rule=rule)

"""What a change of a fenced session file is, and whether the fence may be moved across it."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

from sidecar.core.custody.claims import Claimed
from sidecar.core.custody.finding import Absence, Finding, Share
from sidecar.core.custody.kernel_evidence import KernelEvidence
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.process import Process
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.span import Span, Unit
from sidecar.core.facts.value import Value, replace
from sidecar.core.policy.policy import UNCHANGED_RULE, Policy
from sidecar.core.policy.rules import DEFAULT_RULE, NEVER_RULE, UNDECLARED_RULE, AccessRequest, Permission, Ruling

_OWN: Final = {Unit.BYTES: ReasonCode.EVERY_BYTE_OWN, Unit.ROWS: ReasonCode.EVERY_ROW_OWN}
_KNOWN: Final = {Unit.BYTES: ReasonCode.EVERY_BYTE_KNOWN, Unit.ROWS: ReasonCode.EVERY_ROW_KNOWN}
_SAME: Final = {Unit.BYTES: ReasonCode.SAME_BYTES, Unit.ROWS: ReasonCode.SAME_ROWS}
_UNEXPLAINED: Final = {Unit.BYTES: ReasonCode.UNEXPLAINED_BYTES, Unit.ROWS: ReasonCode.UNEXPLAINED_ROWS}

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


class Evidence(Value, frozen=True):
    """All that a verdict rests on.

    Attributes:
        can_reload: The gateway's adapter can make the run read the whole transcript again.
        session: Hash of the session key; empty when not known.
        claims: What processes that are not believed say of the parts that nobody reported.
        doubt: Why the window's own gateway is not believed; None where it is.
    """

    run_id: str
    finding: Finding
    can_reload: bool
    file: str = ""
    session: str = ""
    claims: tuple[Claimed, ...] = ()
    doubt: Reason | None = None


class Ruled(Value, frozen=True):
    """What the policy said of one writer."""

    request: AccessRequest
    ruling: Ruling


class Judgement(Value, frozen=True):
    """A verdict and what follows from it.

    Attributes:
        unexplained: Parts that nobody reported, counted in ``unit``.
        may_recover: Re-fingerprinting is safe and allowed.
        reason: Why this verdict, or why no recovery.
        rule: The rule of the policy that decided; empty where the evidence did.
        ruled: What the policy said of each writer but the run itself; empty where it was not asked.
        policy: Digest of the policy.
        strangers: Processes that the kernel saw at the file and that no one knows; only where bytes are unexplained.
        claims: What processes that are not believed say that they wrote.
    """

    verdict: Verdict
    grade: Grade
    reason: Reason
    shares: tuple[Share, ...] = ()
    unexplained: tuple[Span, ...] = ()
    may_recover: bool = False
    rule: str = ""
    ruled: tuple[Ruled, ...] = ()
    policy: str = ""
    strangers: tuple[Process, ...] = ()
    unit: Unit = Unit.BYTES
    claims: tuple[Claimed, ...] = ()


def judge(evidence: Evidence, policy: Policy) -> Judgement:
    """Decide what the change from the fence to the snapshot is.

    Never answers `Verdict.EXTERNAL` without an unbroken account or a stranger whom the kernel saw writing, and never
    allows a recovery across an unexplained byte (design: rule 1).
    """
    judgement = replace(_judge(evidence, policy), unit=evidence.finding.unit)
    found = evidence.finding
    accounted = found.compared and found.another is None and found.seen_through and not found.unexplained
    if judgement.verdict in {Verdict.EXTERNAL, Verdict.UNATTRIBUTED} and not accounted:
        judgement = _with_strangers(judgement, found.kernel_evidence)
    return _with_claims(narrowed(judgement, evidence.doubt), evidence)


def narrowed(judgement: Judgement, doubt: Reason | None) -> Judgement:
    """What is left of a judgement that rests on the word of a gateway that is not believed.

    Its word clears nobody and moves no fence. What not even its word explains is a takeover all the same.

    Args:
        judgement: As it would be if the gateway were believed.
        doubt: Why it is not; None where it is. A judgement that was narrowed stays as it is.
    """
    if doubt is None or judgement.reason.has(ReasonCode.LINK_UNVERIFIED):
        return judgement
    left = replace(judgement, reason=judgement.reason.also(doubt), may_recover=False, rule="", ruled=())
    if judgement.verdict is Verdict.EXTERNAL:
        return left
    grade = Grade.NONE if judgement.grade is Grade.NONE else Grade.CLAIMED
    explained = not judgement.unexplained and grade is Grade.CLAIMED
    return replace(left, verdict=Verdict.UNATTRIBUTED, grade=grade, reason=doubt if explained else left.reason)


def _with_claims(judgement: Judgement, evidence: Evidence) -> Judgement:
    """Name others who say that they wrote what nobody reported. It changes nothing else."""
    writers: dict[tuple[int, str, Reason], dict[str, None]] = {}
    for claim in evidence.claims:
        if claim.reason != evidence.doubt:
            writers.setdefault((claim.pid, claim.exe, claim.reason), {})[claim.writer] = None
    named = (
        Reason.of(ReasonCode.CLAIMED_BY, *(why.details or (why,)), pid=pid, exe=exe, writers=tuple(said)[:_MAX_NAMED])
        for (pid, exe, why), said in list(writers.items())[:_MAX_NAMED]
    )
    return replace(judgement, reason=judgement.reason.also(*named), claims=evidence.claims)


def _with_strangers(judgement: Judgement, kernel_evidence: KernelEvidence) -> Judgement:
    """Not all is accounted for: whom the kernel saw writing has written it, and others may have.

    A write to a database may be to anything in it: it proves nothing of rows that are not found to be foreign anyway.
    """
    strangers = tuple(dict.fromkeys(p for p in (*kernel_evidence.proven, *kernel_evidence.doubtful) if p.pid))
    if not kernel_evidence.proven or (judgement.unit is Unit.ROWS and judgement.verdict is not Verdict.EXTERNAL):
        return replace(judgement, strangers=strangers)
    names = tuple(p.label() for p in kernel_evidence.proven[:_MAX_NAMED])
    reason = judgement.reason.also(Reason.of(ReasonCode.SEEN_BY_KERNEL, processes=names))
    return replace(judgement, verdict=Verdict.EXTERNAL, grade=Grade.KERNEL, reason=reason, strangers=strangers)


def _judge(evidence: Evidence, policy: Policy) -> Judgement:
    found = evidence.finding
    if found.absent is not None:
        return _judge_absent(found)
    if found.unknown is not None:
        # What can be said all the same is kept, and proves nothing (rule 5).
        return Judgement(Verdict.UNATTRIBUTED, Grade.NONE, _unknown(found), found.shares, found.unexplained)
    if found.another is not None:
        return Judgement(Verdict.EXTERNAL, Grade.BYTES, found.another, found.shares, found.unexplained)
    if not found.compared:
        unread = Reason.of(ReasonCode.FILE_UNREADABLE, problem=found.problem)
        return Judgement(Verdict.UNATTRIBUTED, Grade.NONE, unread)
    if found.unexplained:
        return _judge_unexplained(found)
    if not found.seen_through:
        return Judgement(Verdict.UNATTRIBUTED, Grade.BYTES, Reason(ReasonCode.CHANGED_UNSEEN), found.shares)
    return _judge_explained(evidence, policy)


def _unknown(found: Finding) -> Reason:
    return Reason.of(ReasonCode.CUSTODY_UNKNOWN, *((found.unknown,) if found.unknown is not None else ()))


def _judge_absent(found: Finding) -> Judgement:
    match found.absent:
        case Absence.RESET:
            return Judgement(Verdict.RESET, Grade.BYTES, Reason(ReasonCode.REMOVED_BY_GATEWAY), found.shares)
        case Absence.DOUBTFUL:
            return Judgement(Verdict.UNATTRIBUTED, Grade.NONE, Reason(ReasonCode.REMOVAL_ORDER_UNKNOWN))
        case Absence.UNKNOWN:
            gone = Reason.of(ReasonCode.FILE_GONE, _unknown(found))
            return Judgement(Verdict.UNATTRIBUTED, Grade.NONE, gone)
        case Absence.STILL:
            return Judgement(Verdict.UNCHANGED, Grade.BYTES, Reason(ReasonCode.NO_FILE_THEN_OR_NOW))
        case _:
            removed = Reason(ReasonCode.REMOVED_BY_STRANGER)
            return Judgement(Verdict.EXTERNAL, Grade.BYTES, removed, unexplained=found.unexplained)


def _judge_unexplained(found: Finding) -> Judgement:
    where = tuple(f"{span.offset}+{span.length}" for span in found.unexplained[:_MAX_NAMED])
    verdict, code = Verdict.EXTERNAL, _UNEXPLAINED[found.unit]
    if not found.settled:
        verdict, code = Verdict.UNATTRIBUTED, ReasonCode.UNEXPLAINED_WHILE_WRITING
    return Judgement(verdict, Grade.BYTES, Reason.of(code, ranges=where), found.shares, found.unexplained)


def _judge_explained(evidence: Evidence, policy: Policy) -> Judgement:
    found = evidence.finding
    others = [s for s in found.shares if not evidence.run_id or s.writer.run_id != evidence.run_id]
    if not others and found.shares:
        ruling = Ruling(DEFAULT_RULE, Permission.REWRITE, policy.needs)
        return _grant(Verdict.OWN, Reason(_OWN[found.unit]), (ruling,), evidence)
    if not others:
        return _judge_unchanged(evidence, policy)
    ruled = tuple(_rule_on(evidence, share, policy) for share in others)
    forbidden = [r for r in ruled if not r.ruling.allows(r.request.did)]
    if forbidden:
        first, *more = dict.fromkeys(_forbids(r) for r in forbidden)
        return Judgement(
            Verdict.UNATTRIBUTED,
            Grade.BYTES,
            first.also(*more),
            found.shares,
            rule=_names(r.ruling for r in forbidden),
            ruled=ruled,
        )
    names = tuple(sorted({s.writer.label() for s in others}))
    rulings = [r.ruling for r in ruled]
    if len(others) < len(found.shares):
        rulings.append(
            Ruling("", Permission.REWRITE, policy.needs)
        )  # the run's own bytes ask for the policy's evidence
    reason = Reason.of(_KNOWN[found.unit], writers=names)
    judgement = replace(_grant(Verdict.CO_TENANT, reason, rulings, evidence), ruled=ruled)
    waiting = [r for share, r in zip(others, ruled, strict=True) if share.unanswered and not r.ruling.unanswered]
    if not waiting:
        return judgement
    writers = tuple(dict.fromkeys(r.request.writer.label() for r in waiting))
    reason = judgement.reason.also(Reason.of(ReasonCode.INPUT_UNANSWERED, writers=writers))
    return replace(judgement, reason=reason, may_recover=False, rule=_names(r.ruling for r in waiting))


def _judge_unchanged(evidence: Evidence, policy: Policy) -> Judgement:
    reason = Reason(_SAME[evidence.finding.unit])
    if not evidence.finding.owner_known:
        reason = reason.also(Reason(ReasonCode.OWNER_AT_FENCE_UNKNOWN))
        return Judgement(Verdict.UNATTRIBUTED, Grade.BYTES, reason)
    refusal = policy.unchanged.refusal(evidence.finding.kernel_evidence.touched)
    if refusal is not None:
        reason = reason.also(refusal)
        return Judgement(Verdict.UNCHANGED, Grade.BYTES, reason, rule=UNCHANGED_RULE)
    ruling = Ruling(UNCHANGED_RULE, Permission.METADATA, policy.needs)
    return _grant(Verdict.UNCHANGED, reason, (ruling,), evidence)


def _rule_on(evidence: Evidence, share: Share, policy: Policy) -> Ruled:
    """What the policy says of what this writer did."""
    request = AccessRequest(writer=share.writer, did=share.did, session=evidence.session, file=evidence.file)
    return Ruled(request, policy.decide(request))


def _forbids(ruled: Ruled) -> Reason:
    who, did, ruling = ruled.request.writer.label(), ruled.request.did.value, ruled.ruling
    if ruling.rule == NEVER_RULE:
        return Reason.of(ReasonCode.NEVER_A_COTENANT, writer=who, did=did)
    unknown = (Reason(ReasonCode.CONDITION_UNKNOWN),) if ruling.unknown else ()
    if ruling.rule == UNDECLARED_RULE:
        return Reason.of(ReasonCode.NOT_DECLARED_BY_POLICY, *unknown, writer=who)
    may = ruling.may.value
    if ruling.rule == DEFAULT_RULE:
        return Reason.of(ReasonCode.DEFAULT_FORBIDS, *unknown, writer=who, may=may, did=did)
    return Reason.of(ReasonCode.RULE_FORBIDS, *unknown, rule=ruling.rule, writer=who, may=may, did=did)


def _names(rulings: Iterable[Ruling]) -> str:
    return ", ".join(dict.fromkeys(ruling.rule for ruling in rulings if ruling.rule))


def _grant(verdict: Verdict, reason: Reason, rulings: Sequence[Ruling], evidence: Evidence) -> Judgement:
    """Allow the recovery unless the evidence is too weak, or old contents were replaced and the run can't read them."""
    may, rule = True, _names(rulings)
    found = evidence.finding
    asks = max(rulings, key=lambda ruling: ruling.needs.strength)
    writers = frozenset(s.writer.pid for s in found.shares if s.size)
    grade = Grade.KERNEL if evidence.finding.kernel_evidence.vouches_for(writers) else Grade.BYTES
    if grade.strength < asks.needs.strength:
        may, rule = False, asks.rule or DEFAULT_RULE
        reason = reason.also(Reason.of(ReasonCode.EVIDENCE_TOO_WEAK, needs=asks.needs.value))
    elif verdict is not Verdict.OWN and found.replaced and not evidence.can_reload:
        may, rule = False, ""
        reason = reason.also(Reason(ReasonCode.NO_RELOAD))
    elif found.forked and verdict is not Verdict.OWN:
        may, rule = False, ""
        reason = reason.also(Reason(ReasonCode.NOT_ONE_LINE))
    elif found.overwritten is not None:
        may, rule = False, ""
        reason = reason.also(found.overwritten)
    return Judgement(verdict, grade, reason, found.shares, may_recover=may, rule=rule)

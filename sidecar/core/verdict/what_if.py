"""An incident under another policy: what each writer may do by it, and what would have to differ.

Only what the incident has on record is looked at; the bytes are not judged again. No answer of this module permits
anything.
"""

from collections.abc import Iterator
from typing import Final

from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.value import Value
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.policy.blocked import BlockReason
from sidecar.core.policy.policy import Policy
from sidecar.core.policy.rules import UNDECLARED_RULE, AccessRequest, Permission, Ruling
from sidecar.core.verdict.incident import Incident, Outcome, WriterShare
from sidecar.core.verdict.judge import Verdict

_GIVEN: Final = frozenset({Outcome.APPROVED, Outcome.APPLIED, Outcome.EFFECTIVE, Outcome.INEFFECTIVE})
_LIFTS: Final = {
    BlockReason.OBSERVE: ReasonCode.LEAVE_OBSERVE,
    BlockReason.PAUSE: ReasonCode.END_PAUSE,
    BlockReason.STORM: ReasonCode.END_STORM,
    BlockReason.SESSION_BUDGET: ReasonCode.RAISE_SESSION_BUDGET,
    BlockReason.GATEWAY_BUDGET: ReasonCode.RAISE_GATEWAY_BUDGET,
}


class WriterNow(Value, frozen=True):
    """One writer of the incident under the policy.

    Attributes:
        request: What it did, as far as it is on record.
        ruling: What the policy says; None for the fenced run itself, which needs no leave.
    """

    share: WriterShare
    request: AccessRequest
    ruling: Ruling | None

    @property
    def allowed(self) -> bool:
        """It may have done that."""
        return self.ruling is None or self.ruling.allows(self.request.did)


class Reconsidered(Value, frozen=True):
    """What `reconsider` found."""

    writers: tuple[WriterNow, ...]
    changes: tuple[Reason, ...]


def reconsider(incident: Incident, policy: Policy) -> Reconsidered:
    """Ask a policy about an incident."""
    writers = tuple(_now(incident, share, policy) for share in incident.writers)
    return Reconsidered(writers, tuple(_changes(incident, writers, policy)))


def _now(incident: Incident, share: WriterShare, policy: Policy) -> WriterNow:
    did = _did(share)
    kind = WriterKind.of(share.kind)
    writer = Writer(kind, share.name, share.pid, share.run_id, uid=share.uid, exe=share.exe, token=share.token)
    request = AccessRequest(writer=writer, did=did, session=incident.run.session, file=incident.session_file)
    return WriterNow(share, request, None if share.own else policy.decide(request))


def _did(share: WriterShare) -> Permission:
    """The most that a writer did; of a word that is none of ours, as in a record that was edited, the most there is."""
    if not share.did:
        return Permission.APPEND if share.bytes else Permission.METADATA
    return next((may for may in Permission if may.value == share.did), Permission.REWRITE)


def _changes(incident: Incident, writers: tuple[WriterNow, ...], policy: Policy) -> Iterator[Reason]:
    outcome = incident.recovery.outcome
    if incident.verdict is Verdict.EXTERNAL:
        yield Reason(ReasonCode.NO_POLICY_EXPLAINS)
    elif incident.verdict is Verdict.RESET:
        yield Reason(ReasonCode.NO_POLICY_KEEPS_SESSION)
    elif incident.verdict is Verdict.UNATTRIBUTED and not incident.rule:
        yield Reason(ReasonCode.NO_POLICY_FILLS_GAP)
    elif outcome in _GIVEN:
        yield from _would_have_stopped(writers)
    elif incident.recovery.hold in _LIFTS:
        yield Reason(_LIFTS[incident.recovery.hold])
    elif incident.recovery.hold is BlockReason.POLICY:
        yield from _would_have_allowed(incident, writers, policy)
    else:
        yield Reason.of(ReasonCode.NO_POLICY_HELPS, incident.recovery.reason or incident.reason)


def _would_have_allowed(incident: Incident, writers: tuple[WriterNow, ...], policy: Policy) -> Iterator[Reason]:
    if incident.verdict is Verdict.UNCHANGED:
        refusal = policy.unchanged.refusal(None)
        if refusal is None:
            yield Reason(ReasonCode.UNCHANGED_ALLOWED_NOW)
        else:
            short_lived = (Reason(ReasonCode.MOSTLY_SHORT_LIVED),) if policy.unchanged.selective else ()
            yield Reason.of(ReasonCode.ALLOW_UNCHANGED, refusal, *short_lived)
        return
    refused = [writer for writer in writers if not writer.allowed]
    for writer in refused:
        yield _grant(writer, policy)
    if refused:
        return
    # The run's own bytes ask for the policy's evidence, a co-tenant's for that of its rule.
    needs = [policy.needs if w.ruling is None else w.ruling.needs for w in writers]
    asked = max(needs or [policy.needs], key=lambda grade: grade.strength)
    if asked.strength > incident.grade.strength:
        yield Reason.of(ReasonCode.ASK_LESS_EVIDENCE, found=incident.grade.value, needs=asked.value)
    else:
        yield Reason(ReasonCode.WRITERS_ALLOWED_NOW)


def _would_have_stopped(writers: tuple[WriterNow, ...]) -> Iterator[Reason]:
    others = [writer for writer in writers if writer.ruling is not None]
    for writer in others:
        name, did = writer.request.writer.label(), writer.request.did.value
        if writer.allowed:
            yield Reason.of(ReasonCode.FORBID_BY_RULE, writer=name, did=did)
        else:
            yield Reason.of(ReasonCode.FORBIDDEN_NOW, writer=name)
    if not others:
        yield Reason(ReasonCode.LOWER_BUDGET)


def _grant(writer: WriterNow, policy: Policy) -> Reason:
    """What would have to be granted, and by which part of the policy."""
    name, did, ruling = writer.request.writer.label(), writer.request.did.value, writer.ruling
    if ruling is not None and ruling.rule == UNDECLARED_RULE:
        return Reason.of(ReasonCode.NAME_IN_POLICY, writer=name, did=did)
    rule = None if ruling is None else next((rule for rule in policy.rules if rule.name == ruling.rule), None)
    if rule is None:
        return Reason.of(ReasonCode.GRANT_BEYOND_DEFAULT, writer=name, did=did)
    return Reason.of(ReasonCode.GRANT_BEYOND_RULE, writer=name, did=did, rule=rule.name, line=rule.line)

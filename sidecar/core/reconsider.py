"""An incident under a policy: what each writer may do by it, and what would have to differ for another end.

Only what the incident has on record is looked at; the bytes are not judged again. No answer of this module permits
anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sidecar.core.hold import Hold
from sidecar.core.incident import Outcome
from sidecar.core.rules import DEFAULT_RULE, Deed, May
from sidecar.core.verdict import Verdict
from sidecar.core.writer import Writer, WriterKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.core.incident import Incident, WriterShare
    from sidecar.core.policy import Policy
    from sidecar.core.rules import Ruling

_GIVEN: Final = frozenset({Outcome.APPROVED, Outcome.APPLIED, Outcome.EFFECTIVE, Outcome.INEFFECTIVE})
_LIFTS: Final = {
    Hold.OBSERVE: "Run the sidecar without --observe: the mode gave no commands.",
    Hold.PAUSE: "End the pause with `openclaw-sidecar resume`, or wait for its end.",
    Hold.STORM: "Wait until the storm is over, or raise `sessions` or lower `cooldown` in [storm].",
    Hold.SESSION_BUDGET: "Raise `recoveries` in [budget.session], or wait: its period passes.",
    Hold.GATEWAY_BUDGET: "Raise `recoveries` in [budget.gateway], or wait: its period passes.",
}


@dataclass(frozen=True, slots=True)
class WriterNow:
    """One writer of the incident under the policy.

    Attributes:
        share: As it is on record.
        deed: What it did, as far as it is on record.
        ruling: What the policy says; None for the fenced run itself, which needs no leave.
    """

    share: WriterShare
    deed: Deed
    ruling: Ruling | None

    @property
    def allowed(self) -> bool:
        """It may have done that."""
        return self.ruling is None or self.ruling.allows(self.deed.did)


@dataclass(frozen=True, slots=True)
class Reconsidered:
    """What `reconsider` found.

    Attributes:
        writers: Each writer of the incident.
        changes: What would change the end, one sentence each; never empty.
    """

    writers: tuple[WriterNow, ...]
    changes: tuple[str, ...]


def reconsider(incident: Incident, policy: Policy) -> Reconsidered:
    """Ask a policy about an incident."""
    writers = tuple(_now(incident, share, policy) for share in incident.writers)
    return Reconsidered(writers, tuple(_changes(incident, writers, policy)))


def _now(incident: Incident, share: WriterShare, policy: Policy) -> WriterNow:
    did = May(share.did) if share.did else May.APPEND if share.bytes else May.METADATA
    writer = Writer(WriterKind.of(share.kind), share.name, share.pid, share.run_id, uid=share.uid, exe=share.exe)
    deed = Deed(writer=writer, did=did, session=incident.run.session, file=incident.session_file)
    return WriterNow(share, deed, None if share.own else policy.decide(deed))


def _changes(incident: Incident, writers: tuple[WriterNow, ...], policy: Policy) -> Iterator[str]:
    outcome = incident.recovery.outcome
    if incident.verdict is Verdict.EXTERNAL:
        yield "Nothing in a policy: bytes that nobody explained are never recovered across."
    elif incident.verdict is Verdict.RESET:
        yield "Nothing in a policy: the gateway itself ended the session."
    elif incident.verdict is Verdict.UNATTRIBUTED and not incident.rule:
        yield "Nothing in a policy: the evidence has a gap, and a policy can only narrow what evidence allows."
    elif outcome in _GIVEN:
        yield from _would_have_stopped(writers)
    elif incident.recovery.hold in _LIFTS:
        yield _LIFTS[incident.recovery.hold]
    elif incident.recovery.hold is Hold.POLICY:
        yield from _would_have_allowed(incident, writers, policy)
    else:
        yield f"Nothing in a policy: {incident.recovery.reason or incident.reason}."


def _would_have_allowed(incident: Incident, writers: tuple[WriterNow, ...], policy: Policy) -> Iterator[str]:
    if incident.verdict is Verdict.UNCHANGED:
        refusal = policy.unchanged.refusal(None)
        yield (
            f"Let [unchanged] allow it (allow = true, no executables or uids): {refusal}{_short_lived(policy)}."
            if refusal
            else "Nothing more: by this policy such a change is recovered from."
        )
        return
    refused = [writer for writer in writers if not writer.allowed]
    for writer in refused:
        yield f"Grant {writer.deed.writer.label()} may = {writer.deed.did.value!r}: {_where(writer, policy)}."
    if refused:
        return
    # The run's own bytes ask for the policy's evidence, a co-tenant's for that of its rule.
    needs = [policy.needs if w.ruling is None else w.ruling.needs for w in writers]
    asked = max(needs or [policy.needs], key=lambda grade: grade.strength)
    if asked.strength > incident.grade.strength:
        yield (
            f"Ask for evidence = {incident.grade.value!r} instead of {asked.value!r}, or give the sidecar that"
            " evidence: run it with --who kernel."
        )
    else:
        yield "Nothing more: by this policy every writer may do what it did."


def _short_lived(policy: Policy) -> str:
    return "; of a command that ends at once, such as touch, that is mostly so" if policy.unchanged.selective else ""


def _would_have_stopped(writers: tuple[WriterNow, ...]) -> Iterator[str]:
    others = [writer for writer in writers if writer.ruling is not None]
    for writer in others:
        if writer.allowed:
            name, did = writer.deed.writer.label(), writer.deed.did.value
            yield f"A rule ahead of the others that grants {name} less than may = {did!r} would stop it."
        else:
            yield f"This policy grants {writer.deed.writer.label()} less than it did: it would be stopped now."
    if not others:
        yield "A lower budget, a pause or --observe: no co-tenant wrote, so no rule decides."


def _where(writer: WriterNow, policy: Policy) -> str:
    ruling = writer.ruling
    rule = None if ruling is None else next((rule for rule in policy.rules if rule.name == ruling.rule), None)
    if rule is None:
        return f"no rule of the policy names it, and its {DEFAULT_RULE} is too little"
    return f"rule {rule.name!r} in line {rule.line} decides, so change it or put a rule ahead of it"

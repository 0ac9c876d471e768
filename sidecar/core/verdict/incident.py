"""An incident: one window that met a change, or a turn that was lost."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from sidecar.core.custody.claims import Claimed
from sidecar.core.facts.gateway import Gateway, Run
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.process import Process
from sidecar.core.facts.reasons import Reason
from sidecar.core.facts.span import Unit
from sidecar.core.facts.turn_loss import LossCause, LostTurn
from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.core.facts.value import Value, replace
from sidecar.core.facts.version import Version
from sidecar.core.policy.blocked import BlockReason
from sidecar.core.policy.budget import BudgetUse
from sidecar.core.policy.policy import Mode
from sidecar.core.verdict.judge import Verdict

TAKEN_IN: Final = "+taken-in"
"""Stands behind a window's id where a step is meant that its fence has left behind."""


class Outcome(StrEnum):
    """What became of the recovery."""

    NONE = "none"
    """There was nothing to decide: the gateway's own fence let the change pass, or none was set."""
    NOT_ATTEMPTED = "not_attempted"
    """The mode forbids it, or no command could reach the gateway."""
    REFUSED = "refused"
    """The verdict does not allow it."""
    APPROVED = "approved"
    """The command is on its way; nothing has been seen of it yet."""
    APPLIED = "applied"
    """The preload moved the fence; the effect is not yet proven."""
    EFFECTIVE = "effective"
    """The run went on past its check and the history is one line."""
    INEFFECTIVE = "ineffective"
    """The command was given and the turn was lost all the same, or no whole history shows (rules 3 and 6)."""
    LATE = "late"
    """The verdict allowed it, and the gateway had stopped waiting for the answer."""


class Subject(StrEnum):
    """What a page is about, the gravest first. One incident may need a page for each."""

    TAKEOVER = "takeover"
    """Someone from outside changed the session."""
    RECOVERY = "recovery"
    """A recovery had no effect, or none that can be seen."""
    STORM = "storm"
    """Many sessions changed at once; it is told with one incident out of many, and says nothing of that one."""


class WriterShare(Value, frozen=True):
    """A known writer of the window.

    Attributes:
        kind: See `sidecar.core.facts.writer.WriterKind`.
        name: Job id, channel or label.
        bytes: Bytes contributed since the fence.
        run_id: The agent run it belongs to; empty outside a run.
        own: It is the fenced run itself.
        did: The most that it did, in words of `sidecar.core.policy.rules.Permission`; empty when not known.
        may: What the policy let it do, likewise; empty where the policy was not asked.
        exe: Executable of the writing process; empty when not known.
        uid: Its user; -1 when not known.
        token: It had proved that it knows the hooks token.
    """

    kind: str
    name: str
    pid: int
    bytes: int
    run_id: str = ""
    own: bool = False
    did: str = ""
    may: str = ""
    rule: str = ""
    exe: str = ""
    uid: int = -1
    token: bool = False


class UnexplainedRange(Value, frozen=True):
    """Bytes or rows that no known writer reported.

    Attributes:
        offset: First byte or row; where bytes are missing, with a length of 0.
        pid: Process that wrote, by the kernel's word, or that held the lock meanwhile, or of rows had their database
            open for writing; 0 when there is none.
        exe: Its executable; empty when not known.
        processes: All that the kernel saw at the file and that no one knows, the one above first; empty without
            kernel evidence: then the process above is a hint.
    """

    offset: int
    length: int
    pid: int = 0
    exe: str = ""
    processes: tuple[Process, ...] = ()
    unit: Unit = Unit.BYTES


class Recovery(Value, frozen=True):
    """What was done.

    Attributes:
        latency_ms: From the question, or the co-tenant's release, to the command; 0 when there was none.
        reason: Why; None while there is nothing to say.
        count: How many times a fence was moved in this window.
        pushed: How many of these needed no round trip.
        hold: What held it back, if that was not the verdict.
        budget_use: The budget that held it back, as it was then.
        lock_waits: How many times the run did not get the session lock in time, was let wait on, and had it.
        unproven: The history could not be read after it: whether a record fell off the path is not known.
    """

    outcome: Outcome = Outcome.NONE
    mode: Mode = Mode.RECOVER
    latency_ms: float = 0.0
    reason: Reason | None = None
    count: int = 0
    pushed: int = 0
    hold: BlockReason = BlockReason.NONE
    budget_use: BudgetUse | None = None
    lock_waits: int = 0
    unproven: bool = False

    def counted(self, *, pushed: bool) -> Recovery:
        """This record with one more moved fence."""
        return replace(self, count=self.count + 1, pushed=self.pushed + int(pushed))


class Moment(Value, frozen=True):
    """A line of the timeline.

    Attributes:
        at_ns: Nanoseconds since the epoch, the gateway's clock.
        what: Short name, such as ``fence set`` or ``write``.
        detail: The rest of the line; no transcript text.
    """

    at_ns: int
    what: str
    detail: str = ""
    reason: Reason | None = None


class Incident(Value, frozen=True, kw_only=True):
    """One window that met a change, or a turn that was lost.

    Attributes:
        incident_id: Sorts by time; unique.
        opened_at_ns: When the change was first noticed.
        closed_at_ns: When the window ended; 0 while it is open.
        verdict: The gravest verdict of the window.
        fence: The fingerprint of the fence at the last look.
        current: The file's at the last look.
        window: The fence controller's id, with `TAKEN_IN` behind it where a step is meant that its fence has left
            behind; empty when no window could be seen.
        paged_for: What pages are due or were given for; at most one for each subject.
        timeline: What happened, oldest first.
        rule: The rule of the policy that decided; empty where the evidence did.
        policy: Digest of the policy that was in force at the last look.
        waited_ms: How long the user had waited when the gateway gave the turn up, by the gateway's log; 0 when it did
            not tell.
        lost: Why the turn was lost, where sessions are in a database; None where it was not, or nothing told why.
        claims: What processes that are not believed say that they wrote, of what was met last.
    """

    incident_id: str
    session_file: str
    opened_at_ns: int
    closed_at_ns: int = 0
    verdict: Verdict
    grade: Grade
    reason: Reason
    writers: tuple[WriterShare, ...] = ()
    unexplained: tuple[UnexplainedRange, ...] = ()
    fence: Version
    current: Version
    recovery: Recovery = Recovery()
    run: Run
    gateway: Gateway
    window: str = ""
    turn_lost: bool = False
    paged_for: tuple[Subject, ...] = ()
    timeline: tuple[Moment, ...] = ()
    rule: str = ""
    policy: str = ""
    waited_ms: float = 0.0
    lost: LostTurn | None = None
    claims: tuple[Claimed, ...] = ()

    @property
    def cause(self) -> LossCause | None:
        """Why the turn was lost; None as for ``lost``."""
        return None if self.lost is None else self.lost.cause

    @property
    def controller(self) -> str:
        """The fence controller's id."""
        return self.window.removesuffix(TAKEN_IN)

    @property
    def taken_in(self) -> bool:
        """It is of a step that a fence has left behind: the window may have another incident, of its last fence."""
        return self.window.endswith(TAKEN_IN)


def incident_id(at_ns: int, window: str, file: str) -> str:
    """An id that sorts by time and tells apart what began in the same second."""
    stamp = datetime.fromtimestamp(at_ns / NS_PER_SECOND, tz=UTC).strftime("%Y%m%dT%H%M%SZ")
    tail = hashlib.sha256(f"{at_ns}|{window}|{file}".encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{stamp}-{tail}"

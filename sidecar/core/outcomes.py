"""What came of things, in the past tense. Nothing has to be done about it: it is for whoever listens (telemetry).

`sidecar.core.engine.Engine.outcomes` has those of the event that was handled last. The core decides what counts,
and says each thing once; a listener translates and keeps no account of its own.
"""

from enum import StrEnum

from sidecar.core.events import DatabaseLocked, RecoveryApplied
from sidecar.core.facts.database import DatabaseHold
from sidecar.core.facts.gateway import Gateway, Run
from sidecar.core.facts.loss import Loss
from sidecar.core.facts.turn_loss import LossCause
from sidecar.core.facts.value import Value
from sidecar.core.facts.version import AnyChange
from sidecar.core.facts.writer import Writer
from sidecar.core.policy.blocked import BlockReason
from sidecar.core.verdict.incident import Incident, UnexplainedRange
from sidecar.core.verdict.judge import Verdict


class Ending(StrEnum):
    """How a window ended, or anything else that a gateway began."""

    ENDED = "ended"
    """By itself."""
    TAKEOVER = "takeover"
    """The gateway's own fence stopped the turn."""
    LOST = "lost"
    """The turn was lost, and it was no fence that stopped it."""
    LINK_LOST = "link_lost"
    """The link was lost without a goodbye."""
    GATEWAY_ENDED = "gateway_ended"
    """The link was closed with a goodbye."""
    SIDECAR_STOPPED = "sidecar_stopped"
    """It was open when the sidecar stopped, of which the core hears nothing."""


class Answer(StrEnum):
    """What a gateway was answered."""

    APPROVED = "approved"
    REFUSED = "refused"
    NONE = "none"
    """Nothing: it had not asked, and no command was given."""


class LockTimeout(StrEnum):
    """What came of a lock timeout inside a window."""

    FORGIVEN = "forgiven"
    """The run was allowed to wait on, and acquired the lock."""
    GIVEN_UP = "given_up"
    """The run was allowed to wait on, and did not acquire it all the same."""
    REFUSED = "refused"
    """It took its course: the holder or the file is not explained, or the mode is observe."""


class TakeoverSource(StrEnum):
    """How a gateway's takeover became known."""

    FENCE = "fence"
    """The preload saw the gateway's fence stop the turn."""
    LOG = "log"
    """Only the gateway's log reported it."""


class WindowOpened(Value, frozen=True, kw_only=True):
    """A run set its fence.

    Attributes:
        size: How much the transcript held at the fence; of a file, bytes.
        partial: The fence was set before the sidecar looked: this is the first word of it.
    """

    window: str
    file: str
    run: Run
    gateway: Gateway
    size: int
    at_ns: int
    partial: bool = False


class FenceMoved(Value, frozen=True, kw_only=True):
    """The run recorded a new fingerprint; ``size`` as in `WindowOpened`."""

    window: str
    size: int
    at_ns: int


class WindowEnded(Value, frozen=True, kw_only=True):
    """A window is over.

    Attributes:
        partial: Its beginning was not seen, so `opened_at_ns` is that of the first word of it.
        incident: What it met; None when nothing.
        final: Nothing more comes of it; else its history is read, and `WindowSettled` follows.
    """

    window: str
    file: str
    run: Run
    gateway: Gateway
    ending: Ending
    opened_at_ns: int
    at_ns: int
    partial: bool
    incident: Incident | None
    final: bool


class WindowSettled(Value, frozen=True, kw_only=True):
    """The history after a window was read: this is what became of its incident."""

    window: str
    incident: Incident


class ChangesJudged(Value, frozen=True, kw_only=True):
    """It is clear what came of these changes inside a window, each once.

    Attributes:
        verdict: On them; None where nobody had to judge: the gateway's own fence let them pass.
        changes: Finished ones, oldest first.
    """

    window: str
    file: str
    run: Run
    verdict: Verdict | None
    changes: tuple[AnyChange, ...]


class UnexplainedFound(Value, frozen=True, kw_only=True):
    """Bytes without a known writer were judged.

    Attributes:
        verdict: external or unattributed.
        ranges: Those that had not been found before.
        first: The first of this window under this verdict: together they are one change.
        at_ns: When the file was looked at.
    """

    window: str
    file: str
    verdict: Verdict
    ranges: tuple[UnexplainedRange, ...]
    first: bool
    at_ns: int


class VerdictGiven(Value, frozen=True, kw_only=True):
    """A window's change was judged, and its gateway answered; without an answer, a verdict is said when it is new.

    Attributes:
        verdict: Of the answer; the incident's where there is none.
        incident: As it was then; None where a question was refused for another reason.
        asked_at_ns: When that came which led to it: the question, or the look at the file.
    """

    window: str
    verdict: Verdict
    answer: Answer
    incident: Incident | None
    asked_at_ns: int


class IncidentChanged(Value, frozen=True, kw_only=True):
    """An incident is new, or its verdict, its outcome, the loss of its turn or its end has changed.

    Attributes:
        new_verdict: It has this verdict for the first time.
        new_outcome: Its recovery has this outcome for the first time.
    """

    incident: Incident
    new_verdict: bool
    new_outcome: bool


class RecoveryWithheld(Value, frozen=True, kw_only=True):
    """The evidence allowed a recovery, and something else held it back; once for each incident and reason."""

    incident_id: str
    hold: BlockReason


class RecoveryAnswered(Value, frozen=True, kw_only=True):
    """The preload obeyed a command to move a fence, or refused it. ``run`` is None where the window is not known."""

    answer: RecoveryApplied
    run: Run | None


class TurnLost(Value, frozen=True, kw_only=True):
    """The gateway's own fence stopped a turn; said once, however often the gateway reports it.

    Attributes:
        verdict: On the change; None when there is none.
        at_ns: When it was stopped; 0 when only the end of the window told.
    """

    window: str
    verdict: Verdict | None
    at_ns: int


class LossExplained(Value, frozen=True, kw_only=True):
    """Where sessions are in a database, a run told what it lost its turn to; ``window`` is empty where it had none."""

    window: str
    cause: LossCause
    at_ns: int


class ClaimTold(Value, frozen=True, kw_only=True):
    """A run claimed a session; fields as in `sidecar.core.events.WriterClaimed`."""

    run_id: str
    session: str
    previous: str
    superseded: bool
    at_ns: int


class TakeoverReported(Value, frozen=True, kw_only=True):
    """A gateway reported a takeover; once for each run and file, whichever way it is heard of first."""

    file: str
    source: TakeoverSource


class HoldEnded(Value, frozen=True, kw_only=True):
    """A linked process holds a session lock no more.

    Attributes:
        previous: The holder before it; None when not known.
        since_ns: When the lock was acquired.
        wait_ns: How long the holder had waited for it; None when its beginning was not reported.
        held_ns: How long it lasted, as the holder measured it.
    """

    file: str
    writer: Writer
    previous: Writer | None
    since_ns: int
    wait_ns: int | None
    at_ns: int
    held_ns: int
    ending: Ending


class LockTimeoutSettled(Value, frozen=True, kw_only=True):
    """It is clear what came of a lock timeout inside a window."""

    result: LockTimeout


class DatabaseLockEnded(Value, frozen=True, kw_only=True):
    """A linked process' write transaction is over.

    Attributes:
        previous: Who of the linked processes held the lock before; None when not known.
        holder: The process that was seen with the lock while this one waited; None where none was.
    """

    lock: DatabaseLocked
    previous: Writer | None
    holder: DatabaseHold | None


class ForeignHoldEnded(Value, frozen=True, kw_only=True):
    """A foreign process holds the write lock of a database no more."""

    database: str
    hold: DatabaseHold


class CustodyLost(Value, frozen=True, kw_only=True):
    """Custody became unknown; ``windows`` are those open ones that it is about."""

    loss: Loss
    windows: tuple[str, ...]
    at_ns: int


_OfWindows = WindowOpened | FenceMoved | WindowEnded | WindowSettled | CustodyLost
_OfTurns = TurnLost | LossExplained | ClaimTold
_OfVerdicts = ChangesJudged | UnexplainedFound | VerdictGiven | IncidentChanged
_OfRecoveries = RecoveryWithheld | RecoveryAnswered | TakeoverReported
_OfLocks = HoldEnded | LockTimeoutSettled | DatabaseLockEnded | ForeignHoldEnded

AnyOutcome = _OfWindows | _OfTurns | _OfVerdicts | _OfRecoveries | _OfLocks
"""The whole set. (`sidecar.core.verdict.incident.Outcome` is what became of a recovery.)"""

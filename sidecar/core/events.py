"""What the world tells the core. All in the past tense; times are nanoseconds since the epoch."""

from sidecar.core.custody.files.account import FileAccount
from sidecar.core.custody.kept import AnyKeptChain
from sidecar.core.custody.rows.account import RowAccount
from sidecar.core.facts.content import Snapshot
from sidecar.core.facts.database import DatabaseHold, LockError
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.gateway import Gateway, Run
from sidecar.core.facts.loss import Loss
from sidecar.core.facts.process import Act, Process
from sidecar.core.facts.reasons import Reason
from sidecar.core.facts.turn_loss import TurnLoss
from sidecar.core.facts.value import Value
from sidecar.core.facts.version import AnyChange, Reading, Version
from sidecar.core.facts.writer import Writer
from sidecar.core.policy.blocked import Pause
from sidecar.core.policy.policy import Policy
from sidecar.core.questions import AtFence, CheckAsked, WaitAsked


class LinkOpened(Value, frozen=True, kw_only=True):
    """A gateway said hello, or told more of itself later."""

    gateway: Gateway
    at_ns: int


class LinkLost(Value, frozen=True, kw_only=True):
    """A link is gone. ``clean`` when the gateway said goodbye, having reported everything."""

    link: str
    clean: bool
    at_ns: int


class AccountBroken(Value, frozen=True, kw_only=True):
    """Reports or file events may have been lost, so nothing may be assumed of the time before (rule 5).

    An empty ``file`` means every file.
    """

    loss: Loss
    reason: Reason
    at_ns: int
    file: str = ""


class FenceSet(AtFence, frozen=True, kw_only=True):
    """A run recorded a fingerprint: when it released the lock, or after a write of its own."""


class FenceClosed(Value, frozen=True, kw_only=True):
    """The run is done with its window."""

    window: str
    takeover: bool
    at_ns: int


class FileChanged(Value, frozen=True, kw_only=True):
    """A linked process reported a change, begun or finished."""

    file: str
    change: AnyChange


class LockTaken(Value, frozen=True, kw_only=True):
    """A linked process holds the session lock."""

    file: str
    hold: str
    writer: Writer
    wait_ns: int
    at_ns: int
    link: str = ""


class LockReleased(Value, frozen=True, kw_only=True):
    """A linked process gave the session lock back; ``after`` is the file as that process saw it last."""

    file: str
    hold: str
    writer: Writer
    after: Fingerprint
    held_ns: int
    at_ns: int
    link: str = ""


class LockFileSeen(Value, frozen=True, kw_only=True):
    """The watch read a lock file: some process holds the lock, linked or not.

    Attributes:
        pid: Its id here; of one that can't be seen from here what the lock file says.
        hidden: It lives in a pid namespace that can't be seen from here.
    """

    file: str
    pid: int
    exe: str
    at_ns: int
    hidden: bool = False


class LockFileGone(Value, frozen=True, kw_only=True):
    """The lock file was removed."""

    file: str
    at_ns: int


class FingerprintChanged(Value, frozen=True, kw_only=True):
    """The watch saw the file's fingerprint change; ``before`` is absent for a file that is new."""

    file: str
    before: Fingerprint
    fingerprint: Fingerprint
    at_ns: int


class DatabaseChanged(Value, frozen=True, kw_only=True):
    """The watch saw that somebody committed to a database, or did anything else to its files."""

    database: str
    at_ns: int


class DatabaseLocked(Value, frozen=True, kw_only=True):
    """A linked process' write transaction of a database is over.

    Attributes:
        operation: What it was for, in the gateway's word; empty where it has none.
        thread: 0 for the main thread.
        wait_ns: How long it waited for the lock.
        held_ns: How long it held it; 0 where it was not had.
        rows: Rows of transcripts that it stored.
        error: Why the lock was not had, or nothing was committed; None where all went well.
        at_ns: When it was over.
    """

    database: str
    operation: str
    writer: Writer
    thread: int
    wait_ns: int
    held_ns: int
    rows: int
    error: LockError | None
    at_ns: int
    link: str = ""


class DatabaseHeld(Value, frozen=True, kw_only=True):
    """A process was seen to hold a lock of a database for the first time, or is seen with it no more."""

    database: str
    hold: DatabaseHold
    at_ns: int


class HoldersHidden(Value, frozen=True, kw_only=True):
    """Those who hold a database can't be seen from here: they live in another pid namespace; or can again."""

    database: str
    hidden: bool
    at_ns: int


class KernelListening(Value, frozen=True, kw_only=True):
    """The kernel names whoever touches a file in this directory from now on."""

    directory: str
    at_ns: int


class KernelAccess(Value, frozen=True, kw_only=True):
    """The kernel named a process that touched a session file; ``at_ns`` is when we heard of it."""

    file: str
    process: Process
    act: Act
    at_ns: int


class KernelDrained(Value, frozen=True, kw_only=True):
    """All that the kernel has to say so far was heard; it comes ahead of each `FenceSet`."""

    at_ns: int


class KernelOverflowed(Value, frozen=True, kw_only=True):
    """Sightings are lost, or there are none any more: nothing is concluded from their absence before this."""

    at_ns: int


class SnapshotTaken(Value, frozen=True, kw_only=True):
    """The file was read, asked for by `sidecar.core.decisions.ReadFile`.

    Attributes:
        settled: No reports were outstanding.
        over: Windows that their runs were done with when it had been taken; word of that follows.
    """

    file: str
    snapshot: Reading
    at_ns: int
    settled: bool = True
    over: tuple[str, ...] = ()


class VerdictAsked(CheckAsked, frozen=True, kw_only=True):
    """A gateway stands at its check with a difference and waits. Its ``at_ns`` is by the gateway's clock.

    The snapshot was taken after every report that came before the question, and while the run held the lock.

    Attributes:
        unheard: Another linked process may still have something to say about it.
        heard_ns: By the sidecar's clock, which pauses, budgets and storms go by; 0 in recordings of before there was
            this. The gateway's is that of the machine only as of the gateway's start.
    """

    snapshot: Snapshot
    unheard: bool = False
    heard_ns: int = 0


class LockTimedOut(WaitAsked, frozen=True, kw_only=True):
    """A fenced run did not get the session lock in time, and waits for word whether it may wait on.

    The snapshot was taken after every report that came before the question; ``unheard`` and ``heard_ns`` as in
    `VerdictAsked`.

    Attributes:
        holder_pid: What the lock file says, in the pid namespace of its holder; 0 when there is none any more, or
            nothing in it.
        holder_exe: The executable of that process; empty when not known.
        holder_hidden: It may live in a pid namespace that can't be seen from here.
    """

    snapshot: Snapshot
    holder_pid: int
    holder_exe: str
    holder_hidden: bool = False
    unheard: bool = False
    heard_ns: int = 0


class LockWaitEnded(Value, frozen=True, kw_only=True):
    """A run that was let wait on had the lock in the end, or gave up."""

    window: str
    had: bool
    waited_ns: int
    at_ns: int


class AnswerLate(Value, frozen=True, kw_only=True):
    """A gateway stopped waiting for the answer to a question, or the answer came after that. It was not obeyed.

    It waited ``waited_ns``, by its own clock; ``heard_ns`` is when the sidecar heard it, by its own.
    """

    ask: str
    window: str
    waited_ns: int
    at_ns: int
    heard_ns: int


class SidecarHalted(Value, frozen=True, kw_only=True):
    """The sidecar itself did not run from ``since_ns`` to ``at_ns``: it was stopped, or given no processor.

    Both by its own clock. A machine that slept is `sidecar.core.facts.loss.Loss.SUSPENDED` instead.
    """

    since_ns: int
    at_ns: int


class CommandWithheld(Value, frozen=True, kw_only=True):
    """A command was not given, for its intent could not be put on disk (rule 6). A question still waits for its answer.

    ``ask`` is empty where the command was to be pushed ahead of a question.
    """

    link: str
    window: str
    ask: str
    at_ns: int


class RecoveryApplied(Value, frozen=True, kw_only=True):
    """The preload obeyed a command, or refused it because something differed.

    ``records`` are the ids of those that came in between fence and now; all must stay on the path to the root.
    """

    window: str
    applied: bool
    fence: Version
    current: Version
    pushed: bool
    latency_ns: int
    reason: str
    records: tuple[str, ...]
    at_ns: int


class TurnTripped(AtFence, frozen=True, kw_only=True):
    """The gateway's own fence stopped the turn. ``unheard`` and ``heard_ns`` as in `VerdictAsked`."""

    snapshot: Reading
    unheard: bool = False
    heard_ns: int = 0


class TurnLost(Value, frozen=True, kw_only=True):
    """A run ended without an answer, where sessions are in a database; the error is the first that it met.

    Attributes:
        window: The run's window; empty where it had none.
        file: The transcript; empty where the run had not come to it, and none of its session was known.
    """

    link: str
    window: str
    file: str
    run: Run
    loss: TurnLoss
    at_ns: int


class WriterClaimed(Value, frozen=True, kw_only=True):
    """A run claimed a session: it alone may write there from now on, beside co-tenants.

    Attributes:
        session: Hash of the session key.
        previous: The run that had the claim before; empty when there was none, or it was the same.
        superseded: That one was under way, and was stopped.
    """

    link: str
    session: str
    run_id: str
    previous: str
    superseded: bool
    at_ns: int


class LineageChecked(Value, frozen=True, kw_only=True):
    """The history after a recovery was read: which of the records that came in between are off the path.

    ``problem`` says why it could not be read; empty when it was.
    """

    window: str
    missing: tuple[str, ...]
    at_ns: int
    problem: str = ""


class ChainRecalled(Value, frozen=True, kw_only=True):
    """What was kept of a transcript's chain of custody, asked for by `sidecar.core.decisions.RecallChain`."""

    chain: AnyKeptChain
    reason: Reason
    at_ns: int


class AccountRecalled(Value, frozen=True, kw_only=True):
    """What was known of a file when a recorded window opened; told in a replay only."""

    file: str
    account: FileAccount | RowAccount
    at_ns: int


class TimePassed(Value, frozen=True, kw_only=True):
    """It is time to keep what should outlive the sidecar, a part of it at a time, and to put away what is old."""

    at_ns: int


class GatewayLogged(Value, frozen=True, kw_only=True):
    """The gateway's log told what a user had of a turn.

    Attributes:
        file: The session file that the line names; empty when it names none.
        run_id: The run that it names; likewise.
        session: Hash of the session key that it names; likewise.
        what: A short name for the line, such as ``lane task error``.
        waited_ns: How long the user had waited by then; 0 when the line does not tell.
        takeover: It says that the gateway's own fence stopped the turn.
        link: The link that told; empty in recordings of before there was this.
    """

    file: str
    run_id: str
    session: str
    what: str
    waited_ns: int
    at_ns: int
    takeover: bool = False
    link: str = ""


class TimelineNote(Value, frozen=True, kw_only=True):
    """Something worth a line in the window's timeline, such as a model call; ``link`` as in `GatewayLogged`."""

    file: str
    run_id: str
    what: str
    detail: str
    at_ns: int
    link: str = ""


class PolicyChanged(Value, frozen=True, kw_only=True):
    """Another policy is in force from now on."""

    policy: Policy
    at_ns: int


class PauseChanged(Value, frozen=True, kw_only=True):
    """An operator asked for a pause, or ended one (None)."""

    pause: Pause | None
    at_ns: int


_OfTurns = TurnLost | WriterClaimed
_OfLinks = LinkOpened | LinkLost | AccountBroken | FileChanged | GatewayLogged | TimelineNote
_OfWindows = FenceSet | FenceClosed | VerdictAsked | AnswerLate | CommandWithheld | RecoveryApplied | TurnTripped
_OfLocks = LockTaken | LockReleased | LockFileSeen | LockFileGone | LockTimedOut | LockWaitEnded
_OfDatabases = DatabaseChanged | DatabaseLocked | DatabaseHeld | HoldersHidden
_OfFiles = FingerprintChanged | SnapshotTaken | LineageChecked | ChainRecalled | AccountRecalled
_OfKernel = KernelListening | KernelAccess | KernelDrained | KernelOverflowed
_OfSidecar = SidecarHalted | TimePassed | PolicyChanged | PauseChanged

Event = _OfLinks | _OfTurns | _OfWindows | _OfLocks | _OfDatabases | _OfFiles | _OfKernel | _OfSidecar

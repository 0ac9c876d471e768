"""The wire and the core: what a message means in the core's values, and how a command of the core reads on the wire.

Nobody else knows both. `Translator` takes one link's messages, `message_of` gives what is sent back.
"""

from typing import Any, Final, assert_never

from sidecar.core import decisions as de
from sidecar.core import events as ev
from sidecar.core.facts.database import LockError
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.gateway import Run
from sidecar.core.facts.rows import RowVersion, is_of_rows
from sidecar.core.facts.turn_loss import LossCause, LossDetail, TurnLoss
from sidecar.core.facts.units import NS_PER_MS
from sidecar.core.facts.version import Version, parse_version
from sidecar.core.questions import CheckAsked, Question, TurnStopped, WaitAsked
from sidecar.core.reports import AdapterFound, LockFailed, PreloadTrouble, Report, WriteFailed
from sidecar.link.changes import ChangeReader, Speaker, Writers
from sidecar.link.commits import CommitReader
from sidecar.wire import messages as wire
from sidecar.wire.codec import WireError
from sidecar.words import sentence

Heard = ev.Event | Question | Report
"""What a message of a link means."""

MAX_REASON: Final = 300
"""Characters of a reason that a gateway is given."""

_LOCK_ERRORS: Final = {error.value: error for error in LockError}
_LOG: Final = "log."
_TAKEOVER: Final = "takeover"


class Translator:
    """Understands the messages of one link."""

    def __init__(self, link: str, speaker: Speaker) -> None:
        self._link = link
        self._writers = Writers(speaker)
        self._changes = ChangeReader(link, speaker, self._writers)
        self._commits = CommitReader(link, speaker, self._writers)
        self._adapter: str | None = None

    def understand(self, message: wire.GatewayMessage) -> tuple[Heard, ...]:
        """What the message means, in order; nothing for one that is about the link itself.

        Raises:
            WireError: An operation, phase or field that this protocol does not have.
            FingerprintError: A fingerprint that is none.
        """
        match message:
            case wire.Changed():
                changed = ev.FileChanged(file=message.file, change=self._changes.read(message))
                return (WriteFailed(file=message.file), changed) if message.failed else (changed,)
            case wire.LockTaken():
                return (_lock_taken(message, self._writers, self._link),)
            case wire.LockReleased():
                return (_lock_released(message, self._writers, self._link),)
            case wire.Diagnostic():
                return (message, _turn_told(message, self._link)) if message.event.startswith(_LOG) else (message,)
            case wire.FenceSet():
                return (_fence_set(message, self._link),)
            case wire.Committed():
                change = self._commits.read(message)
                return () if change is None else (ev.FileChanged(file=message.file, change=change),)
            case wire.DatabaseLocked():
                return (_database_locked(message, self._writers, self._link),)
            case _:
                return self._rare(message)

    def _rare(self, message: wire.GatewayMessage) -> tuple[Heard, ...]:
        match message:
            case wire.FenceClosed():
                return (ev.FenceClosed(window=message.window, takeover=message.takeover, at_ns=int(message.at)),)
            case wire.Ask() | wire.LockAsked() | wire.Tripped():
                return (_question(message, self._link),)
            case wire.Applied():
                return (_answer_late(message) if message.ask else _applied(message),)
            case wire.LockWaited() | wire.TurnLost() | wire.WriterClaimed():
                return (_of_run(message, self._link),)
            case wire.LockFailed():
                return (_lock_failed(message, self._writers),)
            case wire.AdapterFound():
                new = message.adapter != self._adapter
                self._adapter = message.adapter
                return (AdapterFound(adapter=message.adapter, reason=message.reason, new=new, at_ns=int(message.at)),)
            case wire.Trouble():
                return (PreloadTrouble(where=message.where, reason=message.reason),)
            case _:
                return ()


def message_of(command: de.Command) -> wire.SidecarMessage:
    """How a command of the core reads on the wire."""
    match command:
        case de.Approve():
            return wire.Approve(
                window=command.window,
                fence=command.fence.encode(),
                current=command.current.encode(),
                ask=command.ask,
                span=command.span,
            )
        case de.Withdraw():
            return wire.Refuse(window=command.window, ask="", verdict="", reason="taken back")
        case de.Refuse():
            verdict, reason = command.verdict.value, sentence(command.reason)[:MAX_REASON]
            return wire.Refuse(window=command.window, ask=command.ask, verdict=verdict, reason=reason)
        case de.GrantPatience():
            return wire.Patience(window=command.window, tries=command.tries)
        case de.EndPatience():
            return wire.Patience(window=command.window, tries=0)
        case de.AnswerWait(granted=True):
            return wire.Wait(window=command.window, ask=command.ask)
        case de.AnswerWait():
            reason = sentence(command.reason)[:MAX_REASON]
            return wire.Refuse(window=command.window, ask=command.ask, verdict="", reason=reason)
        case _:
            assert_never(command)


def _lock_taken(message: wire.LockTaken, writers: Writers, link: str) -> ev.LockTaken:
    return ev.LockTaken(
        link=link,
        file=message.file,
        hold=message.hold,
        writer=writers.of(message.writer),
        wait_ns=int(message.wait),
        at_ns=int(message.at),
    )


def _lock_released(message: wire.LockReleased, writers: Writers, link: str) -> ev.LockReleased:
    return ev.LockReleased(
        link=link,
        file=message.file,
        hold=message.hold,
        writer=writers.of(message.writer),
        after=Fingerprint.parse(message.after),
        held_ns=int(message.held),
        at_ns=int(message.at),
    )


def _database_locked(message: wire.DatabaseLocked, writers: Writers, link: str) -> ev.DatabaseLocked:
    return ev.DatabaseLocked(
        link=link,
        database=message.database,
        operation=message.op,
        writer=writers.of(message.writer),
        thread=message.thread,
        wait_ns=int(message.wait),
        held_ns=int(message.held),
        rows=message.stored,
        error=_LOCK_ERRORS.get(message.error, LockError.OTHER) if message.error else None,
        at_ns=int(message.at),
    )


def _fence_set(message: wire.FenceSet, link: str) -> ev.FenceSet:
    return ev.FenceSet(**_at_fence(message, link))


def _applied(message: wire.Applied) -> ev.RecoveryApplied:
    return ev.RecoveryApplied(
        window=message.window,
        applied=message.ok,
        fence=_version_of(message.fence),
        current=_version_of(message.current),
        pushed=message.pushed,
        latency_ns=int(message.latency),
        reason=message.reason,
        records=message.records,
        at_ns=int(message.at),
    )


def _of_run(message: wire.LockWaited | wire.TurnLost | wire.WriterClaimed, link: str) -> ev.Event:
    match message:
        case wire.LockWaited():
            return _lock_waited(message)
        case wire.TurnLost():
            return _turn_lost(message, link)
        case wire.WriterClaimed():
            return ev.WriterClaimed(
                link=link,
                session=message.run.session,
                run_id=message.run.run,
                previous=message.previous,
                superseded=message.superseded,
                at_ns=int(message.at),
            )
        case _:
            assert_never(message)


def _turn_lost(message: wire.TurnLost, link: str) -> ev.TurnLost:
    try:
        cause = LossCause(message.cause)
    except ValueError as error:
        text = f"unknown cause {message.cause!r} of a lost turn"
        raise WireError(text) from error
    if message.file and not is_of_rows(message.file):
        text = f"turn lost to {cause.value}: {message.file} is no transcript in a database"
        raise WireError(text)
    known = message.detail in LossDetail.__members__.values()
    loss = TurnLoss(
        cause=cause,
        detail=LossDetail(message.detail) if known else LossDetail.NONE,
        row=message.row,
        other_run=message.other,
        known=message.known,
        live=message.live,
        tools=message.tools,
    )
    return ev.TurnLost(
        link=link, window=message.window, file=message.file, run=_run_of(message.run), loss=loss, at_ns=int(message.at)
    )


def _lock_failed(message: wire.LockFailed, writers: Writers) -> LockFailed:
    return LockFailed(
        file=message.file,
        writer=writers.of(message.writer),
        wait_ns=int(message.wait),
        reason=message.reason,
        at_ns=int(message.at),
    )


def _turn_told(message: wire.Diagnostic, link: str) -> ev.GatewayLogged:
    """A line of the gateway's log about a turn."""
    return ev.GatewayLogged(
        file=message.file,
        run_id=message.run,
        session=message.session,
        what=message.event.removeprefix(_LOG).replace("_", " "),
        waited_ns=int(max(0.0, min(message.duration_ms, 1e12)) * NS_PER_MS),
        at_ns=int(message.at),
        takeover=message.reason == _TAKEOVER,
        link=link,
    )


def _answer_late(message: wire.Applied) -> ev.AnswerLate:
    """A question that the gateway no longer waits for."""
    return ev.AnswerLate(
        ask=message.ask, window=message.window, waited_ns=int(message.latency), at_ns=int(message.at), heard_ns=0
    )


def _lock_waited(message: wire.LockWaited) -> ev.LockWaitEnded:
    return ev.LockWaitEnded(window=message.window, had=message.ok, waited_ns=int(message.waited), at_ns=int(message.at))


def _question(message: wire.Ask | wire.LockAsked | wire.Tripped, link: str) -> Question:
    if isinstance(message, wire.Ask | wire.LockAsked) and is_of_rows(message.file):
        error = f"a run on rows of a database asks nothing: window {message.window}"
        raise WireError(error)
    at_fence = _at_fence(message, link)
    match message:
        case wire.Ask():
            return CheckAsked(ask=message.ask, current=Fingerprint.parse(message.current), **at_fence)
        case wire.LockAsked():
            return WaitAsked(ask=message.ask, waited_ns=int(message.waited), **at_fence)
        case wire.Tripped():
            return TurnStopped(current=parse_version(message.file, message.current), **at_fence)
        case _:
            assert_never(message)


def _at_fence(message: wire.AtFence, link: str) -> dict[str, Any]:
    """What every word of a run and its fence says."""
    return {
        "link": link,
        "window": message.window,
        "file": message.file,
        "fence": parse_version(message.file, message.fence),
        "run": _run_of(message.run),
        "at_ns": int(message.at),
    }


def _version_of(text: str) -> Version:
    """A version where the message does not say of which transcript: it only goes on record."""
    return RowVersion.parse(text) if text.startswith("rows:") else Fingerprint.parse(text)


def _run_of(message: wire.WireRun) -> Run:
    return Run(
        run_id=message.run,
        kind=message.kind,
        name=message.name,
        session=message.session,
        trace_id=message.trace,
        span_id=message.span,
    )

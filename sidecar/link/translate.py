"""Wire messages to core events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sidecar.core import events as ev
from sidecar.core.change import Change, Operation
from sidecar.core.fingerprint import Fingerprint
from sidecar.core.gateway import Run
from sidecar.core.reports import Diagnostic, LockFailed
from sidecar.core.writer import Writer, WriterKind
from sidecar.wire.codec import WireError

if TYPE_CHECKING:
    from sidecar.wire import messages as wire

_LOG: Final = "log."
_TAKEOVER: Final = "takeover"
_NS_PER_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Speaker:
    """Whose reports these are, by the kernel's word.

    Attributes:
        pid: The process; 0 when it can't be seen.
        uid: Its user; -1 when not known.
        exe: Its executable; empty when it can't be seen.
        declared: The name of a co-tenant outside of OpenClaw; empty for a gateway.
    """

    pid: int
    uid: int = -1
    exe: str = ""
    declared: str = ""


def writer_of(message: wire.WireWriter, speaker: Speaker) -> Writer:
    """The writer of a report. An outside co-tenant is who it declared itself to be, and never part of a run."""
    if speaker.declared:
        return Writer(WriterKind.DECLARED, speaker.declared, speaker.pid, uid=speaker.uid, exe=speaker.exe)
    return Writer(WriterKind.of(message.kind), message.name, speaker.pid, message.run, uid=speaker.uid, exe=speaker.exe)


def run_of(message: wire.WireRun) -> Run:
    """The run of a window."""
    return Run(
        run_id=message.run,
        kind=message.kind,
        name=message.name,
        session=message.session,
        trace_id=message.trace,
        span_id=message.span,
    )


def _fingerprint(text: str) -> Fingerprint | None:
    return Fingerprint.parse(text) if text else None


class ChangeReader:
    """Joins the begin and the end of a call into `Change` values; one for each link."""

    def __init__(self, link: str, speaker: Speaker) -> None:
        """Begin with no call under way."""
        self._link = link
        self._speaker = speaker
        self._under_way: dict[str, Change] = {}

    def read(self, message: wire.Changed) -> Change:
        """The change as known after this report.

        Raises:
            WireError: An operation or phase that this protocol does not have.
        """
        try:
            operation = Operation(message.op)
        except ValueError:
            error = f"unknown operation {message.op!r} of change {message.change}"
            raise WireError(error) from None
        if self._speaker.declared and operation is Operation.REMOVE:
            error = f"a co-tenant outside of OpenClaw may not remove a session file: change {message.change}"
            raise WireError(error)
        if message.phase == "end" and message.change in self._under_way:
            begun = self._under_way.pop(message.change)
            finished = begun.finish(
                ended=message.seq, length=message.length, sha256=message.sha256, after=_fingerprint(message.after)
            )
            # A call that failed without a trace ends as one that changed no byte.
            return replace(finished, operation=operation)
        if message.phase not in {"begin", "end", "done"}:
            error = f"unknown phase {message.phase!r} of change {message.change}"
            raise WireError(error)
        change = Change(
            change_id=message.change,
            operation=operation,
            writer=writer_of(message.writer, self._speaker),
            at_ns=int(message.at),
            length=message.length,
            sha256=message.sha256,
            offset=message.offset,
            before=_fingerprint(message.before),
            after=_fingerprint(message.after),
            link=self._link,
            began=message.seq,
            ended=None if message.phase == "begin" else message.seq,
        )
        if message.phase == "begin":
            self._under_way[message.change] = change
        return change


def lock_taken(message: wire.LockTaken, speaker: Speaker, link: str) -> ev.LockTaken:
    """A lock that was acquired."""
    return ev.LockTaken(
        link=link,
        file=message.file,
        hold=message.hold,
        writer=writer_of(message.writer, speaker),
        wait_ns=int(message.wait),
        at_ns=int(message.at),
    )


def lock_released(message: wire.LockReleased, speaker: Speaker, link: str) -> ev.LockReleased:
    """A lock that was given back."""
    return ev.LockReleased(
        link=link,
        file=message.file,
        hold=message.hold,
        writer=writer_of(message.writer, speaker),
        after=Fingerprint.parse(message.after),
        held_ns=int(message.held),
        at_ns=int(message.at),
    )


def fence_set(message: wire.FenceSet, link: str) -> ev.FenceSet:
    """A fence that was set or moved."""
    return ev.FenceSet(
        link=link,
        window=message.window,
        file=message.file,
        fence=Fingerprint.parse(message.fence),
        run=run_of(message.run),
        at_ns=int(message.at),
    )


def applied(message: wire.Applied) -> ev.RecoveryApplied:
    """A command that was obeyed or refused."""
    return ev.RecoveryApplied(
        window=message.window,
        applied=message.ok,
        fence=Fingerprint.parse(message.fence),
        current=Fingerprint.parse(message.current),
        pushed=message.pushed,
        latency_ns=int(message.latency),
        reason=message.reason,
        records=message.records,
        at_ns=int(message.at),
    )


def diagnostic(message: wire.Diagnostic) -> Diagnostic:
    """An event of the gateway's diagnostics bus."""
    return Diagnostic(
        event=message.event,
        at_ns=int(message.at),
        run=message.run,
        call=message.call,
        session=message.session,
        provider=message.provider,
        model=message.model,
        duration_ms=message.duration_ms,
        trace=message.trace,
        span=message.span,
        parent=message.parent,
        exported=message.exported,
        unsampled=message.unsampled,
        state=message.state,
        reason=message.reason,
        error=message.error,
        input_tokens=message.input_tokens,
        output_tokens=message.output_tokens,
        file=message.file,
    )


def lock_failed(message: wire.LockFailed, speaker: Speaker) -> LockFailed:
    """A lock that was not acquired."""
    return LockFailed(
        file=message.file,
        writer=writer_of(message.writer, speaker),
        wait_ns=int(message.wait),
        reason=message.reason,
        at_ns=int(message.at),
    )


def turn_told(message: wire.Diagnostic) -> ev.TurnTold | None:
    """A line of the gateway's log about a turn; None for another event."""
    if not message.event.startswith(_LOG):
        return None
    return ev.TurnTold(
        file=message.file,
        run_id=message.run,
        session=message.session,
        what=message.event.removeprefix(_LOG).replace("_", " "),
        waited_ns=int(max(0.0, min(message.duration_ms, 1e12)) * _NS_PER_MS),
        at_ns=int(message.at),
        takeover=message.reason == _TAKEOVER,
    )


def answer_late(message: wire.Applied, heard_ns: int) -> ev.AnswerLate:
    """A question that the gateway no longer waits for."""
    return ev.AnswerLate(
        ask=message.ask,
        window=message.window,
        waited_ns=int(message.latency),
        at_ns=int(message.at),
        heard_ns=heard_ns,
    )


def lock_waited(message: wire.LockWaited) -> ev.LockWaitEnded:
    """The end of a wait that was allowed to go on."""
    return ev.LockWaitEnded(window=message.window, had=message.ok, waited_ns=int(message.waited), at_ns=int(message.at))


def noted(message: wire.Diagnostic) -> ev.Noted | None:
    """A line for the timeline, if the event is worth one."""
    detail = {
        "model.call.started": f"{message.provider}/{message.model}",
        "model.call.completed": f"{message.provider}/{message.model} after {message.duration_ms / 1000:.1f} s",
        "model.call.error": f"{message.provider}/{message.model}: {message.error or 'failed'}",
        "session.stalled": message.reason or message.state,
        "session.stuck": message.reason or message.state,
    }.get(message.event)
    if detail is None:
        return None
    return ev.Noted(file="", run_id=message.run, what=message.event, detail=detail, at_ns=int(message.at))

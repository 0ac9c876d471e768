"""Facts of one turn on a session file, as the service tells them."""

from typing import Any, Final

from sidecar.core import events as ev
from sidecar.core import outcomes as out
from sidecar.core.decisions import Approve
from sidecar.core.facts.change import Change, Operation
from sidecar.core.facts.content import Snapshot
from sidecar.core.facts.database import DatabaseHold, LockError, LockKind
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.gateway import Adapter, Gateway, Run
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.process import Process
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.turn_loss import LossCause, TurnLoss
from sidecar.core.facts.value import replace
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.reports import Diagnostic, LockFailed
from sidecar.core.verdict.incident import Incident, Outcome, Recovery, UnexplainedRange
from sidecar.core.verdict.judge import Verdict
from sidecar.wire import messages as wire
from tests.core import kit

SECOND: Final = 1_000_000_000
MS: Final = 1_000_000
T0: Final = 1_790_000_000 * SECOND
FILE: Final = "/state/agents/main/sessions/0a1b.jsonl"
DATABASE: Final = "/state/agents/main/agent/openclaw-agent.sqlite"
TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
RUN_SPAN: Final = "00f067aa0ba902b7"
CALL_SPAN: Final = "b7ad6b7169203331"

GATEWAY: Final = Gateway(link="link-1", pid=4711, version="2026.5.18", adapter=Adapter.SWAP, can_reload=True)
RUN: Final = Run(run_id="run-1", kind="user_turn", session="5e55", trace_id=TRACE, span_id=RUN_SPAN)
UNTRACED: Final = Run(run_id="run-1", kind="user_turn", session="5e55")
OWN: Final = Writer(kind=WriterKind.USER_TURN, pid=4711, run_id="run-1")
COTENANT: Final = Writer(kind=WriterKind.INJECT, name="cron", pid=4711)

KNOWN: Final = Reason.of(ReasonCode.EVERY_BYTE_KNOWN, writers=("inject cron",))
OVERFLOWED: Final = Reason.of(ReasonCode.WATCH_OVERFLOWED, problem="the kernel's event queue was full")


def fp(size: int) -> Fingerprint:
    return Fingerprint(exists=True, dev=1, ino=2, size=size, mtime_ns=T0, ctime_ns=T0)


GROWN: Final = Snapshot(fingerprint=fp(150), content=None)


def opened(at_ns: int = T0, gateway: Gateway = GATEWAY) -> ev.LinkOpened:
    return ev.LinkOpened(gateway=gateway, at_ns=at_ns)


def fence(at_ns: int, size: int = 100, run: Run = RUN, window: str = "w1", file: str = FILE) -> ev.FenceSet:
    return ev.FenceSet(link="link-1", window=window, file=file, fence=fp(size), run=run, at_ns=at_ns)


def closed(at_ns: int, *, takeover: bool = False, window: str = "w1") -> ev.FenceClosed:
    return ev.FenceClosed(window=window, takeover=takeover, at_ns=at_ns)


def taken(at_ns: int, writer: Writer = OWN, hold: str = "h1", wait_ns: int = 40 * MS) -> ev.LockTaken:
    return ev.LockTaken(link="link-1", file=FILE, hold=hold, writer=writer, wait_ns=wait_ns, at_ns=at_ns)


def released(at_ns: int, writer: Writer = OWN, hold: str = "h1", held_ns: int = 10 * MS) -> ev.LockReleased:
    return ev.LockReleased(
        link="link-1", file=FILE, hold=hold, writer=writer, after=fp(100), held_ns=held_ns, at_ns=at_ns
    )


def database_locked(  # noqa: PLR0917 - as few as a transaction has
    at_ns: int,
    wait_ns: int = 40 * MS,
    held_ns: int = 0,
    writer: Writer = OWN,
    operation: str = "agent.write",
    rows: int = 1,
    error: LockError | None = None,
) -> ev.DatabaseLocked:
    return ev.DatabaseLocked(
        database=DATABASE,
        operation=operation,
        writer=writer,
        thread=1,
        wait_ns=wait_ns,
        held_ns=held_ns,
        rows=rows,
        error=error,
        at_ns=at_ns,
        link="link-1",
    )


def foreign(since_ns: int, until_ns: int = 0) -> ev.DatabaseHeld:
    """A process without a link was seen with the write lock."""
    process = Process(99, exe="/usr/bin/python3", container="ab" * 32)
    hold = DatabaseHold(process, "python3 /opt/backup.py", LockKind.WRITE, since_ns, until_ns)
    return ev.DatabaseHeld(database=DATABASE, hold=hold, at_ns=until_ns or since_ns)


def wrote(
    at_ns: int,
    writer: Writer = COTENANT,
    length: int = 50,
    operation: Operation = Operation.APPEND,
    ended: int | None = 1,
) -> ev.FileChanged:
    change = Change(
        change_id=f"c{at_ns}",
        operation=operation,
        writer=writer,
        at_ns=at_ns,
        length=length,
        sha256="ab" * 32,
        offset=100,
        ended=ended,
    )
    return ev.FileChanged(file=FILE, change=change)


def asked(at_ns: int, ask: str = "a1", run: Run = RUN, window: str = "w1") -> ev.VerdictAsked:
    return kit.asked(fp(100), GROWN, at_ns, ask=ask, window=window, file=FILE, run=run)


def tripped(at_ns: int, run: Run = RUN, window: str = "w1") -> ev.TurnTripped:
    return kit.tripped(fp(100), GROWN, at_ns, window=window, file=FILE, run=run)


def lost(at_ns: int, cause: LossCause, window: str = "w1") -> ev.TurnLost:
    """A run told what it lost its turn to."""
    return ev.TurnLost(link="link-1", window=window, file=FILE, run=RUN, loss=TurnLoss(cause), at_ns=at_ns)


def claimed(at_ns: int, run_id: str = "run-1", previous: str = "run-0") -> ev.WriterClaimed:
    return ev.WriterClaimed(
        link="link-1", session=RUN.session, run_id=run_id, previous=previous, superseded=True, at_ns=at_ns
    )


def applied(at_ns: int, *, ok: bool = True, pushed: bool = False, latency_ns: int = 3 * MS) -> ev.RecoveryApplied:
    approved = Approve(
        link="link-1", window="w1", file=FILE, fence=fp(100), current=fp(150), ask="" if pushed else "a1"
    )
    return replace(kit.applied(approved, at_ns, "r1", "r2"), applied=ok, latency_ns=latency_ns)


def incident(
    verdict: Verdict = Verdict.CO_TENANT,
    outcome: Outcome = Outcome.APPROVED,
    *,
    window: str = "w1",
    closed_at_ns: int = 0,
    turn_lost: bool = False,
    reason: Reason = KNOWN,
) -> Incident:
    return Incident(
        incident_id=f"20260921T133320Z-{window}",
        session_file=FILE,
        opened_at_ns=T0,
        closed_at_ns=closed_at_ns,
        verdict=verdict,
        grade=Grade.BYTES,
        reason=reason,
        fence=fp(100),
        current=fp(150),
        recovery=Recovery(outcome=outcome, reason=reason),
        run=RUN,
        gateway=GATEWAY,
        window=window,
        turn_lost=turn_lost,
    )


def diagnostic(event: str, at_ns: int, **more: str | float) -> Diagnostic:
    """As the wire's decoder makes it."""
    known: dict[str, Any] = {
        "run": "run-1",
        "call": "call-1",
        "session": "5e55",
        "provider": "anthropic",
        "model": "claude-sonnet-4-5",
        "trace": TRACE,
        "span": CALL_SPAN,
        "parent": RUN_SPAN,
    }
    return wire.Diagnostic(seq=1, at=str(at_ns), event=event, **{**known, **more})


def run_started(at_ns: int, **more: str | float) -> Diagnostic:
    known: dict[str, Any] = {"call": "", "span": RUN_SPAN, "parent": ""}
    return diagnostic("run.started", at_ns, **{**known, **more})


def run_completed(at_ns: int, **more: str | float) -> Diagnostic:
    known: dict[str, Any] = {"call": "", "span": RUN_SPAN, "parent": "", "duration_ms": 9000.0, "state": "completed"}
    return diagnostic("run.completed", at_ns, **{**known, **more})


def lock_failed(at_ns: int, reason: str = "timeout", run: str = "run-1") -> LockFailed:
    writer = Writer(WriterKind.HEARTBEAT, "main", run_id=run)
    return LockFailed(at_ns=at_ns, file=FILE, writer=writer, wait_ns=60 * SECOND, reason=reason)


def changed(met: Incident, *, new: bool = True) -> out.IncidentChanged:
    return out.IncidentChanged(incident=met, new_verdict=new, new_outcome=new)


def judged(verdict: Verdict | None, *writes: ev.FileChanged) -> out.ChangesJudged:
    changes = tuple(write.change for write in writes)
    return out.ChangesJudged(window="w1", file=FILE, run=RUN, verdict=verdict, changes=changes)


def found(verdict: Verdict, at_ns: int, *ranges: UnexplainedRange, first: bool = True) -> out.UnexplainedFound:
    return out.UnexplainedFound(window="w1", file=FILE, verdict=verdict, ranges=ranges, first=first, at_ns=at_ns)


def given(met: Incident, answer: out.Answer = out.Answer.NONE, at_ns: int = T0) -> out.VerdictGiven:
    return out.VerdictGiven(window="w1", verdict=met.verdict, answer=answer, incident=met, asked_at_ns=at_ns)


def ended(
    at_ns: int, met: Incident | None = None, ending: out.Ending = out.Ending.ENDED, *, final: bool = True
) -> out.WindowEnded:
    return out.WindowEnded(
        window="w1",
        file=FILE,
        run=RUN,
        gateway=GATEWAY,
        ending=ending,
        opened_at_ns=T0,
        at_ns=at_ns,
        partial=False,
        incident=met,
        final=final,
    )

"""How many messages of a gateway the sidecar takes in for each second of CPU time that it spends."""

import asyncio
import hashlib
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import psutil

from benchmarks.idle import cpu_seconds
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.demo.companion import Companion
from sidecar.watch.reading import fingerprint_of
from sidecar.wire import messages as wire
from sidecar.wire.codec import decode_from_sidecar, encode

ROUNDS: Final = 3
MESSAGES: Final = 30_000
WARM_UP: Final = 3_000
SESSIONS: Final = 8
RECORD_BYTES: Final = 400
ANSWER_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Session:
    path: Path
    name: str
    start: Fingerprint


def measure_intake() -> Iterator[dict[str, Any]]:
    """Messages per CPU second of a real sidecar process: session locks with a change in each, and diagnostics."""
    kinds: dict[str, Callable[[_Voice, Sequence[_Session], int], Iterator[wire.GatewayMessage]]] = {
        "locks": _locks,
        "diagnostics": _diagnostics,
    }
    for name, messages in kinds.items():
        found = sorted(asyncio.run(_measure(messages)) for _ in range(ROUNDS))
        yield {
            "messages": name,
            "per_cpu_second": round(statistics.median(found)),
            "lowest": round(found[0]),
            "highest": round(found[-1]),
        }


class _Voice:
    """Numbers and times of one link."""

    def __init__(self) -> None:
        self._seq = 0
        self._start_ns = time.time_ns()

    def next(self) -> dict[str, Any]:
        self._seq += 1
        return {"seq": self._seq, "at": str(self._start_ns + self._seq * 1_000)}


async def _measure(messages: Callable[[_Voice, Sequence[_Session], int], Iterator[wire.GatewayMessage]]) -> float:
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        sessions = _make_sessions(work / "state")
        async with Companion(work / "state", work, work / "link.sock", believes=Path(sys.executable)) as sidecar:
            return await asyncio.to_thread(_feed, sidecar, sessions, messages)


def _make_sessions(state: Path) -> list[_Session]:
    directory = state / "agents" / "main" / "sessions"
    directory.mkdir(parents=True)
    sessions = []
    for number in range(SESSIONS):
        path = directory / f"session-{number}.jsonl"
        path.write_bytes(b"x" * RECORD_BYTES)
        sessions.append(_Session(path, f"session-{number}", fingerprint_of(path)))
    return sessions


def _feed(
    sidecar: Companion,
    sessions: Sequence[_Session],
    messages: Callable[[_Voice, Sequence[_Session], int], Iterator[wire.GatewayMessage]],
) -> float:
    """Messages per CPU second of the sidecar."""
    process = psutil.Process(sidecar.pid)
    voice = _Voice()
    made = messages(voice, sessions, WARM_UP + MESSAGES)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link, link.makefile("rb") as answers:
        link.settimeout(ANSWER_SECONDS)
        link.connect(str(sidecar.socket))
        hello = wire.Hello(**voice.next(), protocol=wire.PROTOCOL, pid=os.getpid(), openclaw="2026.5.18")
        _say(link, [hello])
        challenge = decode_from_sidecar(answers.readline())
        assert isinstance(challenge, wire.Challenge), challenge
        welcome = decode_from_sidecar(answers.readline())
        assert isinstance(welcome, wire.Welcome), welcome
        _say(link, [next(made) for _ in range(WARM_UP)])
        _await_taken_in(link, answers, voice)
        batch = b"".join(encode(next(made)) for _ in range(MESSAGES))
        before = cpu_seconds(process)
        link.sendall(batch)
        _await_taken_in(link, answers, voice)
        spent = cpu_seconds(process) - before
        _say(link, [wire.Bye(**voice.next())])
    return MESSAGES / spent


def _say(link: socket.socket, messages: Sequence[wire.GatewayMessage]) -> None:
    link.sendall(b"".join(map(encode, messages)))


def _await_taken_in(link: socket.socket, answers: BinaryIO, voice: _Voice) -> None:
    """A question is answered when everything ahead of it has been taken in."""
    absent = Fingerprint.absent().encode()
    about: dict[str, Any] = {"window": "end", "file": "/nowhere/end.jsonl", "fence": absent}
    _say(link, [wire.Ask(**voice.next(), ask="end", current=absent, run=wire.WireRun(), **about)])
    while True:
        answer = decode_from_sidecar(answers.readline())
        if isinstance(answer, wire.Sync):
            _say(link, [wire.Synced(**voice.next(), sync=answer.sync)])
        elif isinstance(answer, wire.Refuse | wire.Approve) and answer.ask == "end":
            break
    _say(link, [wire.FenceClosed(**voice.next(), window="end")])


def _locks(voice: _Voice, sessions: Sequence[_Session], count: int) -> Iterator[wire.GatewayMessage]:
    """Cycles of lock.taken, change, lock.released, each session in its turn; each change goes on from the last one."""
    known = {session.path: session.start for session in sessions}
    sha256 = hashlib.sha256(b"x" * RECORD_BYTES).hexdigest()
    writers = [
        wire.WireWriter(kind="user_turn", run="run-1"),
        wire.WireWriter(kind="cron", name="digest", run="run-2"),
        wire.WireWriter(kind="heartbeat"),
    ]
    for number in range(-(-count // 3)):
        session = sessions[number % len(sessions)]
        file, hold, writer = str(session.path), f"hold-{number}", writers[number % len(writers)]
        before = known[session.path]
        moved_ns = before.ctime_ns + 1_000_000
        after = Fingerprint(
            exists=True,
            dev=before.dev,
            ino=before.ino,
            size=before.size + RECORD_BYTES,
            mtime_ns=moved_ns,
            ctime_ns=moved_ns,
        )
        known[session.path] = after
        yield wire.LockTaken(**voice.next(), file=file, hold=hold, writer=writer, wait="120000")
        yield wire.Changed(
            **voice.next(),
            file=file,
            change=f"change-{number}",
            phase="done",
            op="append",
            writer=writer,
            length=RECORD_BYTES,
            sha256=sha256,
            offset=before.size,
            before=before.encode(),
            after=after.encode(),
        )
        yield wire.LockReleased(
            **voice.next(), file=file, hold=hold, writer=writer, after=after.encode(), held="450000"
        )


def _diagnostics(voice: _Voice, sessions: Sequence[_Session], count: int) -> Iterator[wire.GatewayMessage]:
    """The events of a turn with two model calls, each session in its turn."""
    for number in range(-(-count // 8)):
        session = hashlib.sha256(sessions[number % len(sessions)].name.encode()).hexdigest()[:16]
        run, trace, parent = f"run-{number}", f"{number + 1:032x}", f"{number + 1:016x}"
        about: dict[str, Any] = {"run": run, "session": session, "trace": trace}
        model: dict[str, Any] = {"provider": "anthropic", "model": "claude-sonnet-4-5"}
        yield wire.Diagnostic(**voice.next(), event="session.state", session=session, state="processing")
        yield wire.Diagnostic(**voice.next(), event="run.started", span=parent, **about, **model)
        for call in range(2):
            span = f"{(number << 8) + call + 1:016x}"
            ids: dict[str, Any] = {"call": f"{run}:{call}", "span": span, "parent": parent}
            yield wire.Diagnostic(**voice.next(), event="model.call.started", **ids, **about, **model)
            yield wire.Diagnostic(
                **voice.next(),
                event="model.call.completed",
                duration_ms=812.5,
                input_tokens=5_200,
                output_tokens=310,
                **ids,
                **about,
                **model,
            )
        yield wire.Diagnostic(
            **voice.next(), event="run.completed", span=parent, duration_ms=1_700.0, state="completed", **about, **model
        )
        yield wire.Diagnostic(**voice.next(), event="session.state", session=session, state="idle")

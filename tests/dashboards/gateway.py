"""A scripted gateway: a client that speaks the wire to a real sidecar as a preload does, on real session files.

It is a model of the gateway, chosen because an hour of turns, heartbeats, takeovers and stalls is wanted within
seconds: a turn is told as if it had begun so long ago as its model takes. What a real gateway reports is tested in
tests/e2e; here only what the sidecar makes of reports matters.
"""

import asyncio
import hashlib
import json
import os
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

from sidecar import __version__
from sidecar.watch.reading import fingerprint_of
from sidecar.wire import messages as wire
from sidecar.wire.codec import decode_from_sidecar, encode
from tests.e2e.foreign import ForeignVerb, act
from tests.e2e.history import read_records

SECOND: Final = 1_000_000_000
PUSH_SECONDS: Final = 1.0
"""How long an approval ahead of the question is waited for."""
THOUGHT_SECONDS: Final = 0.05
"""What is left of a model call: time enough for the sidecar to read the session at the fence."""
ANSWER_SECONDS: Final = 15.0
"""A gateway waits 250 ms; this one is patient, so that a busy machine does not change the story."""


@dataclass(frozen=True)
class Turn:
    """One turn of the script.

    Attributes:
        session: Its session, by name.
        kind: Whose turn.
        model: Seconds of the model call.
        provider: Who serves it.
        error: Class of the model's error; empty when it answers.
        cotenants: Who else writes meanwhile.
        foreign: What a foreign process does meanwhile.
        agent: Whose session.
        pushed: The sidecar's approval is waited for before the fence is checked.
    """

    session: str
    kind: str = "user_turn"
    model: float = 20.0
    provider: str = "anthropic"
    error: str = ""
    cotenants: tuple[str, ...] = ()
    foreign: ForeignVerb | None = None
    agent: str = "main"
    pushed: bool = False


class ScriptedGateway:
    """A gateway with a link to a sidecar."""

    def __init__(self, state_dir: Path, socket: Path) -> None:
        self._agents = state_dir / "agents"
        self._socket = socket
        self._at = time.time_ns()
        self._numbers = count(1)
        self._seq = count(1)
        self._heard: asyncio.Queue[wire.SidecarMessage] = asyncio.Queue()
        self._writer: asyncio.StreamWriter | None = None

    @asynccontextmanager
    async def linked(self) -> AsyncIterator[None]:
        """Hold the link open."""
        reader, self._writer = await asyncio.open_unix_connection(self._socket)
        listening = asyncio.create_task(self._listen(reader))
        try:
            self._say(wire.Hello, protocol=wire.PROTOCOL, pid=os.getpid(), openclaw="2026.5.18", preload=__version__)
            self._say(wire.AdapterFound, adapter="swap", reason="a scripted gateway")
            yield
            self._say(wire.Bye)
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening
            self._writer.close()
            await self._writer.wait_closed()

    def pass_time(self, seconds: float) -> None:
        """The script's clock goes on; never past now."""
        self._at = min(self._at + int(seconds * SECOND), time.time_ns())

    def file(self, turn: Turn) -> Path:
        """The session's file, with the turn's agent."""
        directory = self._agents / turn.agent / "sessions"
        directory.mkdir(parents=True, exist_ok=True)
        return directory / f"{uuid.uuid5(uuid.NAMESPACE_URL, turn.session)}.jsonl"

    async def take(self, turn: Turn) -> bool:
        """Take a turn; say whether it was answered."""
        file = self.file(turn)
        self._at = time.time_ns() - int((turn.model + 0.1) * SECOND)
        number = next(self._numbers)
        trace, span = uuid.uuid4().hex, uuid.uuid4().hex[:16]
        session = hashlib.sha256(turn.session.encode()).hexdigest()[:16]
        ids = {"run": f"run-{number}", "session": session, "trace": trace, "span": span}
        run = wire.WireRun(kind=turn.kind, name="daily" if turn.kind == "cron" else "", **ids)
        own = wire.WireWriter(kind=turn.kind, run=run.run)
        self._say(wire.Diagnostic, event="run.started", **ids)
        await self._locked(file, own, "user", wait=0.002)
        window, fence = f"window-{number}", fingerprint_of(file).encode()
        self._say(wire.FenceSet, window=window, file=str(file), fence=fence, run=run)
        call = {"call": f"call-{number}", "provider": turn.provider, "model": "some-model", **ids}
        call |= {"span": uuid.uuid4().hex[:16], "parent": span}
        self._say(wire.Diagnostic, event="model.call.started", **call)
        await asyncio.sleep(THOUGHT_SECONDS)
        self.pass_time(turn.model / 2)
        for kind in turn.cotenants:
            await self._locked(file, wire.WireWriter(kind=kind, name="daily-digest"), "assistant", wait=0.3)
        if turn.foreign:
            await act(turn.foreign, file)
        self.pass_time(turn.model / 2)
        ended: dict[str, Any] = {"duration_ms": turn.model * 1000, "input_tokens": 900, "output_tokens": 120}
        if turn.error:
            ended = {"duration_ms": turn.model * 1000, "error": turn.error}
        self._say(wire.Diagnostic, event="model.call.error" if turn.error else "model.call.completed", **call, **ended)
        self._at = time.time_ns()
        current = fingerprint_of(file).encode()
        go_on = current == fence or await self._may_go_on(turn, window, file, (fence, current), run)
        if go_on:
            await self._locked(file, own, "assistant", wait=0.001)
            self._say(wire.FenceSet, window=window, file=str(file), fence=fingerprint_of(file).encode(), run=run)
        else:
            self._say(wire.Tripped, window=window, file=str(file), fence=fence, current=current, run=run)
            gone = {"reason": "takeover", "file": str(file), "duration_ms": turn.model * 1000 + 900}
            self._say(wire.Diagnostic, event="log.lane_task_error", **ids, **gone)
            self._say(wire.Diagnostic, event="log.candidate_failed", **ids, reason="takeover", file=str(file))
        self._say(wire.FenceClosed, window=window, takeover=not go_on)
        self._say(wire.Diagnostic, event="run.completed", **ids, **({} if go_on else {"error": "Error"}))
        return go_on

    def stall(self, session: str, *words: str) -> None:
        """The gateway's diagnostics say that a session does not go on, or that it does again."""
        for word in words:
            self._say(
                wire.Diagnostic, event=f"session.{word}", session=hashlib.sha256(session.encode()).hexdigest()[:16]
            )

    def no_lock(self, turn: Turn, seconds: float) -> None:
        """A writer gives up waiting for the lock."""
        self._say(
            wire.LockFailed,
            file=str(self.file(turn)),
            writer=wire.WireWriter(kind="channel"),
            wait=str(int(seconds * SECOND)),
            reason="timeout",
        )

    def drop(self, reports: int) -> None:
        """The preload had to drop reports."""
        self._say(wire.Lost, count=reports)

    async def _locked(self, file: Path, writer: wire.WireWriter, role: str, wait: float) -> None:
        """Append a record under the session lock."""
        hold = f"hold-{next(self._numbers)}"
        self._say(wire.LockTaken, file=str(file), hold=hold, writer=writer, wait=str(int(wait * SECOND)))
        before = fingerprint_of(file)
        last = read_records(file)[-1].id if before.exists else None
        message = {"role": role, "content": "text of a transcript"}
        record = {"type": "message", "id": uuid.uuid4().hex[:8], "parentId": last, "message": message}
        line = json.dumps(record).encode() + b"\n"
        with file.open("ab") as session:
            session.write(line)
        self._say(
            wire.Changed,
            file=str(file),
            change=f"change-{next(self._numbers)}",
            phase="done",
            op="append",
            writer=writer,
            length=len(line),
            sha256=hashlib.sha256(line).hexdigest(),
            offset=before.size,
            before=before.encode(),
            after=fingerprint_of(file).encode(),
        )
        after = fingerprint_of(file).encode()
        held = str(int(0.02 * SECOND))
        self._say(wire.LockReleased, file=str(file), hold=hold, writer=writer, after=after, held=held)
        await self._drain()

    async def _may_go_on(self, turn: Turn, window: str, file: Path, step: tuple[str, str], run: wire.WireRun) -> bool:
        """Take an approval that has come, or ask; compare before setting."""
        fence, current = step
        answer = await self._answer(window, "", step, PUSH_SECONDS) if turn.pushed else None
        pushed = answer is not None
        if answer is None:
            self._say(wire.Ask, ask=window, window=window, file=str(file), fence=fence, current=current, run=run)
            answer = await self._answer(window, window, step, ANSWER_SECONDS)
        approved = isinstance(answer, wire.Approve) and (answer.fence, answer.current) == (fence, current)
        if approved:
            records = tuple(record.id for record in read_records(file))[-1:]
            told = {"fence": fence, "current": current, "records": records, "latency": str(3_000_000)}
            self._say(wire.Applied, window=window, ok=True, pushed=pushed, **told)
        return approved

    async def _answer(self, window: str, ask: str, step: tuple[str, str], seconds: float) -> wire.SidecarMessage | None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    said = await self._heard.get()
                    if isinstance(said, wire.Approve) and (said.window, said.ask) == (window, ask):
                        if (said.fence, said.current) == step:
                            return said
                    elif isinstance(said, wire.Refuse) and said.ask == ask:
                        return said
        return None

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            message = decode_from_sidecar(line)
            if isinstance(message, wire.Sync):
                self._say(wire.Synced, sync=message.sync)
            else:
                self._heard.put_nowait(message)

    async def _drain(self) -> None:
        assert self._writer is not None
        await self._writer.drain()

    def _say(self, kind: Any, **fields: Any) -> None:  # noqa: ANN401 - any message of the wire
        assert self._writer is not None
        self.pass_time(0.001)
        self._writer.write(encode(kind(seq=next(self._seq), at=str(self._at), **fields)))

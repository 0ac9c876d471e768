"""A stand-in for the gateway, for machines without npm.

It is a model: it keeps a session file, a fence and a lock as OpenClaw 2026.5.18 does, and speaks the wire to a real
sidecar. What it shows is the sidecar's side of the story; it proves nothing about OpenClaw.
"""

import asyncio
import hashlib
import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

from sidecar.demo.scenes import Played
from sidecar.demo.sessionfile import append_as_stranger, lost_records, record_line
from sidecar.watch.reading import fingerprint_of
from sidecar.watch.records import read_records
from sidecar.wire import messages as wire
from sidecar.wire.codec import decode_from_sidecar, encode

ASK_SECONDS: Final = 0.25
RUN: Final = wire.WireWriter(kind="user_turn", run="run-1")
NOTE: Final = wire.WireWriter(kind="inject", name="cron")


class StandIn:
    """Sessions with a fence, and perhaps a link to a sidecar."""

    def __init__(self, state_dir: Path, socket: Path | None) -> None:
        self._sessions = state_dir / "agents" / "main" / "sessions"
        self._sessions.mkdir(parents=True, exist_ok=True)
        self._socket = socket
        self._numbers = count(1)
        self._seq = count(1)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @asynccontextmanager
    async def linked(self) -> AsyncIterator[None]:
        """Hold the link open, if there is a sidecar to link to."""
        if self._socket is None:
            yield
            return
        self._reader, self._writer = await asyncio.open_unix_connection(self._socket)
        try:
            self._say(wire.Hello, protocol=wire.PROTOCOL, pid=os.getpid(), openclaw="stand-in", preload="stand-in")
            while not isinstance(await self._hear(), wire.Welcome):
                pass  # the challenge
            self._say(wire.AdapterFound, adapter="swap", reason="a stand-in for the gateway")
            yield
            self._say(wire.Bye)
        finally:
            self._writer.close()
            await self._writer.wait_closed()

    async def cotenant(self, session_key: str) -> Played:
        """A note is injected while the model thinks."""

        async def note(file: Path) -> None:
            hold = f"note-{next(self._numbers)}"
            self._say(wire.LockTaken, file=str(file), hold=hold, writer=NOTE, wait="0")
            self._append(file, NOTE, "assistant", "The backup has run.")
            after = fingerprint_of(file).encode()
            self._say(wire.LockReleased, file=str(file), hold=hold, writer=NOTE, after=after, held="0")

        return await self._turn(session_key, note)

    async def foreign(self, session_key: str) -> Played:
        """Another process appends while the model thinks."""
        return await self._turn(session_key, append_as_stranger)

    async def _turn(self, session_key: str, meanwhile: Callable[[Path], Awaitable[None]]) -> Played:
        """A turn of two records with a model call between them; the fence decides whether the second is written."""
        file = self._sessions / f"{uuid.uuid5(uuid.NAMESPACE_URL, session_key)}.jsonl"
        self._append(file, RUN, "user", "What is new?")
        fence = fingerprint_of(file).encode()
        window = f"window-{next(self._numbers)}"
        run = wire.WireRun(run="run-1", kind="user_turn")
        self._say(wire.FenceSet, window=window, file=str(file), fence=fence, run=run)
        await meanwhile(file)
        current = fingerprint_of(file).encode()
        go_on = current == fence or await self._may_go_on(window, file, fence, current, run)
        if go_on:
            self._append(file, RUN, "assistant", "All quiet.")
            moved = fingerprint_of(file).encode()
            self._say(wire.FenceSet, window=window, file=str(file), fence=moved, run=run)
        else:
            self._say(wire.Tripped, window=window, file=str(file), fence=fence, current=current, run=run)
        self._say(wire.FenceClosed, window=window, takeover=not go_on)
        return Played(go_on, file.name, lost_records(file))

    async def _may_go_on(self, window: str, file: Path, fence: str, current: str, run: wire.WireRun) -> bool:
        """Ask the sidecar, and compare before setting."""
        if self._writer is None:
            return False
        self._say(wire.Ask, ask=window, window=window, file=str(file), fence=fence, current=current, run=run)
        try:
            async with asyncio.timeout(ASK_SECONDS):
                while True:
                    answer = await self._hear()
                    if isinstance(answer, wire.Approve | wire.Refuse) and answer.ask == window:
                        break
        except TimeoutError:
            return False
        approved = isinstance(answer, wire.Approve) and (answer.fence, answer.current) == (fence, current)
        if approved:
            records = tuple(record.record_id for record in read_records(file)[0])[-1:]
            self._say(wire.Applied, window=window, ok=True, fence=fence, current=current, records=records)
        return approved

    def _append(self, file: Path, writer: wire.WireWriter, role: str, text: str) -> None:
        before = fingerprint_of(file)
        line = record_line(file, role, text)
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

    def _say(self, kind: Any, **fields: Any) -> None:  # noqa: ANN401 - any message of the wire
        if self._writer is not None:
            self._writer.write(encode(kind(seq=next(self._seq), at=str(time.time_ns()), **fields)))

    async def _hear(self) -> wire.SidecarMessage:
        """The next message that is for us; a sync is answered on the way."""
        if self._reader is None:
            raise ConnectionError("there is no link")
        while True:
            line = await self._reader.readline()
            if not line:
                raise ConnectionError("the sidecar closed the link")
            message = decode_from_sidecar(line)
            if not isinstance(message, wire.Sync):
                return message
            self._say(wire.Synced, sync=message.sync)

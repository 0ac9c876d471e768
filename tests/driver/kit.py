"""A driver with a real link server, real files and sinks in memory; and gateways that say what they do."""

import asyncio
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from sidecar.core.decisions import KeepRecording, Record, SaveIncident
from sidecar.core.engine import Engine
from sidecar.core.errors import SidecarError
from sidecar.core.events import AccountBroken, Event
from sidecar.core.facts.loss import Loss
from sidecar.core.facts.reasons import Reason
from sidecar.core.policy.policy import Mode, Policy
from sidecar.core.replay.recording import Recording
from sidecar.core.verdict.incident import Incident, Subject
from sidecar.driver import questions
from sidecar.driver.driver import Driver
from sidecar.driver.questions import SYNC_SECONDS
from sidecar.intake.gateways import KnownGateways
from sidecar.intake.link import LinkIntake
from sidecar.intake.tools import AgentTools
from sidecar.link.open_links import OpenLinks
from sidecar.link.server import LinkServer
from sidecar.watch.reading import fingerprint_of
from sidecar.wire import messages as wire
from tests.link.kit import AT, Believing, Client

HEADER: Final = b'{"type":"session","id":"s"}\n{"type":"message","id":"first","parentId":null}\n'
FOREIGN: Final = b'{"type":"message","id":"foreign","parentId":"first"}\n'
RUN: Final = wire.WireRun(run="run-1", kind="user_turn")
COTENANT: Final = wire.WireWriter(kind="cron", name="digest")


class FullError(SidecarError):
    """The disk is full."""


@dataclass
class Sinks:
    """Where incidents and pages go, and who listens."""

    saved: list[Incident] = field(default_factory=list)
    paged: list[Incident] = field(default_factory=list)
    told: set[tuple[str, Subject]] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)
    kept: list[Recording] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    tries: int = 0
    commits: int = 0
    full: bool = False
    carrying_out: Event | None = None

    def commit(self, records: Iterable[Record]) -> None:
        self.tries += 1
        if self.full:
            raise FullError
        self.commits += 1
        for record in records:
            if isinstance(record, SaveIncident):
                incident = record.incident
                fresh = {(incident.incident_id, about) for about in incident.paged_for} - self.told
                self.told |= fresh
                self.paged += [incident] * len(fresh)
                self.saved.append(incident)
            elif isinstance(record, KeepRecording):
                self.kept.append(record.recording)

    def recorded(self, incident: Incident) -> None:
        if self.commits == self.tries > 0:  # and it is here that incidents are saved
            assert incident.incident_id in {known.incident_id for known in self.saved}, "it is told ahead of its commit"

    def recall(self, _file: str) -> None:
        return None

    def event(self, event: Event) -> None:
        self.events.append(event)

    @contextmanager
    def within(self, event: Event) -> Iterator[None]:
        assert self.carrying_out is None, f"{event} entered the core while {self.carrying_out} was being carried out"
        self.carrying_out = event
        try:
            yield
        finally:
            self.carrying_out = None

    def answered(self, seconds: float) -> None:
        self.answers.append(seconds)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the rest of telemetry only counts
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *_args, **_more: self.counted.update([name])


class Gateway(Client):
    """A linked process: it does things to real files, and says so. It answers every sync, unless it is deaf."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self.deaf = False
        self.unsaid: list[wire.GatewayMessage] = []
        self.unanswered: list[wire.Sync] = []
        self.commands: asyncio.Queue[wire.SidecarMessage] = asyncio.Queue()
        self.at_sync: list[Callable[[], None]] = []
        self._changes = 0
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        with suppress(ConnectionError):
            while (message := await self.hear()) is not None:
                if not isinstance(message, wire.Sync):
                    self.commands.put_nowait(message)
                elif self.deaf:
                    self.unanswered.append(message)
                else:
                    self._sync(message)

    def _sync(self, message: wire.Sync) -> None:
        while self.at_sync:
            self.at_sync.pop()()
        self.say_unsaid()
        self.say(wire.Synced(seq=self.seq(), at=AT, sync=message.sync))

    def hear_again(self) -> None:
        """Be deaf no more, and answer what was asked meanwhile."""
        self.deaf = False
        while self.unanswered:
            self._sync(self.unanswered.pop(0))

    def say_unsaid(self) -> None:
        """Catch up with what was done and not said."""
        for message in self.unsaid:
            self.say(_numbered(message, self.seq()))
        self.unsaid.clear()

    def fence(self, file: Path, window: str = "w1") -> str:
        """Set a fence at the file as it is."""
        fence = fingerprint_of(file).encode()
        self.say(wire.FenceSet(seq=self.seq(), at=now(), window=window, file=str(file), fence=fence, run=RUN))
        return fence

    def append(
        self,
        file: Path,
        record_id: str,
        parent_id: str = "first",
        *,
        text: str = "",
        say: bool = True,
        failed: bool = False,
    ) -> None:
        """Append a record as a co-tenant, and say so at once or when asked to catch up."""
        data = record(record_id, parent_id, text)
        before = fingerprint_of(file).encode()
        size = file.stat().st_size if file.exists() else 0
        with file.open("ab") as out:
            out.write(data)
        self._changes += 1
        report = wire.Changed(
            seq=1,
            at=now(),
            file=str(file),
            change=f"c{self._changes}",
            phase="done",
            op="append",
            writer=COTENANT,
            length=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            offset=size,
            before=before,
            after=fingerprint_of(file).encode(),
            failed=failed,
        )
        self.unsaid.append(report)
        if say:
            self.say_unsaid()

    def release(self, file: Path) -> None:
        """Give the session lock back."""
        after = fingerprint_of(file).encode()
        self.say(
            wire.LockReleased(
                seq=self.seq(), at=now(), file=str(file), hold="h1", writer=COTENANT, after=after, held="1"
            )
        )

    def ask(self, file: Path, fence: str, window: str = "w1", ask: str = "0.1") -> None:
        """Stand at the check and ask."""
        current = fingerprint_of(file).encode()
        self.say(
            wire.Ask(
                seq=self.seq(), at=now(), ask=ask, window=window, file=str(file), fence=fence, current=current, run=RUN
            )
        )

    def take(self, file: Path) -> None:
        """Take the session lock as a co-tenant, and say so."""
        lock_file(file, os.getpid())
        self.say(wire.LockTaken(seq=self.seq(), at=now(), file=str(file), hold="h1", writer=COTENANT, wait="1"))

    def time_out(self, file: Path, fence: str, window: str = "w1", ask: str = "0.1") -> None:
        """Ask whether the run may wait on for the lock."""
        self.say(
            wire.LockAsked(
                seq=self.seq(), at=now(), ask=ask, window=window, file=str(file), fence=fence, waited="60", run=RUN
            )
        )

    def trip(self, file: Path, fence: str, window: str = "w1") -> None:
        """The turn was stopped."""
        current = fingerprint_of(file).encode()
        self.say(
            wire.Tripped(seq=self.seq(), at=now(), window=window, file=str(file), fence=fence, current=current, run=RUN)
        )

    def applied(self, file: Path, fence: str, *records: str, window: str = "w1") -> None:
        """The fence was moved."""
        current = fingerprint_of(file).encode()
        self.say(
            wire.Applied(
                seq=self.seq(), at=now(), window=window, ok=True, fence=fence, current=current, records=records
            )
        )

    def stop_waiting(self, file: Path, fence: str, waited_ns: int = 250_000_000, ask: str = "0.1") -> None:
        """Wait no longer for an answer; or, told of the same question once more, the answer has come after that."""
        current = fingerprint_of(file).encode()
        self.say(
            wire.Applied(
                seq=self.seq(),
                at=now(),
                window="w1",
                ok=False,
                fence=fence,
                current=current,
                latency=str(waited_ns),
                ask=ask,
                reason="nobody waits for the answer",
            )
        )

    def end(self, window: str = "w1", *, takeover: bool = False) -> None:
        """The run is done with its window."""
        self.say(wire.FenceClosed(seq=self.seq(), at=now(), window=window, takeover=takeover))

    async def answer(self) -> wire.SidecarMessage:
        """The next command."""
        return await self.commands.get()

    async def is_approved(self, file: Path, fence: str, window: str = "w1", ask: str = "0.1") -> wire.Approve:
        """Ask, and hear yes."""
        self.ask(file, fence, window, ask)
        answer = await self.answer()
        assert isinstance(answer, wire.Approve)
        return answer

    async def is_refused(self, file: Path, fence: str, window: str = "w1", ask: str = "0.1") -> wire.Refuse:
        """Ask, and hear no."""
        self.ask(file, fence, window, ask)
        answer = await self.answer()
        assert isinstance(answer, wire.Refuse)
        return answer

    async def hang_up(self) -> None:
        """Close the link."""
        await super().hang_up()
        await self._task


@contextmanager
def impatient() -> Iterator[None]:
    """Meanwhile a silent process is waited for no longer than in real life: for tests in which it stays silent."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(questions, "SYNC_SECONDS", SYNC_SECONDS)
        yield


@dataclass
class Desk:
    """The driver and all that it needs."""

    file: Path
    path: Path
    sinks: Sinks
    engine: Engine
    driver: Driver
    links: OpenLinks
    losses: Counter[str]
    gateways: list[Gateway] = field(default_factory=list)

    async def link(self, *, reload: bool = False) -> Gateway:
        """One more gateway, welcomed."""
        gateway = Gateway(*await asyncio.open_unix_connection(self.path))
        self.gateways.append(gateway)
        gateway.say(gateway.hello())
        assert isinstance(await gateway.answer(), wire.Welcome)
        gateway.say(wire.AdapterFound(seq=gateway.seq(), at=AT, adapter="swap", reload=reload))
        return gateway

    async def said(self) -> None:
        """Wait until everything that was said on any link has been taken in."""
        for session in self.links.open_sessions():
            deaf = [g for g in self.gateways if g.deaf]
            if not deaf:
                assert await session.sync(10)

    @property
    def incident(self) -> Incident:
        """The last incident as it was saved."""
        return self.sinks.saved[-1]


@asynccontextmanager
async def desk(place: Path, mode: Mode = Mode.RECOVER) -> AsyncIterator[Desk]:
    """A desk at work on one session file."""
    sinks, links, losses = Sinks(), OpenLinks(), Counter[str]()
    engine = Engine(Policy(), mode)
    driver = Driver(engine, sinks, sinks, sinks, links, lambda: None, time.time_ns)

    def lose(loss: Loss, reason: Reason, file: str = "") -> None:
        losses[loss.value] += 1
        driver.handle(AccountBroken(loss=loss, reason=reason, at_ns=time.time_ns(), file=file))

    known_gateways = KnownGateways(links, place)
    tools = AgentTools(known_gateways.roots)
    link_intake = LinkIntake(
        driver, known_gateways, sinks, time.time_ns, lose, lambda: None, lambda _transcript: None, tools
    )
    server = LinkServer(place / "s.sock", link_intake, Believing(), links, version="1", mode=mode.value)
    await server.start()
    opened = Desk(place / "sessions" / "s.jsonl", place / "s.sock", sinks, engine, driver, links, losses)
    opened.file.write_bytes(HEADER)
    try:
        yield opened
    finally:
        await driver.stop()
        await server.stop()
        for gateway in opened.gateways:
            await gateway.hang_up()


@asynccontextmanager
async def fenced(place: Path, mode: Mode = Mode.RECOVER) -> AsyncIterator[tuple[Desk, Gateway, str]]:
    """A desk, the fenced run's process, and its fence."""
    async with desk(place, mode) as stage:
        gateway = await stage.link()
        fence = gateway.fence(stage.file)
        await stage.said()
        yield stage, gateway, fence


@asynccontextmanager
async def fenced_beside_another(place: Path) -> AsyncIterator[tuple[Desk, Gateway, Gateway, str]]:
    """A desk, the fenced run's process, another one, and the fence."""
    async with desk(place) as stage:
        gateway, other = await stage.link(), await stage.link()
        fence = gateway.fence(stage.file)
        await stage.said()
        yield stage, gateway, other, fence


@asynccontextmanager
async def fenced_beside_a_silent_one(place: Path) -> AsyncIterator[tuple[Desk, Gateway, Gateway, str]]:
    """The same, and the other process leaves the sidecar waiting for its word."""
    async with fenced_beside_another(place) as (stage, gateway, silent, fence):
        silent.deaf = True
        yield stage, gateway, silent, fence


async def recover(stage: Desk, gateway: Gateway, fence: str) -> None:
    """A co-tenant writes, and the run's fence is moved across it."""
    gateway.append(stage.file, "note")
    await gateway.is_approved(stage.file, fence)
    gateway.applied(stage.file, fence, "note")
    await stage.said()


def record(record_id: str, parent_id: str, text: str = "") -> bytes:
    """A line of a session file."""
    said = {"message": {"role": "assistant", "content": text}} if text else {}
    return json.dumps({"type": "message", "id": record_id, "parentId": parent_id, **said}).encode() + b"\n"


def lock_file(file: Path, pid: int) -> None:
    """What a session's lock file says while a process holds the lock."""
    file.with_name(f"{file.name}.lock").write_text(json.dumps({"pid": pid, "createdAt": "2026-01-01T00:00:00.000Z"}))


def foreign_append(file: Path, data: bytes = FOREIGN) -> None:
    """What nobody in a gateway wrote."""
    with file.open("ab") as out:
        out.write(data)


def now() -> str:
    """The time, as the wire has it."""
    return str(time.time_ns())


def _numbered(message: wire.GatewayMessage, seq: int) -> wire.GatewayMessage:
    numbered: wire.GatewayMessage = msgspec.structs.replace(message, seq=seq)
    return numbered

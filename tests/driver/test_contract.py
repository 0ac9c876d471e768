"""The core is driven by docs/driving-the-core.md alone, and the driver comes to the same."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

import pytest

from sidecar.core import decisions as de
from sidecar.core import events as ev
from sidecar.core.custody.lineage import off_path
from sidecar.core.engine import Engine
from sidecar.core.facts.change import Change, Operation
from sidecar.core.facts.content import Snapshot
from sidecar.core.facts.writer import Writer
from sidecar.core.policy.policy import Mode, Policy
from sidecar.core.replay.recorder import Recorder
from sidecar.core.verdict.incident import Incident, Outcome, Subject
from sidecar.core.verdict.judge import Verdict
from sidecar.driver.driver import Driver
from sidecar.watch.reading import take_snapshot
from sidecar.watch.records import parse_records
from tests.core.kit import (
    CRON,
    LINK,
    OWN,
    WAITED_NS,
    WINDOW,
    Disk,
    applied,
    asked,
    digest,
    fence_set,
    gateway,
    timed_out,
    tripped,
)
from tests.driver.kit import FOREIGN, HEADER, Sinks, record


class SmallDriver:
    """Written from the page: files in memory, a store that is a list. Numbers are the page's."""

    def __init__(self) -> None:
        self.file = "/s/s.jsonl"
        self.core = Engine(Policy(), Mode.RECOVER)
        self.disk = Disk(HEADER)
        self.recorder = Recorder(self.core)
        self.saved: list[Incident] = []
        self.sent: list[de.Command] = []
        self.full = False
        self._queue: deque[ev.Event] = deque()
        self._unsaved: dict[str, Incident] = {}

    async def tell(self, event: ev.Event) -> None:
        self._queue.append(event)
        while self._queue:
            brought = self._one(self._queue.popleft())
            self._queue.extendleft(reversed(brought))  # 6

    def _one(self, event: ev.Event) -> list[ev.Event]:
        decisions = self.recorder.handle(event)  # 1
        self.sent += [d for d in decisions if isinstance(d, de.Withdraw)]  # 2
        kept = self._commit([d.incident for d in decisions if isinstance(d, de.SaveIncident)])  # 3
        brought: list[ev.Event] = []
        for decision in decisions:  # 4
            match decision:
                case de.Approve() | de.AnswerWait(granted=True) if not kept:  # 14
                    brought.append(
                        ev.CommandWithheld(link=LINK, window=decision.window, ask=decision.ask, at_ns=time.time_ns())
                    )
                case de.GrantPatience() if not kept:  # 14
                    pass
                case de.Approve() | de.AnswerWait() | de.Refuse() | de.GrantPatience() | de.EndPatience():  # 13
                    self.sent.append(decision)
                case de.ReadFile():  # 10: one link, and it has said all
                    brought.append(
                        ev.SnapshotTaken(
                            file=self.file, snapshot=self.snapshot, at_ns=time.time_ns(), settled=decision.settle
                        )
                    )
                case de.CheckLineage():
                    missing = off_path(parse_records(self.disk.data.splitlines(keepends=True))[0], decision.records)
                    brought.append(ev.LineageChecked(window=decision.window, missing=missing, at_ns=time.time_ns()))
                case _:
                    pass
        return brought

    def _commit(self, incidents: list[Incident]) -> bool:
        self._unsaved |= {incident.incident_id: incident for incident in incidents}  # 15
        if self.full:
            return not incidents
        self.saved += self._unsaved.values()
        self._unsaved.clear()
        return True

    def append(self, data: bytes) -> None:
        self.disk.append(data)

    @property
    def snapshot(self) -> Snapshot:
        return self.disk.snapshot


class Driven:
    """The driver of the sidecar, on a real file, with a link that only listens."""

    name = LINK

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = str(path)
        path.write_bytes(HEADER)
        self.core = Engine(Policy(), Mode.RECOVER)
        self.sinks = Sinks()
        self.sent: list[de.Command] = []
        self.driver = Driver(self.core, self.sinks, self.sinks, self.sinks, self, lambda: None, time.time_ns)

    def open_sessions(self) -> list[Driven]:
        return [self]

    async def sync(self, bound_seconds: float) -> bool:
        return bound_seconds > 0

    def command(self, command: de.Command) -> bool:
        self.sent.append(command)
        return True

    async def tell(self, event: ev.Event) -> None:
        if isinstance(event, ev.FenceClosed):
            self.driver.closed(event)
        else:
            self.driver.handle(event)
        while self.driver._reads._under_way or self.driver._tasks._tasks:  # noqa: ASYNC110 - both say so to nobody
            await asyncio.sleep(0)

    @property
    def saved(self) -> list[Incident]:
        return self.sinks.saved

    @property
    def full(self) -> bool:
        return self.sinks.full

    @full.setter
    def full(self, full: bool) -> None:
        self.sinks.full = full

    def append(self, data: bytes) -> None:
        with self.path.open("ab") as out:
            out.write(data)

    @property
    def snapshot(self) -> Snapshot:
        return take_snapshot(self.path)


class Stage(Protocol):
    """What a story needs of a driver."""

    file: str
    core: Engine
    sent: list[de.Command]
    full: bool

    async def tell(self, event: ev.Event) -> None: ...

    def append(self, data: bytes) -> None: ...

    @property
    def snapshot(self) -> Snapshot: ...

    @property
    def saved(self) -> list[Incident]: ...


async def fence(stage: Stage) -> None:
    now_ns = time.time_ns()
    if not stage.core.gateways:
        await stage.tell(ev.LinkOpened(gateway=gateway(), at_ns=now_ns))
    await stage.tell(fence_set(stage.snapshot.fingerprint, now_ns, file=stage.file))


async def write(stage: Stage, writer: Writer, data: bytes, number: int) -> None:
    before = stage.snapshot.fingerprint
    stage.append(data)
    change = Change(
        change_id=f"c{number}",
        operation=Operation.APPEND,
        writer=writer,
        at_ns=time.time_ns(),
        length=len(data),
        sha256=digest(data),
        offset=before.size,
        before=before,
        after=stage.snapshot.fingerprint,
        link=LINK,
        began=number,
        ended=number,
    )
    await stage.tell(ev.FileChanged(file=stage.file, change=change))


async def ask(stage: Stage, number: int = 1) -> None:
    [window] = stage.core.windows
    now_ns, name = time.time_ns(), f"a{number}"
    await stage.tell(asked(window.fence, stage.snapshot, now_ns, ask=name, file=stage.file))


async def close(stage: Stage, *, takeover: bool = False) -> None:
    await stage.tell(ev.FenceClosed(window=WINDOW, takeover=takeover, at_ns=time.time_ns()))


async def trip(stage: Stage) -> None:
    [window] = stage.core.windows
    await stage.tell(tripped(window.fence, stage.snapshot, time.time_ns(), file=stage.file))


async def apply(stage: Stage, parent: str) -> None:
    """The fence is moved, and the run adds its answer to the record that it took for the last."""
    approve = stage.sent[-1]
    assert isinstance(approve, de.Approve)
    await stage.tell(applied(approve, time.time_ns(), "note"))
    await fence(stage)
    await write(stage, OWN, record("answer", parent), 2)
    await fence(stage)
    await close(stage)


async def cotenant_recovered(stage: Stage) -> None:
    await fence(stage)
    await write(stage, CRON, record("note", "first"), 1)
    await ask(stage)
    await apply(stage, "note")


async def lineage_forked(stage: Stage) -> None:
    await fence(stage)
    await write(stage, CRON, record("note", "first"), 1)
    await ask(stage)
    await apply(stage, "first")


async def takeover(stage: Stage) -> None:
    await fence(stage)
    stage.append(FOREIGN)
    await ask(stage)
    await trip(stage)
    await close(stage, takeover=True)


async def lock_waited_for(stage: Stage) -> None:
    await fence(stage)
    now_ns = time.time_ns()
    await stage.tell(ev.LockTaken(link=LINK, file=stage.file, hold="h1", writer=CRON, wait_ns=1, at_ns=now_ns))
    [window] = stage.core.windows
    out_ns = now_ns + WAITED_NS
    await stage.tell(timed_out(window.fence, stage.snapshot, out_ns, file=stage.file))
    await stage.tell(ev.LockWaitEnded(window=WINDOW, had=True, waited_ns=WAITED_NS + 1, at_ns=out_ns + 1))
    await close(stage)


async def disk_full_for_a_moment(stage: Stage) -> None:
    await fence(stage)
    await write(stage, CRON, record("note", "first"), 1)
    stage.full = True
    await ask(stage)
    stage.full = False
    await ask(stage, 2)
    await apply(stage, "note")


Facts = tuple[Verdict, Outcome, bool, tuple[Subject, ...]]
STORIES: Final[dict[Callable[[Stage], Awaitable[None]], tuple[list[str], Facts]]] = {
    cotenant_recovered: (["Approve"], (Verdict.CO_TENANT, Outcome.EFFECTIVE, False, ())),
    lineage_forked: (["Approve"], (Verdict.CO_TENANT, Outcome.INEFFECTIVE, False, (Subject.RECOVERY,))),
    takeover: (["Refuse"], (Verdict.EXTERNAL, Outcome.REFUSED, True, (Subject.TAKEOVER,))),
    lock_waited_for: (["AnswerWait"], (Verdict.UNCHANGED, Outcome.EFFECTIVE, False, ())),
    disk_full_for_a_moment: (["Refuse", "Approve"], (Verdict.CO_TENANT, Outcome.EFFECTIVE, False, ())),
}


@asynccontextmanager
async def driven(by: str, place: Path) -> AsyncIterator[Stage]:
    if by == "page":
        yield SmallDriver()
        return
    stage = Driven(place / "sessions" / "s.jsonl")
    yield stage
    await stage.driver.stop()


@pytest.mark.parametrize("by", ["page", "driver"])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_the_page_and_the_driver_come_to_the_same(
    place: Path, by: str, story: Callable[[Stage], Awaitable[None]]
) -> None:
    commands, facts = STORIES[story]
    async with driven(by, place) as stage:
        await story(stage)
    last = stage.saved[-1]
    assert [type(command).__name__ for command in stage.sent] == commands
    assert (last.verdict, last.recovery.outcome, last.turn_lost, last.paged_for) == facts
    assert last.closed_at_ns

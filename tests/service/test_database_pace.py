"""When a database is looked at that gateways write to all the time, and that to look at takes long."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from sidecar.core import events as ev
from sidecar.driver.commits import Commits
from sidecar.intake import databases
from sidecar.intake.databases import DatabaseIntake

DATABASE = "/state/agents/main/agent/openclaw-agent.sqlite"
PATIENCE_SECONDS = 30.0


def state(commits: int) -> bytes:
    """The header of ``-shm`` after so many commits."""
    return b"x" * 8 + commits.to_bytes(4, sys.byteorder) + b"x" * 84


@dataclass
class Desk:
    """In place of the driver: a database with a window, and what it is told of it."""

    commits_made: int = 1
    commits_told: int = 1
    reading_seconds: float = 1.0
    told: list[float] = field(default_factory=list)
    fenced: set[str] = field(default_factory=set)

    def commit(self, *, told: bool) -> None:
        self.commits_made += 1
        self.commits_told += told

    def is_fenced(self, file: str) -> bool:
        return file in self.fenced

    def fenced_databases(self) -> set[str]:
        return {DATABASE}

    def commits(self, database: str) -> Commits:
        assert database == DATABASE
        return Commits(state(self.commits_made), self.commits_told, self.reading_seconds)

    def handle(self, event: ev.Event) -> None:
        assert isinstance(event, ev.DatabaseChanged)
        self.told.append(time.monotonic())

    async def wait(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.told) < count:  # noqa: ASYNC110 - timers of the intake
                await asyncio.sleep(0.01)


@asynccontextmanager
async def looking(desk: Desk) -> AsyncIterator[DatabaseIntake]:
    """The intake, with the first look behind it."""
    intake = DatabaseIntake(desk, time.time_ns, lambda: None, lambda _directory: None)
    intake.spoken_of(f"{DATABASE}#s")
    try:
        await desk.wait(1)
        yield intake
    finally:
        intake.stop()


async def test_a_commit_that_no_gateway_has_told_of_waits_for_no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "LONGEST_PAUSE_SECONDS", 10 * PATIENCE_SECONDS)
    desk = Desk(reading_seconds=10 * PATIENCE_SECONDS)
    async with looking(desk):
        desk.commit(told=True)
        desk.commit(told=False)
        await desk.wait(2)


async def test_commits_that_gateways_have_told_of_are_looked_at_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "LONGEST_PAUSE_SECONDS", 1.0)
    desk = Desk()
    async with looking(desk):
        for _ in range(5):
            desk.commit(told=True)
            await asyncio.sleep(0.02)
        await desk.wait(2)
        assert desk.told[1] - desk.told[0] > 0.9


async def test_where_a_look_costs_little_each_commit_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "LONGEST_PAUSE_SECONDS", 10 * PATIENCE_SECONDS)
    desk = Desk(reading_seconds=0.0)
    async with looking(desk):
        for number in range(3):
            desk.commit(told=True)
            await desk.wait(2 + number)


async def test_a_commit_that_was_looked_at_before_a_window_was_heard_of_is_looked_at_again() -> None:
    """A stranger's commit can be seen ahead of the gateway's report of its fence."""
    desk = Desk(fenced={f"{DATABASE}#s"})
    async with looking(desk) as intake:
        intake.spoken_of(f"{DATABASE}#other")
        await desk.wait(2)


async def test_a_fence_that_moves_has_nothing_looked_at_again() -> None:
    desk = Desk(fenced={f"{DATABASE}#s"})
    async with looking(desk) as intake:
        intake.spoken_of(f"{DATABASE}#s")
        desk.commit(told=True)
        await desk.wait(2)
        assert len(desk.told) == 2


@pytest.mark.parametrize(
    ("before", "after", "told", "unaccounted"),
    [
        (state(1), state(3), 2, False),
        (state(1), state(3), 1, True),
        (state(1), state(3), 5, False),
        (state((1 << 32) - 1), state(1), 2, False),
        (state((1 << 32) - 1), state(1), 1, True),
        (state(9), state(1), 8, True),  # the index was made anew: nothing is known of what lies between
        (b"", state(1), 99, True),
        (state(1), b"", 99, True),
    ],
)
def test_a_commit_is_a_strangers_until_gateways_have_told_of_as_many(
    before: bytes, after: bytes, told: int, *, unaccounted: bool
) -> None:
    assert Commits(after).unaccounted(Commits(before, 10), 10 + told) is unaccounted

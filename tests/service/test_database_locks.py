"""Who holds a database, told to the core: real processes that hold real SQLite files, and a clock of the test's own."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sidecar.core import events as ev
from sidecar.core.engine import Engine
from sidecar.core.facts.database import LockKind
from sidecar.core.facts.gateway import Gateway
from sidecar.core.facts.rows import RowVersion
from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.core.policy.policy import Mode, Policy
from sidecar.intake.database_locks import LONG_HOLD_NS, MOMENT_NS, DatabaseLockIntake
from sidecar.watch.database.lock_holders import LOCKS, LockTableReader
from sidecar.watch.identity import started
from tests.core.kit import LINK, RUN, WINDOW
from tests.watch.test_database import make
from tests.watch.test_lock_holders import READ, holding


@dataclass
class Room:
    """A core with a gateway, a database that it has open, and who looks at its locks."""

    database: str
    gateway: int
    now_ns: int = 1_000 * NS_PER_SECOND
    told: list[ev.Event] = field(default_factory=list)
    table: LockTableReader = field(default_factory=LockTableReader)
    engine: Engine = field(default_factory=lambda: Engine(Policy(), Mode.RECOVER))

    def __post_init__(self) -> None:
        self.intake = DatabaseLockIntake(
            self.handle, self.engine, lambda: [self.database], lambda: self.now_ns, self.table
        )
        linked = Gateway(LINK, self.gateway, "2026.9.6", started_at_ns=started(self.gateway))
        self.engine.handle(ev.LinkOpened(gateway=linked, at_ns=self.now_ns))

    def handle(self, event: ev.Event) -> None:
        self.told.append(event)
        self.engine.handle(event)

    def open_window(self) -> None:
        fence = RowVersion(exists=True, generation="g1", seq=2, digest="0" * 64)
        file = f"{self.database}#s"
        self.engine.handle(ev.FenceSet(link=LINK, window=WINDOW, file=file, fence=fence, run=RUN, at_ns=self.now_ns))

    def look(self, after_ns: int = 0) -> list[ev.Event]:
        """What a look tells that is made so long after the last one."""
        self.now_ns += after_ns
        self.told.clear()
        self.intake.look()
        return list(self.told)

    def problems(self) -> list[str]:
        return [problem.what for problem in self.intake.problems()]


@pytest.fixture
def database(tmp_path: Path) -> str:
    return str(make(tmp_path / "openclaw-agent.sqlite"))


def test_a_stranger_that_holds_the_database_is_told_when_it_comes_and_when_it_goes(database: str) -> None:
    with holding(database, "SELECT 1 FROM transcript_events") as gateway:
        room = Room(database, gateway)
        assert room.look() == []
        with holding(database, "BEGIN IMMEDIATE") as pid:
            [held] = room.look(NS_PER_SECOND)
            assert isinstance(held, ev.DatabaseHeld)
            hold = held.hold
            assert (hold.process.pid, hold.process.started_at_ns, hold.kind) == (pid, started(pid), LockKind.WRITE)
            assert (hold.process.uid, hold.command.startswith("python")) == (os.geteuid(), True)
            assert (hold.since_ns, hold.until_ns) == (room.now_ns, 0)
            assert room.look(NS_PER_SECOND) == []
            assert room.intake.foreign_hold_seconds() == 1
        [gone] = room.look(NS_PER_SECOND)
        assert isinstance(gone, ev.DatabaseHeld)
        assert gone.hold.until_ns == hold.since_ns + NS_PER_SECOND, "it was seen last at the look before"
        assert room.intake.foreign_hold_seconds() == 0
        assert room.look() == []


def test_it_is_a_problem_after_a_while_where_a_turn_is_under_way(database: str) -> None:
    with holding(database, "SELECT 1 FROM transcript_events") as gateway, holding(database, "BEGIN IMMEDIATE") as pid:
        room = Room(database, gateway)
        room.look()
        room.look(2 * LONG_HOLD_NS)
        assert room.problems() == [], "no turn is under way"
        room.open_window()
        [what] = room.problems()
        assert what.startswith(f"process {pid} (python")
        assert f"has held {database} for writing for 4.0 s" in what
        room.now_ns -= LONG_HOLD_NS
        assert room.problems() == []


def test_the_gateways_own_hold_is_no_problem(database: str) -> None:
    with holding(database, "BEGIN IMMEDIATE") as gateway:
        room = Room(database, gateway)
        room.open_window()
        assert room.look() == [], "it may be a moment"
        assert len(room.look(MOMENT_NS)) == 1
        room.look(2 * LONG_HOLD_NS)
        assert room.problems() == []
        assert room.intake.foreign_hold_seconds() == 0


def test_a_reader_keeps_nobody_from_writing_and_is_not_told(database: str) -> None:
    with holding(database, "SELECT 1 FROM transcript_events") as gateway, holding(database, *READ):
        room = Room(database, gateway)
        assert room.look() == room.look(2 * LONG_HOLD_NS) == []


def test_holders_that_cannot_be_seen_are_said_once(database: str, tmp_path: Path) -> None:
    with holding(database, "BEGIN IMMEDIATE") as gateway:
        (tmp_path / "locks").write_text("")
        room = Room(database, gateway, table=LockTableReader(tmp_path / "locks"))
        [hidden] = room.look()
        assert hidden == ev.HoldersHidden(database=database, hidden=True, at_ns=room.now_ns)
        assert room.engine.database_locks.is_hidden(database)
        assert room.look() == []
        (tmp_path / "locks").write_bytes(LOCKS.read_bytes())
        assert [type(event) for event in room.look()] == [ev.HoldersHidden]
        assert not room.engine.database_locks.is_hidden(database)


def test_where_one_gateway_is_in_another_pid_namespace_who_holds_a_database_is_not_known(database: str) -> None:
    """Its locks are missing in the kernel's table, and a process here that has its id there is not the gateway."""
    with holding(database, "BEGIN IMMEDIATE") as pid:
        room = Room(database, 0)
        elsewhere = Gateway(LINK, pid, "2026.9.6", pids=(0, pid))
        room.engine.handle(ev.LinkOpened(gateway=elsewhere, at_ns=room.now_ns))
        told = room.look()
        assert [type(event) for event in told] == [ev.DatabaseHeld, ev.HoldersHidden]
        assert room.engine.database_locks.is_hidden(database)
        assert [hold.process.pid for _, hold in room.engine.database_locks.foreign()] == [pid]


def test_a_database_that_is_closed_hides_nobody(database: str) -> None:
    room = Room(database, os.getpid())
    assert room.look() == []


def test_who_has_the_database_open_for_writing_while_somebody_changes_it_is_told_and_a_reader_is_not(
    database: str,
) -> None:
    with holding(database, "SELECT 1 FROM transcript_events") as gateway:
        room = Room(database, gateway)
        with holding(f"file:{database}?mode=ro", "SELECT 1 FROM transcript_events"):
            room.intake.touched()
            assert room.told == [], "no turn is under way"
            room.open_window()
            with holding(database, "SELECT 1 FROM transcript_events") as pid:
                room.intake.touched()
                [held] = room.told
                assert isinstance(held, ev.DatabaseHeld)
                assert (held.hold.process.pid, held.hold.kind, held.hold.until_ns) == (pid, LockKind.OPEN, 0)
                room.intake.touched()
                assert room.look() == []
            [gone] = room.look()
            assert isinstance(gone, ev.DatabaseHeld)
            assert gone.hold.until_ns

"""Early warnings of databases: real SQLite files and real processes, and a clock of the test's own."""

import asyncio
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.service import database_record
from sidecar.service.database_health import DatabaseHealth
from sidecar.service.database_record import STAY_NS, WAL_LIMIT_BYTES
from sidecar.status import Problem
from sidecar.watch.database.lock_holders import LOCKS, LockTableReader
from sidecar.watch.identity import start_ticks
from tests.namespaces import UNSHARE, child_of, need_namespaces
from tests.processes import waiting
from tests.service.kit import Place
from tests.watch.test_database import make
from tests.watch.test_lock_holders import READ, holding

SOON_SECONDS = 60.0
OPEN = "SELECT 1 FROM transcript_events"


@dataclass
class Room:
    """A state directory with a database, and who looks after it."""

    state_dir: Path
    now_ns: int = 1_000 * NS_PER_SECOND
    gateways: set[int] = field(default_factory=set)
    table: LockTableReader = field(default_factory=LockTableReader)

    def __post_init__(self) -> None:
        self.database = str(make(self.agent("main") / "openclaw-agent.sqlite"))
        (self.state_dir / "state").mkdir()
        self.health = DatabaseHealth(self.state_dir, lambda: self.gateways, lambda: self.now_ns, self.table)

    def agent(self, name: str) -> Path:
        directory = self.state_dir / "agents" / name / "agent"
        directory.mkdir(parents=True)
        return directory

    async def search(self, after_ns: int = 0) -> dict[str, str]:
        """What is wrong at a search that is made so long after the last one, by code."""
        self.now_ns += after_ns
        await self.health.search()
        return self.problems()

    def look(self, after_ns: int = 0) -> dict[str, str]:
        """The same of a look at what is known."""
        self.now_ns += after_ns
        self.health.look()
        return self.problems()

    def problems(self) -> dict[str, str]:
        found: list[Problem] = list(self.health.problems())
        assert all(problem.remedy for problem in found)
        assert set(self.health.status().troubles) == {p.code.removeprefix("database_") for p in found}
        return {problem.code: problem.what for problem in found}


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    monkeypatch.setattr(database_record, "_LEAST_FREE_BYTES", 0)  # a test's disk may be as full as it likes
    return Room(Path(os.path.realpath(tmp_path)) / "state")


def remove(path: str) -> None:
    """Remove a file under whoever has it open."""
    Path(path).unlink()


def restore(database: str) -> None:
    """Put a copy in the place of a database."""
    shutil.copyfile(database, f"{database}.restored")
    Path(database).rename(f"{database}.before")
    Path(f"{database}.restored").rename(database)


def grow_wal(database: str, size: int) -> None:
    """A WAL of that size, as far as stat can tell."""
    os.truncate(f"{database}-wal", size)


async def test_a_database_that_is_well_is_no_problem(room: Room) -> None:
    with holding(room.database, OPEN) as gateway:
        room.gateways = {gateway}
        assert await room.search() == {}
        assert await room.search(10 * STAY_NS) == {}
    status = room.health.status()
    assert (status.count, status.size_bytes, status.hidden) == (1, os.stat(room.database).st_size, 0)  # noqa: PTH116


async def test_a_state_directory_without_databases_is_no_problem(tmp_path: Path) -> None:
    health = DatabaseHealth(tmp_path, set, lambda: 0)
    await health.search()
    assert (list(health.problems()), health.status().count) == ([], 0)


async def test_a_wal_that_grows_and_does_not_shrink_is_told_with_who_reads_it(room: Room) -> None:
    with holding(room.database, OPEN) as gateway, holding(room.database, *READ) as reader:
        room.gateways = {gateway, reader}
        await room.search()
        grow_wal(room.database, WAL_LIMIT_BYTES + 1)
        assert room.look(NS_PER_SECOND) == {}
        grow_wal(room.database, WAL_LIMIT_BYTES + 1_000_000)
        told = room.look(STAY_NS)
        assert list(told) == ["database_wal_growth"]
        assert f"process {reader} (python" in told["database_wal_growth"]
        assert "68.1 MB and has not shrunk for 60 s" in told["database_wal_growth"]
        assert room.health.status().wal_bytes == WAL_LIMIT_BYTES + 1_000_000
        grow_wal(room.database, WAL_LIMIT_BYTES + 500_000)
        assert room.look(NS_PER_SECOND) == {}  # it was begun anew


async def test_where_nobody_reads_it_those_who_have_it_open_are_named(room: Room) -> None:
    with holding(room.database, OPEN) as gateway:
        room.gateways = {gateway}
        await room.search()
        grow_wal(room.database, WAL_LIMIT_BYTES + 1)
        room.look()
        grow_wal(room.database, WAL_LIMIT_BYTES + 2)
        assert f"it is open in process {gateway} (" in room.look(STAY_NS)["database_wal_growth"]


async def test_a_wal_that_one_great_transaction_has_made_long_is_no_problem(room: Room) -> None:
    with holding(room.database, OPEN) as gateway:
        room.gateways = {gateway}
        await room.search()
        grow_wal(room.database, 4 * WAL_LIMIT_BYTES)
        room.look()
        assert room.look(10 * STAY_NS) == {}


@pytest.mark.parametrize("suffix", ["-wal", "-shm", ""])
async def test_a_file_that_is_removed_under_a_process_is_told_at_once(room: Room, suffix: str) -> None:
    """Within the time that it takes to make sure; with a clock that goes on."""
    health = DatabaseHealth(room.state_dir, lambda: room.gateways, lambda: int(asyncio.get_running_loop().time() * 1e9))
    room.health = health
    with holding(room.database, *READ) as gateway, capture_logs() as logged:
        room.gateways = {gateway}
        await health.start()
        try:
            assert room.problems() == {}
            remove(f"{room.database}{suffix}")
            async with asyncio.timeout(SOON_SECONDS):
                while "database_split" not in {line["event"] for line in logged}:  # noqa: ASYNC110 - of another thread
                    await asyncio.sleep(0.01)
        finally:
            health.stop()
    [(code, what)] = room.problems().items()
    assert code == "database_split"
    assert what.startswith(f"process {gateway}")
    assert f"{room.database}{suffix} that was removed or replaced" in what
    [said] = [line for line in logged if line["event"] == "database_split"]
    assert (said["pid"], said["file"]) == (gateway, f"{room.database}{suffix}")


async def test_it_is_told_until_that_process_is_gone(room: Room) -> None:
    with holding(room.database, *READ) as gateway:
        room.gateways = {gateway}
        await room.search()
        remove(f"{room.database}-wal")
        assert await room.search() == {}  # the last one to close removes it too
        assert list(await room.search(NS_PER_SECOND)) == ["database_split"]
        assert room.health.status().troubles == {"split": 1}
    assert await room.search() == {}


async def test_a_database_that_is_replaced_under_a_process_is_told(room: Room) -> None:
    with holding(room.database, *READ) as gateway:
        room.gateways = {gateway}
        await room.search()
        restore(room.database)
        await room.search()
        assert list(await room.search(NS_PER_SECOND)) == ["database_split"]


async def test_who_closes_a_database_last_splits_nothing(room: Room) -> None:
    with holding(room.database, *READ):
        await room.search()
    assert "openclaw-agent.sqlite-wal" not in os.listdir(os.path.dirname(room.database))  # noqa: PTH120, PTH208
    await room.search()
    assert await room.search(NS_PER_SECOND) == {}


async def test_a_stranger_that_keeps_a_database_open_is_told_and_one_that_comes_and_goes_is_not(room: Room) -> None:
    with holding(room.database, OPEN) as gateway:
        room.gateways = {gateway}
        for _ in range(3):
            with holding(room.database, OPEN):
                assert await room.search(STAY_NS) == {}
        with holding(room.database, OPEN) as stranger:
            assert await room.search() == {}
            told = await room.search(STAY_NS)
            assert list(told) == ["database_stranger"]
            assert told["database_stranger"].startswith(f"process {stranger} (python")
            assert told["database_stranger"].endswith("open for 60 s")
        assert await room.search(NS_PER_SECOND) == {}


@contextmanager
def shared(room: Room) -> Iterator[sqlite3.Connection]:
    """The database that agents share, with the leases of 2026.9.6."""
    path = room.state_dir / "state" / "openclaw.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(
            "CREATE TABLE agent_database_leases (lease_id TEXT PRIMARY KEY, agent_id TEXT NOT NULL, path TEXT NOT NULL,"
            " owner_pid INTEGER NOT NULL, owner_start_time INTEGER, opened_at INTEGER NOT NULL) STRICT"
        )
        yield connection


async def test_whoever_has_a_lease_is_no_stranger_and_its_successor_is_one(room: Room) -> None:
    with holding(room.database, OPEN) as pid, shared(room) as connection:
        lease = "INSERT OR REPLACE INTO agent_database_leases VALUES ('l', 'main', '/x', ?, ?, 0)"
        connection.execute(lease, (pid, start_ticks(pid)))
        await room.search()
        assert await room.search(STAY_NS) == {}
        connection.execute(lease, (pid, 1))  # of a process that had this id before
        await room.search()
        assert list(await room.search(STAY_NS)) == ["database_stranger"]


OPENER = """
import sqlite3, sys
opened = sqlite3.connect(sys.argv[1])
opened.execute("SELECT 1 FROM transcript_events").fetchall()
print(flush=True)
sys.stdin.read()
"""


async def test_a_lease_names_its_owner_by_the_id_in_its_own_pid_namespace(room: Room) -> None:
    need_namespaces()
    with waiting(*UNSHARE, sys.executable, "-c", OPENER, room.database) as pid, shared(room) as connection:
        start = start_ticks(child_of(pid))
        lease = "INSERT OR REPLACE INTO agent_database_leases VALUES ('l', 'main', '/x', 1, ?, 0)"
        connection.execute(lease, (start,))
        await room.search()
        assert await room.search(STAY_NS) == {}
        for another in (None, 1):  # it may be any first process of any namespace; another one
            connection.execute(lease, (another,))
            await room.search()
            assert list(await room.search(STAY_NS)) == ["database_stranger"]


async def test_of_a_gateway_that_can_not_be_seen_it_is_not_known_what_it_has_open(room: Room) -> None:
    with holding(room.database, OPEN):
        await room.search()
        assert room.health.status().hidden == 0
        room.gateways.add(0)
        room.look()
        assert room.health.status().hidden == 1


STARTER = """
import subprocess, sys
child = subprocess.Popen([sys.executable, sys.argv[1], sys.argv[2]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.readline()
child.stdin.close()
child.wait()
"""


def started(script: Path, database: str) -> AbstractContextManager[int]:
    """A process that has started a program which has the database open; the pid of the first."""
    return waiting(sys.executable, "-c", STARTER, str(script), database)


@pytest.mark.parametrize(
    ("program", "told"),
    [("dist/infra/sqlite-readonly-location.worker.js", []), ("tools/probe.js", ["database_stranger"])],
)
async def test_a_gateways_own_helper_is_no_stranger_and_what_a_tool_has_started_is(
    room: Room, tmp_path: Path, program: str, told: list[str]
) -> None:
    script = tmp_path / program
    script.parent.mkdir(parents=True)
    script.write_text(
        "import sqlite3, sys\nconnection = sqlite3.connect(sys.argv[1])\n"
        "connection.execute('SELECT 1 FROM transcript_events').fetchall()\nprint(flush=True)\nsys.stdin.readline()\n"
    )
    with started(script, room.database) as gateway:
        room.gateways = {gateway}
        await room.search()
        assert list(await room.search(STAY_NS)) == told


async def test_a_full_disk_is_told_ahead_of_time(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_record, "_LEAST_FREE_BYTES", 1 << 60)
    told = await room.search()
    assert list(told) == ["database_disk_low"]
    assert room.database in told["database_disk_low"]


async def test_a_database_that_openclaw_has_found_damaged_is_told_and_so_is_the_end_of_it(room: Room) -> None:
    path = room.state_dir / "state" / "openclaw-quarantine.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE quarantined_databases (path TEXT PRIMARY KEY, kind, reason, quarantined_at)")
        assert await room.search() == {}
        connection.execute("INSERT INTO quarantined_databases VALUES (?, 'agent', 'secret', 0)", (room.database,))
        told = room.look()
        assert list(told) == ["database_quarantined"]
        assert room.database in told["database_quarantined"]
        assert "secret" not in json.dumps(told)
        connection.execute("DELETE FROM quarantined_databases")
        assert room.look() == {}


async def test_where_openers_are_in_another_pid_namespace_that_is_said_once_and_nobody_is_guessed(
    room: Room, tmp_path: Path
) -> None:
    locks = tmp_path / "locks"
    room.health = DatabaseHealth(room.state_dir, set, lambda: room.now_ns, LockTableReader(locks))
    with holding(room.database, *READ) as pid, capture_logs() as logged:
        locks.write_bytes(LOCKS.read_bytes().replace(f" {pid} ".encode(), b" 0 "))
        grow_wal(room.database, WAL_LIMIT_BYTES + 1)
        await room.search()
        grow_wal(room.database, WAL_LIMIT_BYTES + 2)
        assert room.look(STAY_NS)["database_wal_growth"].endswith("who has it open is not visible from here")
        assert room.health.status().hidden == 1
    assert [line["event"] for line in logged] == ["database_openers_not_visible"]


async def test_the_sidecar_says_it_in_its_status_and_counts_it(tmp_path: Path) -> None:
    place = Place(tmp_path)
    directory = tmp_path / "state" / "agents" / "main" / "agent"
    directory.mkdir()
    database = str(make(directory / "openclaw-agent.sqlite"))
    async with place.companion() as sidecar:
        with holding(database, *READ) as pid:
            remove(f"{database}-shm")
            status = await sidecar.wait_for(lambda status: status["databases"]["troubles"])
            [problem] = [p for p in status["problems"] if p["code"] == "database_split"]
            assert f"process {pid}" in problem["what"]
            assert status["databases"]["troubles"] == {"split": 1}
            metrics = await sidecar.metrics()
            [line] = [line for line in metrics.splitlines() if 'trouble="split"' in line]
            assert line.startswith("openclaw_sidecar_database_troubles{")
            assert line.endswith(" 1.0")

"""Who holds the locks of a database: real SQLite files, and real processes that hold them."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Final

import pytest

from sidecar.core.facts.database import LockKind
from sidecar.watch.database.lock_holders import Holders, LockTableReader
from sidecar.watch.filesystem import file_system_of
from tests.processes import waiting
from tests.watch.test_database import make

HOLD: Final = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, uri=True)
for statement in sys.argv[2:]:
    connection.execute(statement).fetchall()
print(flush=True)
sys.stdin.readline()
"""
READ: Final = ("BEGIN", "SELECT count(*) FROM transcript_events")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[str]:
    """A database that this process has open too."""
    path = make(tmp_path / "openclaw-agent.sqlite")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("SELECT 1 FROM transcript_events").fetchall()
        yield str(path)


def holding(database: str, *statements: str) -> AbstractContextManager[int]:
    """A process that has done these statements and holds what it got; its pid."""
    return waiting(sys.executable, "-c", HOLD, database, *statements)


def look(database: str) -> Holders:
    return LockTableReader().look([database])[database]


@pytest.mark.parametrize(
    ("statements", "kinds"),
    [
        pytest.param(("BEGIN IMMEDIATE",), {LockKind.WRITE, LockKind.READ_MARK, LockKind.OPEN}, id="write"),
        pytest.param(READ, {LockKind.READ_MARK, LockKind.OPEN}, id="read"),
        pytest.param(("SELECT 1 FROM transcript_events",), {LockKind.OPEN}, id="open"),
    ],
)
def test_a_process_is_seen_with_what_it_holds(database: str, statements: tuple[str, ...], kinds: set[LockKind]) -> None:
    with holding(database, *statements) as pid:
        found = look(database)
        assert {kind for kind, pids in found.pids.items() if pid in pids} == kinds
        assert not found.hidden
    assert look(database).pids == {}


def test_a_writer_and_a_reader_are_told_apart(database: str) -> None:
    with holding(database, "BEGIN IMMEDIATE") as writer, holding(database, *READ) as reader:
        found = look(database).pids
        assert found[LockKind.WRITE] == {writer}
        assert found[LockKind.READ_MARK] == {writer, reader}


def test_this_process_is_not_told_and_is_a_sign_that_others_would_be(database: str) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        assert look(database) == Holders()


def test_another_database_is_none_of_this_one(database: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = str(make(tmp_path / "other" / "openclaw-agent.sqlite"))
    with holding(other, "BEGIN IMMEDIATE") as pid:
        found = LockTableReader().look([database, other])
        assert found[database].pids == {}
        assert found[other].pids[LockKind.WRITE] == {pid}


def test_a_database_that_nobody_has_open_is_left_out(tmp_path: Path) -> None:
    database = str(make(tmp_path / "openclaw-agent.sqlite"))
    assert LockTableReader().look([database]) == {}


def test_where_nobody_can_be_seen_that_is_said(database: str, tmp_path: Path) -> None:
    for text in ("", "1: POSIX  ADVISORY  READ 0 00:00:1 128 128\n"):
        (tmp_path / "locks").write_text(text)
        assert LockTableReader(tmp_path / "locks").look([database])[database] == Holders(hidden=True)
    assert LockTableReader(tmp_path / "none").look([database])[database].hidden


def test_the_table_is_read_as_the_kernel_writes_it(database: str, tmp_path: Path) -> None:
    """Neighbouring bytes make one range, who waits has an arrow, and the device may be that of the mount."""
    found = Path(f"{database}-shm").stat()
    device = file_system_of(tmp_path).device
    (tmp_path / "locks").write_text(
        f"1: POSIX  ADVISORY  WRITE 11 {device}:{found.st_ino} 120 122\n"
        f"1: -> POSIX  ADVISORY  WRITE 12 {device}:{found.st_ino} 120 120\n"
        f"2: POSIX  ADVISORY  READ 0 {device}:{found.st_ino} 123 123\n"
        f"3: POSIX  ADVISORY  READ 13 {device}:{found.st_ino} 128 128\n"
        f"4: POSIX  ADVISORY  WRITE 14 {device}:{found.st_ino}7 120 120\n"
        f"5: POSIX  ADVISORY  WRITE 15 ff:ff:{found.st_ino} 120 120\n"
        f"6: FLOCK  ADVISORY  WRITE 16 {device}:{found.st_ino} 0 EOF\n"
        f"7: POSIX  ADVISORY  READ 17 {device}:{found.st_ino} 128 EOF\n"
    )
    holders = LockTableReader(tmp_path / "locks").look([database])[database]
    assert {kind: set(pids) for kind, pids in holders.pids.items()} == {
        LockKind.WRITE: {11},
        LockKind.CHECKPOINT: {11},
        LockKind.RECOVERY: {11},
        LockKind.OPEN: {13, 17},
    }


def test_a_process_in_another_pid_namespace_is_not_guessed_at(tmp_path: Path) -> None:
    database = make(tmp_path / "openclaw-agent.sqlite")
    code = (
        "import sys; from sidecar.watch.database.lock_holders import LockTableReader;"
        " print(LockTableReader().look(sys.argv[1:])[sys.argv[1]].hidden)"
    )
    with holding(str(database), "BEGIN IMMEDIATE"):
        done = subprocess.run(
            ("unshare", "-pf", "--mount-proc", sys.executable, "-c", code, str(database)),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        pytest.skip(f"no pid namespace can be made here: {done.stderr.strip()[:200]}")
    assert done.stdout == "True\n"

"""Who has files of a database open: real SQLite files, and real processes that work on them."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from sidecar.watch.database.open_files import Identity, OpenFiles, Stray, identity_of, open_files
from sidecar.watch.database.place import databases_of
from sidecar.watch.database.queries import lease_owners, quarantined
from tests.watch.test_database import make
from tests.watch.test_lock_holders import READ, holding

PATIENT_SECONDS = 60.0
NOBODY = 65534


def look(database: str, *before: Identity) -> OpenFiles:
    """One look, with all the time it needs on a busy machine."""
    return open_files({database: before}, bound_seconds=PATIENT_SECONDS)


@pytest.fixture
def database(tmp_path: Path) -> str:
    return str(make(tmp_path / "openclaw-agent.sqlite"))


def test_a_process_that_has_a_database_open_is_seen(database: str) -> None:
    assert look(database).pids == {}
    with holding(database, *READ) as pid:
        found = look(database)
        assert (found.pids, found.strays) == ({database: {pid}}, set())
    assert look(database).pids == {}


def test_this_process_is_not(database: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("SELECT 1 FROM transcript_events").fetchall()
        assert look(database).pids == {}


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
@pytest.mark.parametrize("how", ["removed", "renamed", "replaced"])
def test_a_file_that_a_process_works_on_and_nobody_finds_is_a_stray(database: str, suffix: str, how: str) -> None:
    path = Path(f"{database}{suffix}")
    with holding(database, *READ) as pid:
        if how == "removed":
            path.unlink()
        elif how == "renamed":
            path.rename(f"{path}.bak")
        else:
            copy = Path(f"{path}.new")
            shutil.copyfile(path, copy)
            copy.rename(path)
        assert look(database).strays == {Stray(database, pid, suffix)}
    assert look(database).strays == set()


def test_so_is_a_database_that_was_removed(database: str) -> None:
    with holding(database, *READ) as pid:
        Path(database).unlink()
        assert look(database).strays == {Stray(database, pid, "")}
        make(Path(database))
        assert look(database).strays == {Stray(database, pid, "")}
    assert look(database).strays == set()


def test_so_is_one_that_was_renamed_as_far_as_it_was_known_before(database: str) -> None:
    was = identity_of(database)
    assert was is not None
    with holding(database, *READ) as pid:
        Path(database).rename(f"{database}.before-restore")
        make(Path(database))
        assert look(database).strays == set()  # a process may read a copy of that name
        assert look(database, was).strays == {Stray(database, pid, "")}


def test_the_files_of_another_database_of_the_same_name_are_none_of_its(database: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = str(make(tmp_path / "other" / "openclaw-agent.sqlite"))
    with holding(other, *READ) as pid:
        Path(f"{other}-wal").unlink()
        assert look(database) == OpenFiles(unseen=look(database).unseen)
        assert look(other).strays == {Stray(other, pid, "-wal")}


@contextmanager
def as_nobody() -> Iterator[None]:
    """With the rights of another user, where we may choose."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_process_that_we_may_not_look_at_is_named_as_unseen(database: str) -> None:
    with as_nobody():
        assert 1 in look(database).unseen


def test_a_look_ends_when_its_time_is_over(database: str) -> None:
    with holding(database, *READ) as pid:
        assert open_files({database: ()}, bound_seconds=-1.0).pids == {}
        assert open_files({database: ()}, first=[pid], bound_seconds=PATIENT_SECONDS).pids == {database: {pid}}


def test_the_databases_of_a_state_directory_are_those_of_its_agents_and_the_shared_one(tmp_path: Path) -> None:
    assert databases_of(tmp_path) == ()
    for name in (
        "agents/b/agent/openclaw-agent.sqlite",
        "agents/a/agent/openclaw-agent.sqlite",
        "state/openclaw.sqlite",
    ):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    names = ["agents/a/agent/openclaw-agent.sqlite", "agents/b/agent/openclaw-agent.sqlite", "state/openclaw.sqlite"]
    assert [os.path.relpath(path, os.path.realpath(tmp_path)) for path in databases_of(tmp_path)] == names


LEASES = "CREATE TABLE agent_database_leases (lease_id TEXT, agent_id TEXT, path TEXT, owner_pid INTEGER{}, opened_at)"


def test_leases_say_who_has_databases_open(tmp_path: Path) -> None:
    shared = tmp_path / "openclaw.sqlite"
    assert lease_owners(shared) == set()
    with closing(sqlite3.connect(shared, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE something (else_)")
        assert lease_owners(shared) == set()
        connection.execute(LEASES.format(", owner_start_time INTEGER"))
        connection.execute("INSERT INTO agent_database_leases VALUES ('l', 'main', '/x', 7, 1234, 0)")
        connection.execute("INSERT INTO agent_database_leases VALUES ('m', 'main', '/x', 8, NULL, 0)")
        connection.execute("INSERT INTO agent_database_leases VALUES ('n', 'main', '/x', 'no', 1, 0)")
        assert lease_owners(shared) == {(7, 1234), (8, None)}


def test_a_schema_without_the_columns_has_no_leases(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "openclaw.sqlite", isolation_level=None)) as connection:
        connection.execute(LEASES.format(""))
        connection.execute("INSERT INTO agent_database_leases VALUES ('l', 'main', '/x', 7, 0)")
        assert lease_owners(tmp_path / "openclaw.sqlite") == set()


def test_what_openclaw_has_found_damaged_is_read_from_its_list(tmp_path: Path) -> None:
    store = tmp_path / "openclaw-quarantine.sqlite"
    with closing(sqlite3.connect(store, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE quarantined_databases (path TEXT PRIMARY KEY, kind, reason, quarantined_at)")
        assert quarantined(store) == ()
        connection.execute("INSERT INTO quarantined_databases VALUES ('/state/b', 'agent', 'malformed', 0)")
        assert quarantined(store) == ("/state/b",)


def test_a_list_that_is_damaged_itself_raises(tmp_path: Path) -> None:
    (tmp_path / "openclaw-quarantine.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(sqlite3.Error):
        quarantined(tmp_path / "openclaw-quarantine.sqlite")

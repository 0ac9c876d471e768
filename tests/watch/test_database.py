"""A gateway's database from outside: rows by digest, and that it was changed."""

import asyncio
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.facts.rows import RowVersion
from sidecar.driver.transcripts import TranscriptReader
from sidecar.watch.database.directory import PAUSE_SECONDS, DatabaseWatch
from sidecar.watch.database.place import holds_sessions
from sidecar.watch.database.reader import PART_ROWS, DatabaseReader

EVENT = '{"type": "message", "message": {"role": "user"}}'
SOON_SECONDS = 30.0


def make(path: Path, rows: int = 3, generation: str | None = "g1") -> Path:
    """A database as 2026.8.1 to 9.5 have it; later ones have more columns."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE transcript_events (session_id, seq INTEGER, event_json, created_at)")
        connection.execute(
            "CREATE TABLE transcript_event_identities"
            " (session_id, event_id, seq INTEGER, event_type, parent_id, message_idempotency_key, created_at)"
        )
        connection.execute("CREATE INDEX by_seq ON transcript_event_identities(session_id, seq)")
        connection.execute("CREATE TABLE transcript_rewrite_watermarks (session_id, generation, updated_at)")
        if generation is not None:
            connection.execute("INSERT INTO transcript_rewrite_watermarks VALUES ('s', ?, 0)", (generation,))
        connection.execute("BEGIN")
        for seq in range(rows):
            parent = f"e{seq - 1}" if seq else None
            connection.execute("INSERT INTO transcript_events VALUES ('s', ?, ?, 0)", (seq, EVENT))
            connection.execute(
                "INSERT INTO transcript_event_identities VALUES ('s', ?, ?, 'message', ?, NULL, 0)",
                (f"e{seq}", seq, parent),
            )
        connection.execute("COMMIT")
    return path


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return make(tmp_path / "openclaw-agent.sqlite")


@pytest.fixture
def reader(database: Path) -> Iterator[DatabaseReader]:
    opened = DatabaseReader(str(database))
    yield opened
    opened.close()


def test_a_transcript_is_read_in_order_with_its_version(reader: DatabaseReader) -> None:
    snapshot = reader.snapshot("s")
    assert snapshot.rows is not None
    assert [(r.seq, r.event_id, r.parent_id, r.role) for r in snapshot.rows] == [
        (0, "e0", "", "user"),
        (1, "e1", "e0", "user"),
        (2, "e2", "e1", "user"),
    ]
    assert snapshot.version == RowVersion(exists=True, generation="g1", seq=2, digest=snapshot.rows[2].digest)
    assert snapshot.uid == os.getuid()


def test_a_long_transcript_is_read_in_parts(tmp_path: Path) -> None:
    with closing(DatabaseReader(str(make(tmp_path / "long.sqlite", rows=2 * PART_ROWS + 1)))) as reader:
        assert [row.seq for row in reader.snapshot("s").rows or ()] == list(range(2 * PART_ROWS + 1))


def test_each_stored_column_is_in_the_digest(database: Path, reader: DatabaseReader) -> None:
    before = reader.snapshot("s").rows or ()
    changes = (
        "UPDATE transcript_events SET event_json = event_json || ' ' WHERE seq = 0",
        "UPDATE transcript_event_identities SET parent_id = 'x' WHERE seq = 1",
        "UPDATE transcript_event_identities SET message_idempotency_key = 'k' WHERE seq = 2",
    )
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for change in changes:
            connection.execute(change)
    after = reader.snapshot("s").rows or ()
    assert all(one.digest != other.digest for one, other in zip(before, after, strict=True))


def change(database: Path, *statements: str) -> None:
    """Another connection commits these, one by one."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_nothing_is_read_again_where_nothing_was_committed(database: Path, reader: DatabaseReader) -> None:
    first = reader.snapshot("s")
    assert reader.state() == reader.state() != b""
    assert reader.snapshot("s") is first
    assert reader.version("s") is first.version
    change(database, "UPDATE transcript_events SET created_at = 1")
    assert reader.snapshot("s") is not first
    assert reader.snapshot("s") == first


EVERY_COMMIT = (
    "UPDATE transcript_events SET event_json = '{}' WHERE seq = 0",
    "DELETE FROM transcript_events WHERE seq = 1",
    "UPDATE transcript_rewrite_watermarks SET generation = 'g2'",
    "CREATE TABLE another (a)",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "INSERT INTO another VALUES (1)",
)


def test_each_commit_has_a_state_of_its_own(database: Path, reader: DatabaseReader) -> None:
    reader.snapshot("s")
    seen = [reader.state()]
    for statement in EVERY_COMMIT:
        change(database, statement)
        seen.append(reader.state())
    commits = [state for statement, state in zip(("", *EVERY_COMMIT), seen, strict=True) if "PRAGMA" not in statement]
    assert len(set(commits)) == len(commits)
    change(database, "BEGIN", "ROLLBACK")
    assert reader.state() == seen[-1]


def test_where_no_counter_can_be_seen_each_reading_reads(tmp_path: Path) -> None:
    path = make(tmp_path / "rollback.sqlite")
    change(path, "PRAGMA journal_mode=DELETE")
    with closing(DatabaseReader(str(path))) as reader:
        before = reader.snapshot("s")
        assert reader.state() == b""
        change(path, "UPDATE transcript_events SET event_json = '{}' WHERE seq = 0")
        assert reader.snapshot("s") != before


def test_another_file_in_the_place_of_the_counter_says_nothing(database: Path, reader: DatabaseReader) -> None:
    reader.snapshot("s")
    shared = Path(f"{database}-shm")
    assert reader.state()
    content = shared.read_bytes()
    shared.unlink()
    shared.write_bytes(content)
    assert reader.state() == b""


def test_rows_that_are_as_they_were_are_understood_once(tmp_path: Path) -> None:
    path = make(tmp_path / "long.sqlite", rows=2 * PART_ROWS)
    with closing(DatabaseReader(str(path))) as reader:
        before = reader.snapshot("s").rows or ()
        change(path, f"UPDATE transcript_events SET event_json = '{{}}' WHERE seq = {PART_ROWS}")
        after = reader.snapshot("s").rows or ()
    assert all(one is other for one, other in zip(before[:PART_ROWS], after[:PART_ROWS], strict=True))
    assert [row.seq for row, other in zip(before, after, strict=True) if row != other] == [PART_ROWS]


STATEMENTS = st.sampled_from(
    [
        "UPDATE transcript_events SET event_json = event_json || ' ' WHERE seq = {}",
        "UPDATE transcript_events SET event_json = 5 WHERE seq = {}",
        "UPDATE transcript_events SET event_json = CAST(x'ff' AS TEXT) WHERE seq = {}",
        "UPDATE transcript_event_identities SET parent_id = 'x' WHERE seq = {}",
        "DELETE FROM transcript_events WHERE seq = {}",
        "INSERT INTO transcript_events SELECT 's', coalesce(max(seq), -1) + 1, '{{}}', {} FROM transcript_events",
    ]
)


@given(st.lists(st.tuples(STATEMENTS, st.integers(0, 900), st.booleans()), max_size=8))
@settings(max_examples=25, deadline=None)
def test_a_reading_that_remembers_is_the_same_as_one_that_does_not(deeds: list[tuple[str, int, bool]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = make(Path(directory) / "long.sqlite", rows=2 * PART_ROWS + 50)
        with closing(DatabaseReader(str(path))) as reader:
            for statement, seq, look in deeds:
                change(path, statement.format(seq))
                if look:
                    reader.snapshot("s")
            found = reader.snapshot("s")
            with closing(DatabaseReader(str(path))) as fresh:
                assert found == fresh.snapshot("s")


@pytest.mark.parametrize("place", [1, 2])
def test_rule_1_a_second_identity_of_a_row_makes_another_row_of_it(
    database: Path, reader: DatabaseReader, place: int
) -> None:
    before = reader.snapshot("s")
    for name in ("'a'", "'z'"):
        change(
            database, f"INSERT INTO transcript_event_identities VALUES ('s', {name}, {place}, 'message', '', NULL, 0)"
        )
        after = reader.snapshot("s")
        assert after.version == reader.version("s")
        assert (after.version == before.version) is (place == 1)
        assert [row.seq for row in after.rows or ()] == [0, 1, 2]
        assert [r.seq for r, o in zip(before.rows or (), after.rows or (), strict=True) if r.digest != o.digest] == [
            place
        ]
        change(database, f"DELETE FROM transcript_event_identities WHERE event_id = {name}")
        assert reader.snapshot("s") == before


@pytest.mark.parametrize("value", ["5", "5.5", "CAST(x'ff' AS TEXT)", "x'ff'", "NULL"])
def test_rule_1_a_strangers_row_is_read_whatever_is_stored_in_it(
    database: Path, reader: DatabaseReader, value: str
) -> None:
    change(database, f"INSERT INTO transcript_events VALUES ('s', 3, {value}, 0)")
    snapshot = reader.snapshot("s")
    assert snapshot.problem == ""
    assert [row.seq for row in snapshot.rows or ()] == [0, 1, 2, 3]


def test_a_session_without_rows_is_absent(reader: DatabaseReader) -> None:
    snapshot = reader.snapshot("nobody")
    assert (snapshot.version, snapshot.problem) == (RowVersion.absent(), "")


def test_a_message_that_is_no_json_has_no_role(database: Path, reader: DatabaseReader) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("UPDATE transcript_events SET event_json = '{' WHERE seq = 1")
    assert [row.role for row in reader.snapshot("s").rows or ()] == ["user", "", "user"]


def test_a_reader_leaves_nothing_locked_and_writes_nothing(database: Path, reader: DatabaseReader) -> None:
    reader.snapshot("s")
    with closing(sqlite3.connect(database, isolation_level=None, timeout=0)) as connection:
        connection.execute("UPDATE transcript_events SET created_at = 1")
        [(busy, *_)] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        assert busy == 0  # a reader that still was in a transaction would forbid that
    with pytest.raises(sqlite3.OperationalError):
        reader._connection.execute("DELETE FROM transcript_events")


def test_what_is_no_database_is_a_problem_and_hangs_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.sqlite")
    (tmp_path / "text.sqlite").write_text("no database, but longer than a header of one: " * 10)
    for name in ("fifo.sqlite", "text.sqlite", "none.sqlite"):
        transcripts = TranscriptReader()
        assert transcripts.now(f"{tmp_path / name}#s").problem.startswith("the database can't be read")
        assert not holds_sessions(tmp_path / name)


def test_a_database_that_was_replaced_is_opened_anew(tmp_path: Path, database: Path) -> None:
    transcripts = TranscriptReader()
    name = f"{database}#s"
    assert transcripts.version(name) == transcripts.now(name).version
    for suffix in ("", "-wal", "-shm"):
        Path(f"{database}{suffix}").unlink(missing_ok=True)
    make(database, rows=1, generation="g2")
    version = transcripts.version(name)
    transcripts.close()
    assert isinstance(version, RowVersion)
    assert (version.generation, version.seq) == ("g2", 0)


async def test_a_commit_is_told_once_for_a_burst_and_other_files_are_not(database: Path, tmp_path: Path) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    watch = DatabaseWatch(told.put_nowait, lambda: None)
    watch.start()
    try:
        watch.add(str(database))
        watch.add(str(database))
        (tmp_path / "other.sqlite").write_text("")
        with closing(sqlite3.connect(database, isolation_level=None)) as connection:
            for seq in range(3, 6):
                connection.execute("INSERT INTO transcript_events VALUES ('s', ?, ?, 0)", (seq, EVENT))
            async with asyncio.timeout(SOON_SECONDS):
                assert await told.get() == str(database)
    finally:
        watch.stop()


async def test_many_writes_wake_the_watch_few_times(database: Path) -> None:
    """Whoever wakes a reader pays for it: a gateway, while it holds its database."""
    woken = 0

    def touched() -> None:
        nonlocal woken
        woken += 1

    watch = DatabaseWatch(lambda _database: None, touched)
    watch.start()
    began = time.monotonic()
    try:
        with database.open("r+b") as file:
            watch.add(str(database))
            head = file.read(1)
            for _ in range(500):
                os.pwrite(file.fileno(), head, 0)
                await asyncio.sleep(0)
    finally:
        watch.stop()
    assert woken <= 2 + (time.monotonic() - began) / PAUSE_SECONDS


async def test_a_database_in_a_directory_that_is_gone_can_be_watched_again(tmp_path: Path) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    directory = tmp_path / "agent"
    directory.mkdir()
    database = directory / "openclaw-agent.sqlite"
    watch = DatabaseWatch(told.put_nowait, lambda: None)
    watch.start()
    try:
        watch.add(str(database))
        directory.rmdir()
        directory.mkdir()
        watch.drain()  # the kernel has said by now that the directory is gone
        assert watch.databases == []
        async with asyncio.timeout(SOON_SECONDS):
            watch.add(str(database))
            make(database)
            assert await told.get() == str(database)
    finally:
        watch.stop()

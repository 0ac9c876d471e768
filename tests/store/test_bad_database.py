import hashlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sidecar.core.verdict.incident import Moment
from sidecar.store.errors import StoreCorruptError, StoreError, StoreTooNewError, StoreUnreadableError, StoreWriteError
from sidecar.store.incidents import IncidentStore
from sidecar.store.reader import IncidentReader
from sidecar.store.schema import APPLICATION_ID, VERSION
from tests.store.samples import NOON, Clock, foreign, recovered, save_incident


def digests(path: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in path.parent.glob("sidecar.db*")}


@pytest.fixture
def filled(path: Path, clock: Clock) -> Path:
    with IncidentStore(path, clock) as store:
        for number in range(50):
            save_incident(store, recovered(f"i{number}"))
    return path


def alter(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)


def refused(path: Path, clock: Clock, kind: type[StoreError]) -> str:
    """Opening fails with that error, names the file, and leaves it as it was."""
    before = digests(path)
    with pytest.raises(kind) as caught:
        IncidentStore(path, clock)
    with pytest.raises(StoreError):
        IncidentReader(path)
    assert {name: digest for name, digest in digests(path).items() if name in before} == before
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


def test_a_database_of_a_newer_release_is_left_alone(filled: Path, clock: Clock) -> None:
    alter(filled, f"PRAGMA user_version = {VERSION + 1}")
    assert "newer openclaw-sidecar" in refused(filled, clock, StoreTooNewError)


def test_a_file_that_is_no_database_is_left_alone(path: Path, clock: Clock) -> None:
    path.parent.mkdir()
    path.write_text("These are my notes, please keep them.\n" * 100)
    assert "nothing in it was changed" in refused(path, clock, StoreCorruptError)


def test_a_database_of_another_program_is_left_alone(path: Path, clock: Clock) -> None:
    path.parent.mkdir()
    alter(path, "CREATE TABLE mine (x)", "INSERT INTO mine VALUES (1)")
    assert "another program" in refused(path, clock, StoreCorruptError)


def test_a_damaged_database_is_found_before_anything_is_written(filled: Path, clock: Clock) -> None:
    data = bytearray(filled.read_bytes())
    data[4096 * 3 : 4096 * 6] = os.urandom(4096 * 3)
    filled.write_bytes(data)
    before = digests(filled)
    with pytest.raises(StoreCorruptError, match="damaged"):
        IncidentStore(filled, clock)
    assert digests(filled)["sidecar.db"] == before["sidecar.db"]


def test_a_row_that_is_no_incident_is_named(filled: Path, clock: Clock) -> None:
    alter(filled, "UPDATE incidents SET body = '{}' WHERE id = 'i7'")
    with IncidentStore(filled, clock) as store:
        with pytest.raises(StoreCorruptError, match="row i7"):
            store.get("i7")
        assert store.get("i8") is not None


def test_an_empty_file_left_by_a_cut_off_start_becomes_the_store(path: Path, clock: Clock) -> None:
    path.parent.mkdir()
    path.touch()
    with IncidentStore(path, clock) as store:
        save_incident(store, foreign())
        assert store.counts_by_verdict() == {"external": 1}


def test_a_directory_in_the_place_of_the_file_is_refused(path: Path, clock: Clock) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StoreUnreadableError, match="not a regular file"):
        IncidentStore(path, clock)


def test_a_data_directory_that_cannot_be_made_is_refused(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnreadableError, match="choose another --data-dir"):
        IncidentStore(tmp_path / "file" / "data" / "sidecar.db", clock)


def test_a_failed_start_does_not_keep_the_store_locked(filled: Path, clock: Clock) -> None:
    alter(filled, f"PRAGMA user_version = {VERSION + 1}")
    refused(filled, clock, StoreTooNewError)
    alter(filled, f"PRAGMA user_version = {VERSION}")
    IncidentStore(filled, clock).close()


def test_a_database_with_our_mark_and_none_of_our_tables_is_left_alone(path: Path, clock: Clock) -> None:
    path.parent.mkdir()
    alter(path, f"PRAGMA application_id = {APPLICATION_ID}")
    assert "nothing in it was changed" in refused(path, clock, StoreCorruptError)


def test_a_save_that_cannot_be_kept_says_so_and_keeps_the_rest(store: IncidentStore) -> None:
    save_incident(store, recovered())
    pages = store._write.execute("PRAGMA page_count").fetchone()[0]
    store._write.execute(f"PRAGMA max_page_count = {pages}")
    big = foreign(timeline=(Moment(NOON, "write", "x" * 100_000),))
    with pytest.raises(StoreWriteError, match="room"):
        save_incident(store, big)
    store._write.execute("PRAGMA max_page_count = 100000")
    save_incident(store, foreign())
    assert store.get(foreign().incident_id) is not None
    assert store.get(recovered().incident_id) is not None


def test_a_path_with_strange_bytes_works(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "a ?#%\n\udcff" / "sidecar.db"
    with IncidentStore(path, clock) as store:
        save_incident(store, recovered())
    assert path.exists()
    with pytest.raises(StoreUnreadableError) as caught:
        IncidentStore(path / "x" / "sidecar.db", clock)
    assert "\n" not in str(caught.value)

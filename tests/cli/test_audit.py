import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sidecar.store.incidents import DATABASE_NAME, IncidentStore
from tests.cli.conftest import Command
from tests.store.samples import foreign, recovered, save_incident


def alter(store: IncidentStore, statement: str) -> None:
    with closing(sqlite3.connect(store.path, isolation_level=None)) as database:
        database.execute(statement)


def test_records_that_are_as_they_were_left_are_good_and_what_that_does_not_prove_is_said(
    cli: Command, store: IncidentStore
) -> None:
    save_incident(store, foreign())
    result = cli("audit", "verify")
    assert result.code == 0
    assert f"Head     {store.head}" in result.out
    assert "As they were left, as far as the chain itself can tell." in result.out
    assert "who may write the store can make all of it anew" in result.out


def test_json_is_for_programs(cli: Command, store: IncidentStore) -> None:
    save_incident(store, foreign())
    assert cli("audit", "verify", "--json").json() == {
        "good": True,
        "head": str(store.head),
        "first": 1,
        "entries": 1,
        "incidents": 1,
        "forgotten": 0,
        "compared_with": None,
        "findings": [],
        "more_findings": 0,
    }


def test_a_record_that_was_changed_is_named(cli: Command, store: IncidentStore) -> None:
    save_incident(store, foreign())
    save_incident(store, recovered())
    alter(store, f"UPDATE incidents SET verdict = 'own' WHERE id = '{foreign().incident_id}'")
    result = cli("audit", "verify")
    assert result.code == 1
    assert "edited" in result.out
    assert foreign().incident_id in result.out
    assert recovered().incident_id not in result.out


def test_a_head_that_left_the_machine_is_compared(cli: Command, store: IncidentStore) -> None:
    save_incident(store, foreign())
    told = str(store.head)
    save_incident(store, recovered())
    result = cli("audit", "verify", "--head", told)
    assert (result.code, f"{told} is in the chain" in result.out) == (0, True)
    other = told[:-4] + ("0000" if not told.endswith("0000") else "1111")
    result = cli("audit", "verify", "--head", other, "--json")
    assert (result.code, [f["kind"] for f in result.json()["findings"]]) == (1, ["replaced"])


@pytest.mark.parametrize("head", ["12", "x:0123456789abcdef", "1:01"])
def test_a_text_that_is_no_head_is_bad_usage(cli: Command, store: IncidentStore, head: str) -> None:
    save_incident(store, foreign())
    result = cli("audit", "verify", "--head", head)
    assert (result.code, result.out) == (2, "")
    assert "hexadecimal digits" in result.err


def test_a_head_of_what_was_removed_for_its_age_is_told_apart(cli: Command, store: IncidentStore) -> None:
    save_incident(store, recovered("old", opened_at_ns=1))
    told = str(store.head)
    store.forget_before(2)
    save_incident(store, foreign())
    result = cli("audit", "verify", "--head", told)
    assert (result.code, "it can't be compared" in result.out) == (2, True)


def test_records_that_cannot_be_read_are_no_finding(cli: Command, data_dir: Path) -> None:
    assert cli("audit", "verify").code == 2
    data_dir.mkdir()
    (data_dir / DATABASE_NAME).write_bytes(b"These are my notes.\n" * 400)
    result = cli("audit", "verify")
    assert (result.code, result.out) == (2, "")
    assert "damaged" in result.err

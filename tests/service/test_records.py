"""The records are held against their chain in the background, and what is found is never silent."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sidecar.service import records
from sidecar.service.records import RecordsCheck
from sidecar.store.incidents import IncidentStore
from tests.store.samples import NOON, Clock, foreign, recovered, save_incident


@pytest.fixture
def store(tmp_path: Path) -> Iterator[IncidentStore]:
    with IncidentStore(tmp_path / "sidecar.db", Clock()) as opened:
        for number in range(60):
            save_incident(opened, recovered(f"i{number:02}"))
        yield opened


@pytest.fixture
def check(store: IncidentStore, monkeypatch: pytest.MonkeyPatch) -> RecordsCheck:
    monkeypatch.setattr(records, "PAUSE_SECONDS", 0)
    return RecordsCheck(store, lambda: NOON)


def alter(store: IncidentStore, statement: str) -> None:
    with closing(sqlite3.connect(store.path, isolation_level=None)) as database:
        database.execute(statement)


async def test_records_that_are_as_they_were_left_are_no_problem(check: RecordsCheck, store: IncidentStore) -> None:
    await check.verify()
    assert list(check.problems()) == []
    assert (check.status().verified_at_ns, check.status().changed) == (NOON, 0)
    assert check.status().head == str(store.head)


async def test_a_finding_is_a_problem_a_count_and_a_line_each(check: RecordsCheck, store: IncidentStore) -> None:
    alter(store, "UPDATE incidents SET verdict = 'own' WHERE id IN ('i07', 'i31')")
    with capture_logs() as lines:
        await check.verify()
    assert [(line["log_level"], line["incident"]) for line in lines] == [("error", "i07"), ("error", "i31")]
    (problem,) = check.problems()
    assert problem.code == "records_changed"
    assert "i07" in problem.what
    assert check.status().changed == 2


async def test_it_is_looked_at_a_part_at_a_time_with_progress_and_ends_when_the_sidecar_does(
    check: RecordsCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    async def pause(_seconds: float) -> None:
        seen.append((check.status().looked_at, check.status().to_look_at))

    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "sleep", pause)
        await check.verify()
    assert len({looked_at for looked_at, _ in seen}) > 4
    assert {total for _, total in seen} == {120}

    check.start()
    await asyncio.sleep(0)
    await check.stop()
    assert check.status().to_look_at == 0


async def test_what_is_saved_meanwhile_is_no_finding(check: RecordsCheck, store: IncidentStore) -> None:
    looking = asyncio.create_task(check.verify())
    for number in range(30):
        await asyncio.sleep(0)
        save_incident(store, foreign(f"j{number}"))
    await looking
    assert check.status().changed == 0


async def test_a_chain_that_was_cut_beside_the_sidecar_is_found(check: RecordsCheck, store: IncidentStore) -> None:
    alter(store, "DELETE FROM audit WHERE seq > 50")
    alter(store, "DELETE FROM incident_events WHERE incident_id >= 'i50'")
    alter(store, "DELETE FROM incidents WHERE id >= 'i50'")
    await check.verify()
    assert check.status().changed == 1


async def test_a_record_that_the_sidecar_itself_finds_changed_is_a_problem_at_once(
    check: RecordsCheck, store: IncidentStore
) -> None:
    alter(store, "UPDATE incident_events SET turn_lost = 1 WHERE incident_id = 'i07'")
    with capture_logs() as lines:
        save_incident(store, recovered("i07", turn_lost=True))
    assert [line["event"] for line in lines] == ["record_changed_by_somebody_else"]
    assert [problem.code for problem in check.problems()] == ["records_changed"]


async def test_records_that_cannot_be_looked_at_are_a_problem_until_they_can(
    check: RecordsCheck, store: IncidentStore
) -> None:
    alter(store, "ALTER TABLE pages RENAME TO elsewhere")
    await check.verify()
    assert [problem.code for problem in check.problems()] == ["records_not_verified"]
    alter(store, "ALTER TABLE elsewhere RENAME TO pages")
    await check.verify()
    assert "records_not_verified" not in [problem.code for problem in check.problems()]

"""Whoever may write the sidecar's store changes what it says of a takeover: it is found, and the incident is named."""

import asyncio
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sidecar.wire import messages as wire
from tests.driver.kit import foreign_append
from tests.service.kit import Place

ONE_LINE = (
    "UPDATE incidents SET verdict = 'own', body = replace(body, '\"external\"', '\"own\"') WHERE verdict = 'external'"
)


@pytest.fixture
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="ocs-") as directory:
        yield Place(Path(directory))


def alter(place: Place, statement: str) -> None:
    path = place.root / "sidecar" / "data" / "sidecar.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        assert database.execute(statement).rowcount > 0


async def takeover(place: Place) -> tuple[str, str]:
    """A sidecar sees a takeover and is stopped. Returns the incident, and the head of the chain that it told."""
    sidecar = place.companion()
    async with sidecar:
        gateway = await place.gateway(sidecar)
        fence = gateway.fence(place.file)
        await sidecar.wait_for(lambda status: status["windows"] == 1)
        foreign_append(place.file)
        gateway.ask(place.file, fence)
        assert isinstance(await gateway.answer(), wire.Refuse)
        await gateway.hang_up()
        status = await sidecar.wait_for(lambda status: status["windows"] == 0)
        _code, found = await place.ask("incidents")
        incident = next(i for i in found["incidents"] if i["verdict"] == "external")
        head = (await sidecar.status())["records"]["head"]
        assert status["records"]["changed"] == 0
    return incident["id"], head


async def seen_by_the_next(place: Place) -> dict[str, Any]:
    """What the sidecar says that is started next."""
    async with place.companion() as sidecar:
        return await sidecar.wait_for(lambda status: bool(status["records"]["verified_at_ns"]))


def test_the_one_line_that_turns_every_external_into_own_is_found(place: Place) -> None:
    async def live() -> None:
        incident, _head = await takeover(place)
        assert (await place.ask("audit", "verify"))[0] == 0
        alter(place, ONE_LINE)
        _code, found = await place.ask("incidents")
        assert [i["verdict"] for i in found["incidents"] if i["id"] == incident] == ["own"], "the line did its work"

        code, verified = await place.ask("audit", "verify")
        assert (code, verified["good"]) == (1, False)
        assert [(f["kind"], f["incident"]) for f in verified["findings"]] == [("edited", incident)]

        status = await seen_by_the_next(place)
        assert status["records"]["changed"] == 1
        (problem,) = [p for p in status["problems"] if p["code"] == "records_changed"]
        assert incident in problem["what"]
        assert '"record_changed"' in (place.root / "sidecar" / "sidecar.log").read_text()
        assert (await place.ask("audit", "verify"))[0] == 1, "a sidecar that goes on does not hide it"

    asyncio.run(live())


@pytest.mark.parametrize("table", ["incidents", "incident_events", "pages"])
def test_a_takeover_that_is_removed_is_missed(place: Place, table: str) -> None:
    async def live() -> None:
        incident, _head = await takeover(place)
        of_incident = f"{'id' if table == 'incidents' else 'incident_id'} = '{incident}'"
        alter(place, f"DELETE FROM {table} WHERE {of_incident}")
        code, verified = await place.ask("audit", "verify")
        assert code == 1
        assert {f["incident"] for f in verified["findings"]} == {incident}

    asyncio.run(live())


def test_a_store_that_is_exchanged_for_an_empty_one_is_found_by_the_head_that_was_told(place: Place) -> None:
    async def live() -> None:
        _incident, head = await takeover(place)
        for file in (place.root / "sidecar" / "data").glob("sidecar.db*"):
            file.unlink()
        await seen_by_the_next(place)
        assert (await place.ask("audit", "verify"))[0] == 0, "nothing in an empty store tells"
        code, verified = await place.ask("audit", "verify", "--head", head)
        assert (code, [f["kind"] for f in verified["findings"]]) == (1, ["missing"])

    asyncio.run(live())

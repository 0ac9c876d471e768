"""Turns that are lost where sessions are rows of a database: the incident says to what."""

import asyncio
import json
import os
import sqlite3
from contextlib import closing
from typing import Any, Final

import pytest

from sidecar.demo.model import ModelCall
from sidecar.demo.rpc import GatewayClient
from tests.e2e.row_gateway import VERSIONS, Trio

BUSY_SECONDS: Final = 7.0
"""The gateway waits 5 s for the database."""


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """The release of the gateway."""
    return str(request.param)


async def _lost(trio: Trio, session: str, text: str, meanwhile: Any) -> dict[str, Any]:  # noqa: ANN401 - as `Trio.turn`
    """The incident of a turn that is lost."""
    name = trio.transcript(session)
    turn = await trio.turn(session, text, meanwhile)
    assert not turn.answered
    async with asyncio.timeout(30):
        while True:
            found = [i for i in await trio.sidecar.incidents() if i["session_file"] == name and i["closed_at"]]
            if found and found[0]["lost"]:
                [incident] = found
                assert incident["turn_lost"]
                return incident
            await asyncio.sleep(0.1)


def _claim_for(trio: Trio, session: str, run: str | None) -> None:
    """A process without a link changes who may write to a session."""
    [(entry,)] = trio.rows(session, "SELECT entry_json FROM session_nodes WHERE session_key = ?", session)
    changed = json.dumps({**json.loads(entry), "activeWriterRunId": run})
    trio.tampered("UPDATE session_nodes SET entry_json = ? WHERE session_key = ?", changed, session)


async def test_a_claim_that_a_stranger_makes_is_a_takeover_with_one_page(trio: Trio, session_key: str) -> None:
    assert (await trio.turn(session_key, "the first question")).answered

    async def meanwhile(_call: ModelCall) -> None:
        _claim_for(trio, session_key, "a-strangers-run")

    incident = await _lost(trio, session_key, "the second question", meanwhile)
    assert (incident["lost"]["cause"], incident["lost"]["detail"]) == ("rebound", "claim")
    assert incident["lost"]["reason_parameters"] == {"run": "a-strangers-run"}
    assert incident["verdict"] == "external"
    assert [page["about"] for page in incident["pages"]] == ["takeover"]

    again = await _lost(trio, session_key, "the third question", meanwhile)
    assert (again["id"], again["lost"]["count"], len(again["pages"])) == (incident["id"], 2, 1)
    assert any(line["what"] == "session claimed" for line in again["timeline"])


async def test_a_claim_that_a_stranger_removes_is_a_takeover_with_one_page(trio: Trio, session_key: str) -> None:
    assert (await trio.turn(session_key, "the first question")).answered

    async def meanwhile(_call: ModelCall) -> None:
        _claim_for(trio, session_key, None)

    incident = await _lost(trio, session_key, "the second question", meanwhile)
    assert (incident["lost"]["cause"], incident["lost"]["detail"]) == ("rebound", "claim")
    assert incident["lost"]["reason_code"] == "lost_to_removed_claim"
    assert (incident["verdict"], [page["about"] for page in incident["pages"]]) == ("external", ["takeover"])
    assert (await trio.turn(session_key, "the third question")).answered


async def test_a_session_that_is_deleted_while_the_model_thinks_wakes_nobody(trio: Trio, session_key: str) -> None:
    assert (await trio.turn(session_key, "the first question")).answered
    name = trio.transcript(session_key)

    async def meanwhile(_call: ModelCall) -> None:
        async with GatewayClient(trio.gateway.url, trio.gateway.token) as client:
            await client.call("sessions.delete", {"key": session_key})

    await trio.turn(session_key, "the second question", meanwhile)
    met = [i for i in await trio.sidecar.incidents() if i["session_file"] == name]
    assert [(i["verdict"], i["pages"]) for i in met if i["verdict"] == "external" or i["pages"]] == []


async def test_a_session_that_is_reset_while_the_model_thinks_wakes_nobody(trio: Trio, session_key: str) -> None:
    assert (await trio.turn(session_key, "the first question")).answered

    async def meanwhile(_call: ModelCall) -> None:
        async with GatewayClient(trio.gateway.url, trio.gateway.token) as client:
            await client.call("sessions.reset", {"key": session_key})

    incident = await _lost(trio, session_key, "the second question", meanwhile)
    assert (incident["lost"]["cause"], incident["verdict"], incident["pages"]) == ("reset", "reset", [])
    assert (await trio.turn(session_key, "the third question")).answered


async def test_a_turn_that_is_lost_to_a_foreign_lock_names_its_holder(trio: Trio, session_key: str) -> None:
    assert (await trio.turn(session_key, "the first question")).answered
    with closing(sqlite3.connect(trio.database, isolation_level=None, timeout=10)) as stranger:

        async def let_go() -> None:
            await asyncio.sleep(BUSY_SECONDS)
            stranger.execute("ROLLBACK")

        held: list[asyncio.Task[None]] = []

        async def meanwhile(_call: ModelCall) -> None:
            stranger.execute("BEGIN IMMEDIATE")
            held.append(asyncio.ensure_future(let_go()))

        incident = await _lost(trio, session_key, "the second question", meanwhile)
        await held[0]
    lost = incident["lost"]
    assert (lost["cause"], incident["pages"], incident["unexplained"]) == ("busy", [], [])
    # 2026.9.6 has the text of the error in the place of the answer.
    assert {writer["kind"] for writer in incident["writers"] if not writer["own"]} <= {"mirror"}
    assert f"process {os.getpid()} " in lost["reason"]
    assert (await trio.turn(session_key, "the third question")).answered


async def test_a_strangers_row_in_the_way_is_named(trio: Trio, session_key: str) -> None:
    if not trio.asks:
        pytest.skip("this release lets a run answer behind newer rows")
    assert (await trio.turn(session_key, "the first question")).answered

    async def meanwhile(_call: ModelCall) -> None:
        trio.insert(session_key, "user")

    incident = await _lost(trio, session_key, "the second question", meanwhile)
    lost = incident["lost"]
    assert (lost["cause"], lost["reason_code"]) == ("conflict", "lost_to_unreported_row")
    assert lost["reason_parameters"] == {"row": incident["unexplained"][0]["offset"]}
    assert (incident["verdict"], [page["about"] for page in incident["pages"]]) == ("external", ["takeover"])

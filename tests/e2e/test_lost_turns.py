"""Turns that are lost where sessions are rows of a database: the incident says to what."""

import asyncio
import json
from typing import Any

import pytest

from sidecar.demo.model import ModelCall
from sidecar.demo.rpc import GatewayClient
from tests.e2e.row_gateway import VERSIONS, Trio


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


def _claim_for(trio: Trio, session: str, run: str) -> None:
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


async def test_a_session_that_is_reset_while_the_model_thinks_wakes_nobody(trio: Trio, session_key: str) -> None:
    assert (await trio.turn(session_key, "the first question")).answered

    async def meanwhile(_call: ModelCall) -> None:
        async with GatewayClient(trio.gateway.url, trio.gateway.token) as client:
            await client.call("sessions.reset", {"key": session_key})

    incident = await _lost(trio, session_key, "the second question", meanwhile)
    assert (incident["lost"]["cause"], incident["verdict"], incident["pages"]) == ("reset", "reset", [])
    assert (await trio.turn(session_key, "the third question")).answered

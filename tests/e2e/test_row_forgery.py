"""Whoever speaks for somebody else, where sessions are rows of a database; see test_forgery.py."""

import asyncio
from pathlib import Path

import pytest

from sidecar.demo.model import ModelCall
from tests.e2e.liars import Kind, assert_not_believed, linked_liar
from tests.e2e.row_gateway import TOLD_SECONDS, Trio


@pytest.fixture(scope="module", params=["2026.9.6"])
def version(request: pytest.FixtureRequest) -> str:
    """The release of the gateway."""
    return str(request.param)


@pytest.mark.parametrize("kind", [Kind.SCRIPT, Kind.NODE, Kind.CHILD], ids=lambda kind: kind.name.lower())
async def test_rule_9_who_says_that_he_is_a_gateway_is_not_believed(
    trio: Trio, session_key: str, tmp_path: Path, kind: Kind
) -> None:
    assert (await trio.turn(session_key, "the first question")).answered
    async with linked_liar(kind, trio.sidecar.socket, trio.gateway.package, tmp_path) as liar:

        async def meanwhile(_call: ModelCall) -> None:
            await liar.greet()
            await liar.insert(trio.database_of(session_key), trio.session_id(session_key))
            await _is_met(trio, session_key)

        await trio.turn(session_key, "the second question", meanwhile)
        incident = await trio.incident(session_key)
    assert_not_believed(incident, liar, trio.sidecar.log)
    assert incident["verdict"] == "external"


async def _is_met(trio: Trio, session: str) -> None:
    name = trio.transcript(session)
    async with asyncio.timeout(TOLD_SECONDS):
        while not any(i["session_file"] == name for i in await trio.sidecar.incidents()):  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.05)

"""The main job where sessions are rows of a database: 2026.9.4 to 9.6 lose such turns unpatched, 8.1 to 9.3 do not."""

import asyncio
from typing import Final

import pytest

from sidecar.demo.model import ModelCall
from tests.e2e.row_gateway import ANSWER, TOLD_SECONDS, VERSIONS, Trio


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """The release of the gateway."""
    return str(request.param)


COMMANDS: Final = {
    "help": ("/help",),
    "whoami": ("/whoami",),
    "think": ("/think",),
    "two at once": ("/help", "/commands"),
    "five": ("/help", "/whoami", "/usage", "/context", "/queue"),
}


@pytest.mark.parametrize("commands", COMMANDS.values(), ids=COMMANDS)
async def test_a_command_that_is_typed_while_the_model_thinks_costs_no_turn(
    trio: Trio, session_key: str, commands: tuple[str, ...]
) -> None:
    assert (await trio.turn(session_key, "the first question")).answered

    async def meanwhile(_call: ModelCall) -> None:
        await trio.type_commands(session_key, *commands)
        await trio.approved(session_key, len(commands))

    turn = await trio.turn(session_key, "the second question", meanwhile)
    assert (turn.status, turn.text) == (200, ANSWER)

    incident = await trio.incident(session_key)
    expected = "effective" if trio.asks else "none"
    assert (incident["verdict"], incident["recovery"]["outcome"], incident["turn_lost"]) == (
        "co_tenant",
        expected,
        False,
    )
    others = [w for w in incident["writers"] if not w["own"]]
    assert {w["kind"] for w in others} == {"command"}
    assert [w["name"] for w in others] == [command.removeprefix("/") for command in commands]
    assert incident["pages"] == []

    assert trio.off_the_line(session_key) == set()
    assert (await trio.turn(session_key, "the third question")).answered


async def _is_seen(trio: Trio, session: str) -> None:
    """The sidecar has met what was done."""
    name = trio.transcript(session)
    async with asyncio.timeout(TOLD_SECONDS):
        while not any(i["session_file"] == name for i in await trio.sidecar.incidents()):  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("role", ["user", "assistant"])
async def test_a_row_that_a_stranger_adds_is_a_takeover(trio: Trio, session_key: str, role: str) -> None:
    assert (await trio.turn(session_key, "the first question")).answered

    async def meanwhile(_call: ModelCall) -> None:
        trio.insert(session_key, role)
        await _is_seen(trio, session_key)

    turn = await trio.turn(session_key, "the second question", meanwhile)
    incident = await trio.incident(session_key)
    assert (incident["verdict"], incident["recovery"]["outcome"]) == ("external", "refused")
    assert [page["about"] for page in incident["pages"]] == ["takeover"]
    assert (incident["unexplained"][0]["length"], incident["evidence"]) == (1, "bytes")
    if trio.asks and role == "user":
        assert not turn.answered
        assert incident["turn_lost"]


REWRITES: Final = {
    "an old row is rewritten": (
        "UPDATE transcript_events SET event_json = replace(event_json, 'first', 'FIRST')"
        " WHERE session_id = ? AND event_json LIKE '%the first question%'"
    ),
    "the generation is changed": (
        "UPDATE transcript_rewrite_watermarks SET generation = 'a stranger''s' WHERE session_id = ?"
    ),
}


@pytest.mark.parametrize("statement", REWRITES.values(), ids=REWRITES)
async def test_what_a_stranger_does_to_old_rows_is_a_takeover(trio: Trio, session_key: str, statement: str) -> None:
    assert (await trio.turn(session_key, "the first question")).answered

    async def meanwhile(_call: ModelCall) -> None:
        trio.tampered(statement, trio.session_id(session_key))
        await _is_seen(trio, session_key)

    await trio.turn(session_key, "the second question", meanwhile)
    incident = await trio.incident(session_key)
    assert (incident["verdict"], incident["recovery"]["outcome"]) == ("external", "refused")
    assert [page["about"] for page in incident["pages"]] == ["takeover"]


async def test_a_command_behind_a_strangers_row_saves_no_turn(trio: Trio, session_key: str) -> None:
    assert (await trio.turn(session_key, "the first question")).answered

    async def meanwhile(_call: ModelCall) -> None:
        trio.insert(session_key, "user")
        await trio.type_commands(session_key, "/help")
        await _is_seen(trio, session_key)

    turn = await trio.turn(session_key, "the second question", meanwhile)
    incident = await trio.incident(session_key)
    assert (incident["verdict"], incident["recovery"]["outcome"]) == ("external", "refused")
    if trio.asks:
        assert not turn.answered


async def test_a_turn_that_nobody_disturbs_has_no_incident(trio: Trio, session_key: str) -> None:
    before = len(await trio.sidecar.incidents())
    for number in range(3):
        assert (await trio.turn(session_key, f"question {number}")).answered
    assert len(await trio.sidecar.incidents()) == before
    status = await trio.sidecar.status()
    [found] = [g for g in status["gateways"] if g["pid"] == trio.gateway.pid]
    assert (found["adapter"], found["threads"], found["lost"]) == ("rebase" if trio.asks else "watch", 1, 0)
    assert status["custody_losses"] == {}
    assert status["watch"]["databases"] >= 1
    assert "nothing_to_watch" not in {problem["code"] for problem in status["problems"]}


async def test_without_a_sidecar_a_release_that_asks_loses_the_turn_as_unpatched(trio: Trio, session_key: str) -> None:
    assert (await trio.turn(session_key, "the first question")).answered
    await trio.sidecar.stop()
    try:
        commands = lambda _call: trio.type_commands(session_key, "/help")  # noqa: E731 - in place of a function
        turn = await trio.turn(session_key, "the second question", commands)
        assert turn.answered is not trio.asks
    finally:
        await trio.sidecar.start()
        await trio.sidecar.wait_linked(trio.gateway.pid)

"""The main job where sessions are rows of a database: 2026.9.4 to 9.6 lose such turns unpatched, 8.1 to 9.3 do not."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from sidecar.demo.model import ModelCall
from sidecar.demo.rpc import GatewayClient
from tests.e2e.row_gateway import ANSWER, TOLD_SECONDS, VERSIONS, Trio


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """The release of the gateway."""
    return str(request.param)


TYPED: Final = {
    "twelve, one after the other": (
        *("/help", "/whoami", "/commands", "/model", "/think", "/usage"),
        *("/context", "/verbose", "/name", "/queue", "/tasks", "/tools"),
    ),
    "one that 2026.9.6 itself forgives": ("/status",),
}


@pytest.mark.parametrize("commands", TYPED.values(), ids=TYPED)
async def test_a_command_that_is_typed_while_the_model_thinks_costs_no_turn(
    trio: Trio, session_key: str, commands: tuple[str, ...]
) -> None:
    assert (await trio.turn(session_key, "the first question")).answered

    async def meanwhile(_call: ModelCall) -> None:
        await trio.type_commands(session_key, *commands)
        await trio.approved(session_key, *commands)

    turn = await trio.turn(session_key, "the second question", meanwhile)
    assert (turn.status, turn.text) == (200, ANSWER)
    await _has_cost_nothing(trio, session_key, commands)


async def test_a_command_costs_no_turn_that_was_asked_for_in_the_gateways_own_chat(
    trio: Trio, session_key: str
) -> None:
    """There what a person asks is committed ahead of the run that answers it."""
    assert (await trio.turn(session_key, "the first question")).answered
    async with GatewayClient(trio.gateway.url, trio.gateway.token) as client:
        run = await client.chat_send(session_key, "the second question")
        call = await trio.model.next_call("the second question")
        await trio.type_commands(session_key, "/help")
        await trio.approved(session_key, "/help")
        call.answer(ANSWER)
        assert (await client.chat_end(run))["state"] == "final"
    await _has_cost_nothing(trio, session_key, ("/help",))


async def test_commands_that_are_typed_at_once_cost_no_turn(trio: Trio, session_key: str) -> None:
    commands = ("/help", "/whoami", "/usage", "/context", "/queue")
    assert (await trio.turn(session_key, "the first question")).answered

    async def meanwhile(_call: ModelCall) -> None:
        await asyncio.gather(*(trio.type_commands(session_key, command) for command in commands))
        await trio.approved(session_key, *commands)

    turn = await trio.turn(session_key, "the second question", meanwhile)
    assert (turn.status, turn.text) == (200, ANSWER)
    await _has_cost_nothing(trio, session_key, commands)


async def test_a_command_that_is_typed_while_a_tool_runs_costs_no_turn(trio: Trio, session_key: str) -> None:
    """Unpatched, 2026.9.4 to 9.6 lose the tool's result, and a model does the same thing again."""
    assert (await trio.turn(session_key, "the first question")).answered
    begun, go_on = (
        trio.gateway.work_dir / f"{session_key[-20:]}.begun",
        trio.gateway.work_dir / f"{session_key[-20:]}.on",
    )

    async def meanwhile(call: ModelCall) -> None:
        call.call_tool("exec", command=f"touch '{begun}'; while [ ! -e '{go_on}' ]; do sleep 0.05; done; echo acted")
        async with asyncio.timeout(TOLD_SECONDS):
            while not begun.exists():  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.05)
        await trio.type_commands(session_key, "/help")
        await trio.approved(session_key, "/help")
        go_on.touch()
        after = await trio.model.next_call("the second question")
        assert [m["content"].strip() for m in after.body["messages"] if m["role"] == "tool"] == ["acted"]
        after.answer(ANSWER)

    turn = await trio.turn(session_key, "the second question", meanwhile)
    assert (turn.status, turn.text) == (200, ANSWER)
    await _has_cost_nothing(trio, session_key, ("/help",))


async def _has_cost_nothing(trio: Trio, session: str, commands: tuple[str, ...]) -> None:
    """What was typed is a co-tenant's by its name, the history is one line, and the next turn is answered."""
    incident = await trio.incident(session)
    assert (incident["verdict"], incident["turn_lost"]) == ("co_tenant", False)
    forgiven = commands == ("/status",) and incident["recovery"]["reason_code"] == "approval_not_needed"
    assert forgiven or incident["recovery"]["outcome"] == ("effective" if trio.asks else "none")
    others = {(w["kind"], w["name"]) for w in incident["writers"] if not w["own"]}
    assert others == {("command", command.removeprefix("/")) for command in commands}
    assert (incident["pages"], incident["unexplained"]) == ([], [])
    assert trio.off_the_line(session) == set()
    assert (await trio.turn(session, "the third question")).answered


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


UNLISTED: Final = (
    "INSERT INTO transcript_events (session_id, seq, event_json, created_at)"
    ' SELECT session_id, max(seq) + 1, \'{"type":"message"}\', 1 FROM transcript_events WHERE session_id = ?'
)
"""A row without an identity: the gateway passes over it."""

EMPTIED: Final = "DELETE FROM transcript_events WHERE session_id = ?"


@pytest.mark.parametrize("statement", [UNLISTED, EMPTIED], ids=["a row without an identity", "all rows are deleted"])
async def test_a_row_that_the_gateway_does_not_see_is_a_takeover_like_any(
    trio: Trio, session_key: str, statement: str
) -> None:
    """What becomes of the turn is the gateway's own affair, and the incident tells it."""
    assert (await trio.turn(session_key, "the first question")).answered

    async def meanwhile(_call: ModelCall) -> None:
        trio.tampered(statement, trio.session_id(session_key))
        await _is_seen(trio, session_key)

    await trio.turn(session_key, "the second question", meanwhile)
    incident = await trio.incident(session_key)
    assert (incident["verdict"], incident["recovery"]["outcome"]) == ("external", "refused")
    assert [page["about"] for page in incident["pages"]] == ["takeover"]


@pytest.mark.parametrize("first", ["stranger", "command"])
async def test_a_command_beside_a_strangers_row_saves_no_turn(trio: Trio, session_key: str, first: str) -> None:
    assert (await trio.turn(session_key, "the first question")).answered

    async def meanwhile(_call: ModelCall) -> None:
        if first == "stranger":
            trio.insert(session_key, "user")
        await trio.type_commands(session_key, "/help")
        if first == "command":
            await trio.approved(session_key, "/help")
            trio.insert(session_key, "user")
        await trio.met(session_key, lambda incident: incident["verdict"] == "external")

    turn = await trio.turn(session_key, "the second question", meanwhile)
    incident = await trio.incident(session_key)
    assert (incident["verdict"], incident["recovery"]["outcome"]) == ("external", "refused")
    assert [page["about"] for page in incident["pages"]] == ["takeover"]
    if trio.asks:
        assert (turn.answered, incident["turn_lost"]) == (False, True)


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


async def _commanded(trio: Trio, session: str, *, to_the_end: bool = True) -> None:
    """A turn in whose window a command is typed goes as unpatched."""
    commands = lambda _call: trio.type_commands(session, "/help")  # noqa: E731 - in place of a function
    turn = await trio.turn(session, "the second question", commands, to_the_end=to_the_end)
    assert turn.answered is not trio.asks


async def test_beside_a_sidecar_that_stands_still_the_gateway_behaves_as_unpatched(
    trio: Trio, session_key: str
) -> None:
    assert (await trio.turn(session_key, "the first question")).answered
    trio.sidecar.suspend()
    try:
        await _commanded(trio, session_key, to_the_end=False)
    finally:
        trio.sidecar.go_on()
    assert (await trio.turn(session_key, "the third question")).answered
    name = trio.transcript(session_key)
    met = [incident for incident in await trio.sidecar.incidents() if incident["session_file"] == name]
    assert [incident["pages"] for incident in met] == [[]] * len(met)
    if trio.asks:
        [incident] = met
        assert (incident["verdict"], incident["turn_lost"]) == ("co_tenant", True)
        assert incident["recovery"]["outcome"] == "not_attempted"


async def test_without_a_sidecar_the_gateway_behaves_as_unpatched(trio: Trio, session_key: str) -> None:
    """Killed, stopped in order, and one that only looks on."""
    ends: tuple[Callable[[], Awaitable[object]], ...] = (trio.sidecar.kill, trio.sidecar.stop)
    for number, ended in enumerate(ends):
        session = f"{session_key}-{number}"
        assert (await trio.turn(session, "the first question")).answered
        await ended()
        try:
            await _commanded(trio, session)
        finally:
            trio.sidecar.options = ("--observe",)
            await trio.sidecar.start()
            await trio.sidecar.wait_linked(trio.gateway.pid)
    try:
        assert (await trio.turn(session_key, "the first question")).answered
        await _commanded(trio, session_key)
        incident = await trio.incident(session_key)
        assert (incident["verdict"], incident["recovery"]["mode"]) == ("co_tenant", "observe")
        assert incident["recovery"]["outcome"] == ("not_attempted" if trio.asks else "none")
    finally:
        await trio.sidecar.stop()
        trio.sidecar.options = ()
        await trio.sidecar.start()
        await trio.sidecar.wait_linked(trio.gateway.pid)

"""The main job where sessions are rows of a database: 2026.9.4 to 9.6 lose such turns unpatched, 8.1 to 9.3 do not."""

import asyncio
import json
import os
import sqlite3
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.demo.companion import Companion
from sidecar.demo.gateway import Gateway, TurnResult
from sidecar.demo.model import ModelCall, SlowModel
from sidecar.demo.packages import GatewayPackage
from sidecar.demo.rpc import GatewayClient
from sidecar.preload import preload_path

QUESTION: Final = b"function canRebasePreparedAssistantInTransaction("
ROWS: Final = b"function appendTranscriptEventInTransaction("
START_SECONDS: Final = 240.0
TURN_SECONDS: Final = 90.0
TOLD_SECONDS: Final = 30.0
ANSWER: Final = "The answer."

VERSIONS: Final = tuple(os.environ.get("OPENCLAW_SIDECAR_TEST_VERSIONS", "").split() or ("2026.8.2", "2026.9.6"))


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """The release of the gateway."""
    return str(request.param)


@dataclass
class Trio:
    """A gateway whose sessions are rows, its model and a sidecar."""

    gateway: Gateway
    model: SlowModel
    sidecar: Companion
    asks: bool
    """The release asks whether newer rows forbid an answer."""

    @property
    def database(self) -> Path:
        return self.gateway.state_dir / "agents" / "main" / "agent" / "openclaw-agent.sqlite"

    async def turn(self, session: str, text: str, meanwhile: Callable[[ModelCall], Any] | None = None) -> TurnResult:
        """A turn; something happens while the model thinks."""
        turn = asyncio.ensure_future(self.gateway.turn(session, text, TURN_SECONDS))
        try:
            call = await self.model.next_call(mentioning=text, timeout_seconds=TURN_SECONDS)
            if meanwhile is not None:
                await meanwhile(call)
            call.answer(ANSWER)
            done = await turn
            if self.sidecar.pid:
                await self.sidecar.wait_for(lambda status: status["windows"] == 0)
            return done
        finally:
            turn.cancel()

    async def type_commands(self, session: str, *commands: str) -> None:
        """A person types commands, each after the reply to the one before."""
        async with GatewayClient(self.gateway.url, self.gateway.token) as client:
            for command in commands:
                end = await client.chat_end(await client.chat_send(session, command))
                assert end["state"] == "final", end

    def session_id(self, session: str) -> str:
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            [(found,)] = connection.execute(
                "SELECT current_session_id FROM session_nodes WHERE session_key = ?", (session,)
            ).fetchall()
        return str(found)

    def history(self, session: str) -> list[tuple[str, str, str]]:
        """Id, parent and type of each row that has an id, in order."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            return connection.execute(
                "SELECT event_id, coalesce(parent_id, ''), event_type FROM transcript_event_identities"
                " WHERE session_id = ? ORDER BY seq",
                (self.session_id(session),),
            ).fetchall()

    def off_the_line(self, session: str) -> set[str]:
        """Messages that do not stand between the last one and the root."""
        rows = self.history(session)
        parents = {name: parent for name, parent, _kind in rows}
        messages = [name for name, _parent, kind in rows if kind == "message"]
        here, line = messages[-1], set()
        while here:
            line.add(here)
            here = parents.get(here, "")
        return set(messages) - line

    def tampered(self, statement: str, *values: object) -> None:
        """A process without a link changes the database."""
        with closing(sqlite3.connect(self.database, isolation_level=None, timeout=10)) as connection:
            connection.create_function("octet_length", 1, _octets, deterministic=True)
            connection.execute(statement, values)

    async def approved(self, session: str, commands: int) -> None:
        """The sidecar has met so many commands, and the gateway has heard what it was sent by then."""
        name = f"{self.database.resolve()}#{self.session_id(session)}"

        def met(incident: dict[str, Any]) -> bool:
            others = [writer for writer in incident["writers"] if not writer["own"]]
            known = incident["verdict"] == "external" or len(others) == commands
            return incident["session_file"] == name and known and incident["recovery"]["outcome"] != "refused"

        async with asyncio.timeout(TOLD_SECONDS):
            while not any(met(incident) for incident in await self.sidecar.incidents()):  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.05)
        async with GatewayClient(self.gateway.url, self.gateway.token) as client:
            await client.chat_history(session)

    async def incident(self, session: str) -> dict[str, Any]:
        """The one incident of a session, when its window is over."""
        name = f"{self.database.resolve()}#{self.session_id(session)}"
        async with asyncio.timeout(TOLD_SECONDS):
            while True:
                found = [i for i in await self.sidecar.incidents() if i["session_file"] == name]
                if found and found[0]["closed_at"]:
                    [incident] = found
                    return incident
                await asyncio.sleep(0.1)


def _octets(value: str | bytes | None) -> int | None:
    """What the schema's checks ask for, and Python's SQLite may be too old to have."""
    return None if value is None else len(value.encode() if isinstance(value, str) else value)


@pytest.fixture(scope="module")
def trio(runner: asyncio.Runner, version: str, packages: Callable[[str], GatewayPackage]) -> Iterator[Trio]:
    """All of it running; the start of these releases alone may take a minute."""
    package = packages(version)
    sources = [path.read_bytes() for path in (package.cli.parent / "dist").glob("*.*js")]
    if not any(ROWS in source for source in sources):
        pytest.skip(f"openclaw {version} keeps sessions in files")
    with tempfile.TemporaryDirectory(prefix="ocs-") as directory:
        work = Path(directory)
        socket = work / "sidecar.sock"
        env = {"NODE_OPTIONS": f"--import={preload_path()}", "OPENCLAW_SIDECAR_SOCKET": str(socket)}
        stack = AsyncExitStack()

        async def start() -> Trio:
            model = await stack.enter_async_context(SlowModel())
            gateway = Gateway(package, work / "gateway", model.base_url, env)
            gateway.state_dir.mkdir(parents=True)
            sidecar = await stack.enter_async_context(Companion(gateway.state_dir, work, socket))
            await gateway.start(START_SECONDS)
            stack.push_async_callback(gateway.stop)
            await sidecar.wait_linked(gateway.pid)
            return Trio(gateway, model, sidecar, any(QUESTION in source for source in sources))

        try:
            yield runner.run(start())
        finally:
            runner.run(stack.aclose())


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
    # The gateway takes /think and /queue as directives of a message, and names no command.
    named = [command.removeprefix("/") for command in commands if command not in {"/think", "/queue"}]
    assert [w["name"] for w in others if w["name"]] == named
    assert incident["pages"] == []

    assert trio.off_the_line(session_key) == set()
    assert (await trio.turn(session_key, "the third question")).answered


async def _inserted(trio: Trio, session: str, role: str) -> None:
    """A stranger adds a row as the gateway would."""
    session_id, (*_, (parent, _, _)) = trio.session_id(session), trio.history(session)
    name = str(uuid.uuid4())
    message = {"role": role, "content": [{"type": "text", "text": "a stranger's"}], "timestamp": 1}
    event = json.dumps({"type": "message", "id": name, "parentId": parent, "timestamp": "2026-01-01T00:00:00.000Z"})
    event = event[:-1] + f', "message": {json.dumps(message)}}}'
    row = "INSERT INTO transcript_events (session_id, seq, event_json, created_at) SELECT ?, max(seq) + 1, ?, 1 FROM"
    trio.tampered(f"{row} transcript_events WHERE session_id = ?", session_id, event, session_id)
    trio.tampered(
        "INSERT INTO transcript_event_identities (session_id, event_id, seq, event_type, parent_id, created_at)"
        " SELECT ?, ?, max(seq), 'message', ?, 1 FROM transcript_events WHERE session_id = ?",
        *(session_id, name, parent, session_id),
    )


async def _is_seen(trio: Trio, session: str) -> None:
    """The sidecar has met what was done."""
    name = f"{trio.database.resolve()}#{trio.session_id(session)}"
    async with asyncio.timeout(TOLD_SECONDS):
        while not any(i["session_file"] == name for i in await trio.sidecar.incidents()):  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("role", ["user", "assistant"])
async def test_a_row_that_a_stranger_adds_is_a_takeover(trio: Trio, session_key: str, role: str) -> None:
    assert (await trio.turn(session_key, "the first question")).answered

    async def meanwhile(_call: ModelCall) -> None:
        await _inserted(trio, session_key, role)
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
        await _inserted(trio, session_key, "user")
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

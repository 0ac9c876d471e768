"""A gateway whose sessions are rows of a database, its model and a sidecar."""

import asyncio
import json
import os
import sqlite3
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
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

VERSIONS: Final = tuple(os.environ.get("OPENCLAW_SIDECAR_TEST_VERSIONS", "").split() or ("2026.8.2", "2026.9.6"))
"""The releases under test; `make test-releases` names more."""

QUESTION: Final = b"function canRebasePreparedAssistantInTransaction("
ROWS: Final = b"function appendTranscriptEventInTransaction("
START_SECONDS: Final = 240.0
TURN_SECONDS: Final = 90.0
TOLD_SECONDS: Final = 30.0
ANSWER: Final = "The answer."


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
        return self.database_of("agent:main:")

    def database_of(self, session: str) -> Path:
        """The database of the agent that a session is of."""
        return self.gateway.state_dir / "agents" / session.split(":")[1] / "agent" / "openclaw-agent.sqlite"

    def transcript(self, session: str) -> str:
        """The id of a session's transcript."""
        return f"{self.database_of(session).resolve()}#{self.session_id(session)}"

    async def turn(
        self,
        session: str,
        text: str,
        meanwhile: Callable[[ModelCall], Any] | None = None,
        *,
        to_the_end: bool = True,
    ) -> TurnResult:
        """A turn; something happens while the model thinks. With its end, the sidecar has closed its window."""
        turn = asyncio.ensure_future(self.gateway.turn(session, text, TURN_SECONDS))
        try:
            call = await self.model.next_call(mentioning=text, timeout_seconds=TURN_SECONDS)
            if meanwhile is not None:
                await meanwhile(call)
            call.answer(ANSWER)
            done = await turn
            if to_the_end and self.sidecar.pid:
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

    def rows(self, session: str, query: str, *values: object) -> list[Any]:
        """What a query of the database of a session gives."""
        with closing(sqlite3.connect(f"file:{self.database_of(session)}?mode=ro", uri=True)) as connection:
            return connection.execute(query, values).fetchall()

    def session_id(self, session: str) -> str:
        """The id of a session, whose transcript its rows are."""
        [(found,)] = self.rows(session, "SELECT current_session_id FROM session_nodes WHERE session_key = ?", session)
        return str(found)

    def generation(self, session: str) -> str:
        """The generation of a session's transcript: another one with each rewrite by the gateway."""
        query = "SELECT generation FROM transcript_rewrite_watermarks WHERE session_id = ?"
        return str(self.rows(session, query, self.session_id(session)))

    def history(self, session: str) -> list[tuple[str, str, str]]:
        """Id, parent and type of each row that has an id, in order."""
        return self.rows(
            session,
            "SELECT event_id, coalesce(parent_id, ''), event_type FROM transcript_event_identities"
            " WHERE session_id = ? ORDER BY seq",
            self.session_id(session),
        )

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

    def insert(self, session: str, role: str) -> None:
        """A process without a link adds a row as the gateway would."""
        session_id, (*_, (parent, _, _)) = self.session_id(session), self.history(session)
        name = str(uuid.uuid4())
        message = {"role": role, "content": [{"type": "text", "text": "a stranger's"}], "timestamp": 1}
        event = json.dumps({"type": "message", "id": name, "parentId": parent, "timestamp": "2026-01-01T00:00:00.000Z"})
        event = event[:-1] + f', "message": {json.dumps(message)}}}'
        row = (
            "INSERT INTO transcript_events (session_id, seq, event_json, created_at) SELECT ?, max(seq) + 1, ?, 1 FROM"
        )
        self.tampered(f"{row} transcript_events WHERE session_id = ?", session_id, event, session_id)
        self.tampered(
            "INSERT INTO transcript_event_identities (session_id, event_id, seq, event_type, parent_id, created_at)"
            " SELECT ?, ?, max(seq), 'message', ?, 1 FROM transcript_events WHERE session_id = ?",
            *(session_id, name, parent, session_id),
        )

    def mended(self) -> None:
        """What a stranger's deletions left dangling is taken out: 2026.9.6 opens no database that has such rows.

        A gateway opens its databases anew after some idle minutes, so it would be another test that fails.
        """
        for database in self.gateway.state_dir.glob("agents/*/agent/openclaw-agent.sqlite"):
            with closing(sqlite3.connect(database, isolation_level=None, timeout=10)) as connection:
                connection.create_function("octet_length", 1, _octets, deterministic=True)
                while dangling := connection.execute("PRAGMA foreign_key_check").fetchall():
                    for table, row, *_ in dangling:
                        taken_out = connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (row,)).rowcount
                        assert taken_out == 1, (table, row)

    async def approved(self, session: str, *commands: str) -> None:
        """The sidecar has met these commands, all of them, and the gateway has heard what it was sent by then."""
        typed = {command.removeprefix("/") for command in commands}

        def all_of_them(incident: dict[str, Any]) -> bool:
            # The gateway notes the thinking level after the fence, under no name; that may have been judged by itself.
            others = {writer["name"] for writer in incident["writers"] if not writer["own"]} - {""}
            return others == typed and incident["recovery"]["outcome"] != "refused"

        await self.met(session, all_of_them)
        async with GatewayClient(self.gateway.url, self.gateway.token) as client:
            await client.chat_history(session)

    async def met(self, session: str, what: Callable[[dict[str, Any]], bool]) -> None:
        """Wait until an incident of a session is like this."""
        name = self.transcript(session)
        async with asyncio.timeout(TOLD_SECONDS):
            while not any(  # noqa: ASYNC110 - of another process
                incident["session_file"] == name and what(incident) for incident in await self.sidecar.incidents()
            ):
                await asyncio.sleep(0.05)

    async def incident(self, session: str) -> dict[str, Any]:
        """The one incident of a session, when its window is over."""
        name = self.transcript(session)
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


def trios(
    runner: asyncio.Runner,
    package: GatewayPackage,
    settings: Mapping[str, Any] | None = None,
    more: Mapping[str, str] | None = None,
    prepare: Callable[[Gateway], Awaitable[None]] | None = None,
) -> Iterator[Trio]:
    """All of it running, for a fixture; the start of these releases alone may take a minute.

    Args:
        runner: The session's event loop.
        package: The release.
        settings: Laid over the gateway's configuration.
        more: Laid over its environment.
        prepare: Puts something into the state directory before the gateway starts.
    """
    sources = [path.read_bytes() for path in (package.cli.parent / "dist").glob("*.*js")]
    if not any(ROWS in source for source in sources):
        pytest.skip(f"openclaw {package.version} keeps sessions in files")
    with tempfile.TemporaryDirectory(prefix="ocs-") as directory:
        work = Path(directory)
        socket = work / "sidecar.sock"
        env = {"NODE_OPTIONS": f"--import={preload_path()}", "OPENCLAW_SIDECAR_SOCKET": str(socket)}
        env |= more or {}
        stack = AsyncExitStack()

        async def start() -> Trio:
            model = await stack.enter_async_context(SlowModel())
            gateway = Gateway(package, work / "gateway", model.base_url, env, settings)
            gateway.state_dir.mkdir(parents=True)
            if prepare is not None:
                await prepare(gateway)
            sidecar = await stack.enter_async_context(Companion(gateway.state_dir, work, socket))
            await gateway.start(START_SECONDS)
            stack.push_async_callback(gateway.stop)
            await sidecar.wait_linked(gateway.pid)
            return Trio(gateway, model, sidecar, any(QUESTION in source for source in sources))

        try:
            yield runner.run(start())
        finally:
            runner.run(stack.aclose())


class Trios:
    """The session's gateways with rows: each started when a test first wants it, all stopped at the end."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._opened: dict[str, tuple[Trio, Iterator[Trio]]] = {}

    def get(self, package: GatewayPackage) -> Trio:
        """The running one of a release."""
        if package.version not in self._opened:
            opened = trios(self._runner, package)
            self._opened[package.version] = next(opened), opened
        return self._opened[package.version][0]

    def stop(self) -> None:
        """Stop all of them."""
        for _, opened in self._opened.values():
            next(opened, None)

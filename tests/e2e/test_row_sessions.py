"""Sessions in a database, on a gateway that has a past and everything that writes to sessions.

Who wrote a row is said by kind and name, and what the gateway does itself costs no turn. `test_writer_names.py` has the
names for session files, where the gateway does more.
"""

import asyncio
import base64
import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.demo.gateway import Gateway
from sidecar.demo.model import MODEL_ID, ModelCall
from sidecar.demo.packages import GatewayPackage
from sidecar.demo.rpc import GatewayClient
from tests.e2e.botapi import GROUP_ID, BotApi
from tests.e2e.row_gateway import ANSWER, TOLD_SECONDS, TURN_SECONDS, VERSIONS, Trio, trios

MAIN: Final = "agent:main:main"
GROUP: Final = f"agent:main:telegram:group:{GROUP_ID}"
NOTE: Final = ("inject", "night-watch")
TURN: Final = ("user_turn", "webchat")
SETTINGS: Final[dict[str, Any]] = {
    "agents": {
        "defaults": {"heartbeat": {"every": "12h"}},
        "list": [{"id": "main", "default": True, "heartbeat": {"every": "12h"}}, {"id": "other"}],
    },
    "tools": {
        "agentToAgent": {"enabled": True, "allow": ["*"]},
        "sessions": {"visibility": "all"},
        "toolSearch": False,  # else the model has to look for most tools
    },
    # A model that takes the longest session whole.
    "models": {"providers": {"rig": {"models": [{"id": MODEL_ID, "name": "Slow", "contextWindow": 4_000_000}]}}},
}
LONG: Final = "agent:main:long"
LONG_ID: Final = "11111111-1111-4111-8111-111111111111"
BULK: Final = "agent:main:bulk"
BULK_ID: Final = "22222222-2222-4222-8222-222222222222"
LONG_RECORDS: Final = 10_000
BULK_RECORDS: Final = 24
BULK_BYTES: Final = 600_000
DATABASE_BYTES: Final = 50_000_000
IMPORT_SECONDS: Final = 300.0
UNDRIVEN: Final = pytest.mark.not_on("2026.8", reason="the rig does not bring it to begin such a run")
WITHOUT_FENCE: Final = ("2026.8", "2026.9.1", "2026.9.2", "2026.9.3")
FENCED: Final = pytest.mark.not_on(*WITHOUT_FENCE, reason="it has no fence")
DISTURBED: Final = pytest.mark.not_on(
    *WITHOUT_FENCE, "2026.9.4", "2026.9.5", reason="9.5 ends a heartbeat by itself before a command writes"
)
pytestmark = pytest.mark.seconds(240)
"""Much here takes two or three turns, of ten seconds and more on a busy machine."""

Who = tuple[str, str]
"""Kind and name."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A gateway with what writes to sessions, and a sidecar."""

    trio: Trio
    client: GatewayClient
    bot: BotApi

    async def call(self, mentioning: str) -> ModelCall:
        """The next call of the model about a text."""
        return await self.trio.model.next_call(mentioning, TURN_SECONDS)

    async def finish(self, call: ModelCall, session: str, answer: str = ANSWER) -> None:
        """Somebody else writes into the window of the run that made a call, then it ends."""
        await self.client.chat_inject(session, "All is well.", NOTE[1])
        await self.written(session, NOTE)
        call.answer(answer)

    async def written(self, session: str, who: Who) -> None:
        """Wait until an open window of a session has met a writer."""
        name = self.trio.transcript(session)
        async with asyncio.timeout(TOLD_SECONDS):
            while not any(  # noqa: ASYNC110 - of another process
                not incident["closed_at"] and incident["session_file"] == name and who in writers(incident)
                for incident in await self.trio.sidecar.incidents()
            ):
                await asyncio.sleep(0.05)

    async def run_in(self, session: str, kind: str) -> str:
        """The name of the run of a kind that met the newest incident of a session."""
        name = self.trio.transcript(session)
        return next(
            str(incident["run"]["name"])
            for incident in await self.trio.sidecar.incidents()
            if incident["session_file"] == name and incident["run"]["kind"] == kind
        )

    async def told(self, session: str, run: Who, who: Who) -> dict[str, Any]:
        """The newest incident of a session that a run met: it names a writer, and no turn is lost and nobody paged."""
        name = self.trio.transcript(session)
        async with asyncio.timeout(TOLD_SECONDS):
            while True:
                found = [i for i in await self.trio.sidecar.incidents() if i["session_file"] == name]
                met = [i for i in found if (i["run"]["kind"], i["run"]["name"]) == run]
                if met and met[0]["closed_at"]:
                    break
                await asyncio.sleep(0.1)
        incident = met[0]
        assert who in writers(incident)
        assert (incident["verdict"], incident["turn_lost"], incident["unexplained"]) == ("co_tenant", False, [])
        assert incident["pages"] == []
        return incident


def writers(incident: dict[str, Any]) -> set[Who]:
    """Kind and name of the writers of an incident besides the run itself."""
    return {(w["kind"], w["name"]) for w in incident["writers"] if not w["own"]}


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """The release of the gateway."""
    return str(request.param)


@pytest.fixture(scope="module")
def stage(runner: asyncio.Runner, version: str, packages: Callable[[str], GatewayPackage]) -> Iterator[Stage]:
    """One for all tests of a release. Telegram's Bot API is a fake at the end of the wire (botapi.py)."""
    stack = AsyncExitStack()
    bot = runner.run(stack.enter_async_context(BotApi()))
    try:
        for trio in trios(runner, packages(version), SETTINGS | bot.settings(), prepare=_imported):
            client = GatewayClient(trio.gateway.url, trio.gateway.token, TURN_SECONDS)
            runner.run(stack.enter_async_context(client))
            yield Stage(trio, client, bot)
            runner.run(client.stop())
    finally:
        runner.run(stack.aclose())


_MODEL: Final = {"api": "openai-completions", "provider": "rig", "model": MODEL_ID}
_COUNTS: Final = dict.fromkeys(("input", "output", "cacheRead", "cacheWrite"), 0)
_UNCOUNTED: Final = {**_COUNTS, "totalTokens": 0, "cost": {**_COUNTS, "total": 0}}


async def _imported(gateway: Gateway) -> None:
    """OpenClaw itself makes a database of session files, in a state directory that only its tool has seen."""
    other = Gateway(gateway.package, gateway.work_dir / "import", "")
    sessions = other.sessions_dir()
    for directory in (sessions, other.work_dir / "workspace", other.work_dir / "tmp"):
        directory.mkdir(parents=True)
    words = random.Random(1)
    bulk = [base64.b64encode(words.randbytes(BULK_BYTES)).decode() for _ in range(BULK_RECORDS)]
    index = {
        LONG: _written(sessions / f"{LONG_ID}.jsonl", LONG_ID, ["."] * LONG_RECORDS),
        BULK: _written(sessions / f"{BULK_ID}.jsonl", BULK_ID, bulk),
    }
    (sessions / "sessions.json").write_text(json.dumps(index))
    (other.state_dir / "openclaw.json").write_text("{}")
    command = ("doctor", "--session-sqlite", "import", "--session-sqlite-all-agents")
    done = await other.command(*command, timeout_seconds=IMPORT_SECONDS)
    assert done.code == 0, done.stdout + done.stderr
    shutil.copytree(other.state_dir / "agents", gateway.state_dir / "agents")


def _written(file: Path, session_id: str, texts: list[str]) -> dict[str, Any]:
    """A session file as the releases before 2026.8 have it, and its entry in their index."""
    now = datetime.now(UTC)
    stamp, milliseconds = now.isoformat(), int(now.timestamp() * 1000)
    records: list[dict[str, Any]] = [
        {"type": "session", "version": 3, "id": session_id, "timestamp": stamp, "cwd": "/"}
    ]
    parent = None
    for number, text in enumerate(texts):
        message: dict[str, Any] = {"role": "user", "content": [{"type": "text", "text": text}]}
        message["timestamp"] = milliseconds
        if number % 2:
            message |= {"role": "assistant", "stopReason": "stop", "usage": _UNCOUNTED, **_MODEL}
        record = {"type": "message", "id": f"{number:08x}", "parentId": parent, "timestamp": stamp, "message": message}
        records.append(record)
        parent = record["id"]
    file.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return {"sessionId": session_id, "updatedAt": milliseconds, "sessionFile": str(file)}


@pytest.fixture
def trio(stage: Stage) -> Trio:
    """Its gateway, for what conftest.py shows of a failure."""
    return stage.trio


async def _job(stage: Stage, name: str, target: str, payload: dict[str, str], **more: object) -> str:
    """Add a cron job that never is due, and start it."""
    schedule = {"kind": "every", "everyMs": 30 * 86_400_000}
    job = {"name": name, "schedule": schedule, "sessionTarget": target, "wakeMode": "now", "payload": payload}
    job_id = str((await stage.client.call("cron.add", {**job, "enabled": True, **more}))["id"])
    await stage.client.call("cron.run", {"id": job_id, "mode": "force"})
    return job_id


@UNDRIVEN
async def test_a_heartbeat_is_named_by_its_agent(stage: Stage, trio: Trio) -> None:
    """The first test: a heartbeat waits for half a minute after a user's turn in its session."""
    await stage.client.call("wake", {"mode": "now", "text": "Look after things."})
    call = await stage.call("Look after things.")
    await stage.finish(call, MAIN, "HEARTBEAT_OK")
    await stage.told(MAIN, ("heartbeat", "main"), NOTE)


async def _disturbed(stage: Stage, call: ModelCall, session: str, run: Who) -> None:
    """A person types a command while the model of a heartbeat thinks: it costs nothing, and is attributed."""
    trio = stage.trio
    await trio.type_commands(session, "/help")
    await stage.written(session, ("command", "help"))
    await trio.approved(session, "/help")
    call.answer("HEARTBEAT_OK")
    incident = await stage.told(session, run, ("command", "help"))
    assert incident["recovery"]["outcome"] == ("effective" if trio.asks else "none")
    assert trio.off_the_line(session) == set()


async def _runs_in(trio: Trio) -> str:
    """The session in which the newest run is under way."""
    running = "SELECT session_key FROM session_nodes WHERE status = 'running' ORDER BY updated_at DESC LIMIT 1"
    [(session,)] = trio.rows(MAIN, running)
    return str(session)


@DISTURBED
async def test_a_command_costs_no_heartbeat_in_a_session_that_has_rows(stage: Stage, trio: Trio) -> None:
    assert trio.history(MAIN)
    await stage.client.call("wake", {"mode": "now", "text": "Look again."})
    call = await stage.call("Look again.")
    assert await _runs_in(trio) == MAIN
    await _disturbed(stage, call, MAIN, ("heartbeat", "main"))


@DISTURBED
async def test_a_cron_job_of_the_main_session_is_named_by_the_job(stage: Stage, trio: Trio) -> None:
    """It is carried out as a heartbeat, in the main session or in the last one; what began it decides."""
    await _job(stage, "daily-digest", "main", {"kind": "systemEvent", "text": "Digest, please."})
    call = await stage.call("Digest, please.")
    session = await _runs_in(trio)
    assert trio.history(session)
    await _disturbed(stage, call, session, ("cron", "daily-digest"))


@FENCED
async def test_a_strangers_row_in_the_window_of_a_heartbeat_is_a_takeover(stage: Stage, trio: Trio) -> None:
    await stage.client.call("wake", {"mode": "now", "text": "Look once more."})
    call = await stage.call("Look once more.")
    trio.insert(MAIN, "assistant")
    await trio.met(MAIN, lambda incident: incident["verdict"] == "external" and not incident["closed_at"])
    call.answer("HEARTBEAT_OK")
    name = trio.transcript(MAIN)
    await trio.met(MAIN, lambda incident: incident["verdict"] == "external" and bool(incident["closed_at"]))
    [incident] = [i for i in await trio.sidecar.incidents() if (i["session_file"], i["verdict"]) == (name, "external")]
    assert (incident["run"]["kind"], incident["recovery"]["outcome"]) == ("heartbeat", "refused")
    assert [page["about"] for page in incident["pages"]] == ["takeover"]


@UNDRIVEN
async def test_a_turn_that_a_channel_brings_is_named_by_the_channel(stage: Stage, trio: Trio) -> None:
    await stage.bot.write("Hello from the channel.", GROUP_ID)
    call = await stage.call("Hello from the channel.")
    await stage.finish(call, GROUP)
    await stage.told(GROUP, ("channel", "telegram"), NOTE)


@UNDRIVEN
async def test_what_is_delivered_to_a_chat_is_named_by_the_job_and_by_the_channel(stage: Stage, trio: Trio) -> None:
    """The announcement of an isolated job, and what a client sends to the chat, in the window of a turn there."""
    delivery = {"mode": "announce", "channel": "telegram", "to": str(GROUP_ID)}
    message = {"channel": "telegram", "to": str(GROUP_ID), "message": "Dinner is ready.", "sessionKey": GROUP}

    async def meanwhile(_call: ModelCall) -> None:
        await _job(stage, "iso-report", "isolated", {"kind": "agentTurn", "message": "Report!"}, delivery=delivery)
        (await stage.call("Report!")).answer("The report is ready.")
        await stage.written(GROUP, ("cron", "iso-report"))
        await stage.client.call("send", {**message, "idempotencyKey": "dinner"})
        await stage.written(GROUP, ("mirror", "telegram"))

    assert (await trio.turn(GROUP, "What is new?", meanwhile)).answered
    incident = await stage.told(GROUP, TURN, ("cron", "iso-report"))
    assert writers(incident) == {("cron", "iso-report"), ("mirror", "telegram")}


async def test_a_note_costs_no_turn(stage: Stage, trio: Trio, session_key: str) -> None:
    async def meanwhile(_call: ModelCall) -> None:
        await stage.client.chat_inject(session_key, "All is well.", NOTE[1])
        await stage.written(session_key, NOTE)

    assert (await trio.turn(session_key, "What is new?", meanwhile)).answered
    await stage.told(session_key, TURN, NOTE)
    assert trio.off_the_line(session_key) == set()


async def test_a_row_of_a_voice_call_is_named(stage: Stage, trio: Trio, session_key: str, version: str) -> None:
    """In the window of the run that the call asked for. 2026.9.4 and 9.5 end that run, as unpatched."""
    assert (await trio.turn(session_key, "Good morning.")).answered
    consult = {"callId": "c1", "name": "openclaw_agent_consult", "args": {"question": "What is the weather?"}}
    await stage.client.call("talk.client.toolCall", {"sessionKey": session_key, **consult})
    call = await stage.call("What is the weather?")
    query = "SELECT key FROM cache_entries WHERE value_json LIKE '%' || ? || '%'"
    [(voice,)] = trio.rows(MAIN, query, f'"sessionKey":"{session_key}"')
    said = {"voiceSessionId": voice, "entryId": "e1", "role": "user", "text": "Will it rain?"}
    await stage.client.call("talk.client.transcript", {"sessionKey": session_key, **said})
    await stage.written(session_key, ("channel", "voice"))
    call.answer(ANSWER)
    incident = await trio.incident(session_key)
    assert (incident["verdict"], incident["pages"], writers(incident)) == ("co_tenant", [], {("channel", "voice")})
    assert not incident["turn_lost"] or "2026.9.4" <= version <= "2026.9.5"


@UNDRIVEN
async def test_a_subagents_completion_is_named_by_the_subagent(stage: Stage, trio: Trio, session_key: str) -> None:
    parent = await stage.client.chat_send(session_key, "Have it done.")
    (await stage.call("Have it done.")).call_tool("sessions_spawn", task="Count to three.", label="counter")
    (await stage.call("Have it done.")).answer("It is being done.")
    await stage.client.chat_end(parent)
    (await stage.call("Count to three.")).answer("One, two, three.")
    await stage.finish(await stage.call("One, two, three."), session_key)
    name = await stage.run_in(session_key, "subagent")
    assert name.startswith("main/")
    await stage.told(session_key, ("subagent", name), NOTE)


async def test_commands_cost_no_turn_of_two_agents_at_once(stage: Stage, trio: Trio) -> None:
    """Each agent has a database of its own."""
    sessions = ("agent:main:beside", "agent:other:beside")
    for session in sessions:
        assert (await trio.turn(session, "Good morning.")).answered

    async def disturbed(session: str) -> None:
        async def meanwhile(_call: ModelCall) -> None:
            await trio.type_commands(session, "/help")
            await trio.approved(session, "/help")

        assert (await trio.turn(session, f"What is new, {session}?", meanwhile)).answered
        incident = await trio.incident(session)
        assert incident["recovery"]["outcome"] == ("effective" if trio.asks else "none")
        assert incident["session_file"].startswith(str(trio.database_of(session).resolve()))

    await asyncio.gather(*map(disturbed, sessions))


async def _types_a_command(trio: Trio, session: str, meanwhile: Callable[[], None] = lambda: None) -> None:
    """A turn in whose window a person types a command: it costs nothing, and is attributed."""

    async def typed(_call: ModelCall) -> None:
        await trio.type_commands(session, "/help")
        await trio.approved(session, "/help")
        meanwhile()

    turn = await trio.turn(session, f"What is new in {session}?", typed)
    incident = await trio.incident(session)
    assert turn.answered, incident
    assert (incident["verdict"], incident["turn_lost"], incident["pages"]) == ("co_tenant", False, [])
    assert incident["recovery"]["outcome"] == ("effective" if trio.asks else "none")
    assert [(w["kind"], w["name"]) for w in incident["writers"] if not w["own"]] == [("command", "help")]
    assert trio.off_the_line(session) == set()


async def test_a_turn_behind_ten_thousand_imported_rows_in_a_large_database_is_recovered(trio: Trio) -> None:
    """A session file that is left over beside the database is nobody's session: what is appended to it is no matter."""
    assert trio.database.stat().st_size > DATABASE_BYTES
    assert (await trio.turn(LONG, "Good morning.")).answered
    assert len(trio.history(LONG)) > LONG_RECORDS
    left_over = trio.gateway.sessions_dir() / f"{LONG_ID}.jsonl"
    left_over.write_text('{"type":"session"}\n')

    def appended() -> None:
        with left_over.open("a") as file:
            file.write('{"type":"message"}\n')

    await _types_a_command(trio, LONG, appended)
    assert (await trio.turn(LONG, "And now?")).answered
    assert [i["session_file"] for i in await trio.sidecar.incidents() if "#" not in i["session_file"]] == []


async def test_a_session_that_was_archived_and_taken_up_again_is_recovered(trio: Trio, session_key: str) -> None:
    assert (await trio.turn(session_key, "Good morning.")).answered
    named = {"key": session_key, "expectedSessionId": trio.session_id(session_key)}
    async with GatewayClient(trio.gateway.url, trio.gateway.token, TURN_SECONDS) as client:
        for archived in (True, False):
            await client.call("sessions.patch", {**named, "archived": archived})
    await _types_a_command(trio, session_key)
    assert (await trio.turn(session_key, "And now?")).answered


async def test_what_the_gateway_rewrites_is_a_known_writers_and_pages_nobody(trio: Trio, session_key: str) -> None:
    """A compaction gives the transcript another generation. The first row of a session is a worker thread's."""
    for number in range(3):
        assert (await trio.turn(session_key, f"Question {number}.")).answered
    generation = trio.generation(session_key)
    async with GatewayClient(trio.gateway.url, trio.gateway.token, TURN_SECONDS) as client:
        done = await client.call("sessions.compact", {"key": session_key, "maxLines": 4})
    assert (done["compacted"], trio.generation(session_key) == generation) == (True, False)
    await _types_a_command(trio, session_key)
    assert (await trio.turn(session_key, "And now?")).answered
    chain = await trio.sidecar.custody(trio.session_id(session_key))
    assert (chain["gaps"], chain["known_rows"]) == ([], chain["size"])
    found = {(r["writer"]["kind"], r["writer"]["name"]) for r in chain["ranges"] if r["writer"]}
    assert {TURN, ("compaction", "manual"), ("command", "help")} <= found


async def test_runs_that_are_asked_for_at_once_in_one_session_are_answered_without_an_incident(
    trio: Trio, session_key: str
) -> None:
    """The gateway carries them out one after the other."""
    assert (await trio.turn(session_key, "Good morning.")).answered
    turns = await asyncio.gather(*(trio.turn(session_key, f"Question number {n}.") for n in range(3)))
    assert [turn.status for turn in turns] == [200, 200, 200]
    assert [i for i in await trio.sidecar.incidents() if i["session_file"] == trio.transcript(session_key)] == []


async def test_sessions_send_is_named_by_the_agent_that_sends(stage: Stage, trio: Trio, session_key: str) -> None:
    """The last test: the sender's agent is asked for more later."""
    await trio.turn(session_key, "Good morning.")
    sender = await stage.client.chat_send("agent:other:main", "Ask the others.")
    (await stage.call("Ask the others.")).call_tool(
        "sessions_send", sessionKey=session_key, message="Knock, knock.", timeoutSeconds=0
    )
    call = await stage.call("Knock, knock.")
    if call.mentions("Ask the others."):  # the sender was faster
        call.answer("I have asked.")
        call = await stage.call("Knock, knock.")
    else:
        (await stage.call("Ask the others.")).answer("I have asked.")
    await stage.finish(call, session_key)
    await stage.told(session_key, ("sessions_send", "other"), NOTE)
    await stage.client.chat_end(sender)

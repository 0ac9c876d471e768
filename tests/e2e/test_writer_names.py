"""Who wrote it, by kind and name, as the sidecar says it: in incidents, in `explain`, and on the spans of windows.

Each kind of writer does its work on the real gateway. Where it can, it writes into the window of somebody else's run;
what never does (heartbeats wait for an idle session, and so on) is itself the run whose window somebody writes into.
docs/writers.md has the table.
"""

import asyncio
import hashlib
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidecar.demo.companion import Companion, command
from sidecar.demo.gateway import CommandResult
from sidecar.demo.model import ModelCall
from sidecar.demo.packages import GatewayPackage
from sidecar.demo.rig import Rig
from sidecar.demo.rpc import GatewayClient
from sidecar.demo.window import open_window
from sidecar.preload import preload_path
from tests.e2e.answers import assert_answered
from tests.e2e.botapi import GROUP_ID, BotApi
from tests.telemetry.receivers import Received, http_backend

MAIN: Final = "agent:main:main"
GROUP: Final = f"agent:main:telegram:group:{GROUP_ID}"
NOTE: Final = ("inject", "night-watch")
pytestmark = pytest.mark.seconds(200)
"""Much here takes two or three turns; what a command of OpenClaw loads takes seconds, on a busy machine a minute."""

PATIENCE_SECONDS: Final = 90.0
COMMAND_SECONDS: Final = 150.0
BIG: Final = "lorem ipsum " * 60_000

SETTINGS: Final[dict[str, Any]] = {
    "agents": {
        "defaults": {"heartbeat": {"every": "12h"}},
        "list": [{"id": "main", "default": True, "heartbeat": {"every": "12h"}}, {"id": "other"}],
    },
    "tools": {
        "agentToAgent": {"enabled": True, "allow": ["*"]},
        "sessions": {"visibility": "all"},
        # One message may go to another chat than the one it came from.
        "message": {"crossContext": {"allowAcrossProviders": True}},
    },
    "session": {"agentToAgent": {"maxPingPongTurns": 0}},
}


Who = tuple[str, str]
"""Kind and name."""

T = TypeVar("T")
TURN: Final = ("user_turn", "webchat")


@dataclass(frozen=True, slots=True)
class Stage:
    """A gateway with every kind of writer, the sidecar beside it, and what it exports."""

    rig: Rig
    client: GatewayClient
    bot: BotApi
    sidecar: Companion
    received: Received
    numbers: Iterator[int]
    before: set[str]
    """The incidents of earlier tests: some tests share a session."""

    async def call(self, mentioning: str = "", timeout_seconds: float = PATIENCE_SECONDS) -> ModelCall:
        """The next call of the model in a conversation."""
        return await self.rig.model.next_call(mentioning, timeout_seconds)

    async def note(self, session_key: str) -> None:
        """Somebody else writes."""
        await self.client.chat_inject(session_key, "All is well.", NOTE[1])

    @asynccontextmanager
    async def window(self, session_key: str, *, answered: bool = True) -> AsyncIterator[Path]:
        """A user's turn that waits for its model."""
        text = f"Question {next(self.numbers)}."
        async with open_window(self.rig.gateway, self.rig.model, session_key, text, PATIENCE_SECONDS) as window:
            yield window.session_file
            turn = await window.close("The answer.")
        if answered:
            assert_answered(turn)

    async def finish(self, call: ModelCall, session_key: str, answer: str = "Done.") -> Path:
        """Write into the window of the run that made a call, then let it end. The session's file."""
        await self.note(session_key)
        call.answer(answer)
        return self.rig.gateway.session_file(session_key)

    async def type(self, session_key: str, text: str, *options: str) -> asyncio.Task[CommandResult]:
        """Ask something in a session on the command line. It has had a turn before: its id is known."""
        session_id = self.rig.gateway.session_file(session_key).stem
        arguments = ("agent", "--agent", "main", "--session-id", session_id, *options, "--message", text)
        return asyncio.ensure_future(self.rig.gateway.command(*arguments, timeout_seconds=COMMAND_SECONDS))

    async def written(self, session_file: Path, who: Who) -> None:
        """Wait until the open window of a session has met a writer."""

        async def met() -> bool:
            return any(who in writers(found) for found in await self.sidecar.incidents(session_file.name))

        await until(met)

    async def told(self, session_file: Path, run: Who, who: Who) -> dict[str, Any]:
        """The newest incident of a session names a run and a writer: by the API, by `explain`, and on its span."""
        incident = await self.sidecar.closed_incident(session_file.name, PATIENCE_SECONDS, self.before)
        explained = await self.asked("explain", incident["id"])
        for found in (incident, explained):
            assert (found["run"]["kind"], found["run"]["name"]) == run
            assert who in writers(found), found["writers"]
            assert found["unexplained"] == []
        span = await self._span("openclaw.incident.id", incident["id"])
        assert run_of(span) == run
        assert who in writers_on(span), writers_on(span)
        return incident

    async def spans(self, run: Who) -> list[Span]:
        """The spans of the windows of a kind of run, once there are some."""

        async def come() -> list[Span]:
            return [span for span in self.fences() if run_of(span) == run]

        return await until(come)

    async def in_custody(self, session_file: Path, who: Who) -> None:
        """Wait until the chain of custody has a writer: by the API, and then by `custody`."""

        async def come() -> bool:
            return who in engines(await self.sidecar.custody(session_file.name))

        await until(come)
        assert who in engines(await self.asked("custody", str(session_file)))

    async def held(self, session_file: Path, who: Who) -> None:
        """Wait for the span of a hold of the session lock by a writer."""

        async def come() -> bool:
            locks = [attributes(span) for span in self.received.spans if span.name == "session.lock"]
            of_file = [lock for lock in locks if lock["file.path"] == str(session_file)]
            return who in {(lock["openclaw.writer.kind"], lock.get("openclaw.writer.name", "")) for lock in of_file}

        await until(come)

    async def asked(self, verb: str, what: str) -> dict[str, Any]:
        """What a command of the sidecar's says of something."""
        options = ("--json", "--state-dir", self.rig.gateway.state_dir, "--data-dir", self.sidecar.data_dir)
        process = await asyncio.create_subprocess_exec(
            *(str(part) for part in (command(), verb, what, *options)), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        found: dict[str, Any] = json.loads(output)
        return found

    async def _span(self, attribute: str, value: str) -> Span:
        async def come() -> list[Span]:
            return [span for span in self.fences() if attributes(span).get(attribute) == value]

        return (await until(come))[0]

    def fences(self) -> list[Span]:
        """The spans of all windows that came so far."""
        return [span for span in self.received.spans if span.name == "session.fence"]


async def until(condition: Callable[[], Awaitable[T]]) -> T:
    """Ask another process until it says something, and give that."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if found := await condition():
                return found
            await asyncio.sleep(0.05)


def attributes(of: Any) -> dict[str, Any]:  # noqa: ANN401 - a span or an event
    """Attributes by name."""
    return {a.key: a.value.string_value or a.value.int_value for a in of.attributes}


def run_of(span: Span) -> Who:
    """Kind and name of a window's run."""
    found = attributes(span)
    return found.get("openclaw.run.kind", ""), found.get("openclaw.run.name", "")


def writers_on(span: Span) -> list[Who]:
    """Kind and name of who changed the file, on the events of a window."""
    changes = [attributes(event) for event in span.events if event.name == "session.change"]
    return [(c["openclaw.writer.kind"], c.get("openclaw.writer.name", "")) for c in changes]


def writers(incident: dict[str, Any]) -> set[Who]:
    """Kind and name of the writers of an incident."""
    return {(w["kind"], w["name"]) for w in incident["writers"]}


def engines(chain: dict[str, Any]) -> set[Who]:
    """Kind and name of who wrote what is in a file now."""
    return {(r["writer"]["kind"], r["writer"]["name"]) for r in chain["ranges"] if r["writer"]}


@pytest.fixture(scope="session")
def stage(runner: asyncio.Runner, version: str, packages: Callable[[str], GatewayPackage]) -> Iterator[Stage]:
    """One for each release. Telegram's Bot API is a fake at the end of the wire (botapi.py)."""
    package = packages(version)
    with http_backend() as received, tempfile.TemporaryDirectory(prefix="ocs-") as name:
        work_dir = Path(name)
        socket = work_dir / "sidecar.sock"
        hooks = {"NODE_OPTIONS": f"--import={preload_path()}", "OPENCLAW_SIDECAR_SOCKET": str(socket)}
        export = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }

        async def start(stack: AsyncExitStack) -> Stage:
            bot = await stack.enter_async_context(BotApi())
            settings = SETTINGS | bot.settings()
            rig = await stack.enter_async_context(Rig(package, work_dir / "gateway", hooks, settings))
            sidecar = Companion(rig.gateway.state_dir, work_dir / "sidecar", socket, (), export)
            await stack.enter_async_context(sidecar)
            await sidecar.wait_linked(rig.gateway.pid, PATIENCE_SECONDS)
            await rig.say("agent:other:main")  # the first turn of an agent takes its time too
            client = GatewayClient(rig.gateway.url, rig.gateway.token, PATIENCE_SECONDS)
            await stack.enter_async_context(client)
            return Stage(rig, client, bot, sidecar, received, count(1), set())

        stack = AsyncExitStack()
        try:
            yield runner.run(start(stack))
        finally:
            runner.run(stack.aclose())


@pytest.fixture(autouse=True)
def _apart(runner: asyncio.Runner, stage: Stage) -> None:
    """What earlier tests left is none of this one's."""
    stage.before.update(incident["id"] for incident in runner.run(stage.sidecar.incidents()))


async def test_a_heartbeat_is_named_by_its_agent(stage: Stage) -> None:
    """The first test: a heartbeat waits for half a minute after a user's turn in its session."""
    await stage.client.call("wake", {"mode": "now", "text": "Look after things."})
    call = await stage.call("heartbeat poll")
    await stage.told(await stage.finish(call, MAIN, "HEARTBEAT_OK"), ("heartbeat", "main"), NOTE)


async def test_a_users_turn_is_named_by_the_chat(stage: Stage, session_key: str) -> None:
    async with stage.window(session_key) as session_file:
        await stage.note(session_key)
    await stage.told(session_file, TURN, NOTE)


async def test_a_note_whose_label_may_be_a_sentence_is_named_by_its_digest(stage: Stage, session_key: str) -> None:
    """Rule 7: no text leaves the process."""
    label = "Remind Pat of the pills"
    async with stage.window(session_key) as session_file:
        await stage.client.chat_inject(session_key, "All is well.", label)
    digest = "sha256:" + hashlib.sha256(label.encode()).hexdigest()[:16]
    await stage.told(session_file, TURN, ("inject", digest))


async def test_a_slash_command_in_the_chat_is_a_command(stage: Stage, session_key: str) -> None:
    await stage.rig.say(session_key)
    async with stage.window(session_key) as session_file:
        await stage.client.chat_end(await stage.client.chat_send(session_key, "/status"))
    incident = await stage.told(session_file, TURN, ("command", "status"))
    assert {(w["kind"], w["name"]) for w in incident["writers"] if not w["own"]} == {("command", "status")}


async def _job(stage: Stage, name: str, target: str, payload: dict[str, str], **more: object) -> str:
    """Add a cron job that never is due, and start it."""
    schedule = {"kind": "every", "everyMs": 30 * 86_400_000}
    job = {"name": name, "schedule": schedule, "sessionTarget": target, "wakeMode": "now", "payload": payload}
    job_id = str((await stage.client.call("cron.add", {**job, "enabled": True, **more}))["id"])
    await stage.client.call("cron.run", {"id": job_id, "mode": "force"})
    return job_id


def _session_of_job(stage: Stage, job_id: str) -> str:
    """Where a job of the main session runs: there, or from later releases on in a session of each run."""
    index = json.loads((stage.rig.gateway.sessions_dir() / "sessions.json").read_text())
    return next((key for key in index if f":cron:{job_id}:run:" in key), MAIN)


async def test_a_cron_job_of_the_main_session_is_named_by_the_job(stage: Stage) -> None:
    """It is carried out as a heartbeat; what began it decides."""
    job_id = await _job(stage, "daily-digest", "main", {"kind": "systemEvent", "text": "Digest, please."})
    call = await stage.call("heartbeat poll")
    session_file = await stage.finish(call, _session_of_job(stage, job_id), "HEARTBEAT_OK")
    await stage.told(session_file, ("cron", "daily-digest"), NOTE)


async def test_what_an_isolated_cron_job_announces_is_named_by_the_job(stage: Stage) -> None:
    """Its announcement goes to a chat, and into the session of that chat, where somebody waits for the model."""
    delivery = {"mode": "announce", "channel": "telegram", "to": str(GROUP_ID)}
    await stage.rig.say(GROUP, "Good morning, group.")
    async with stage.window(GROUP) as session_file:
        await _job(stage, "iso-report", "isolated", {"kind": "agentTurn", "message": "Report!"}, delivery=delivery)
        (await stage.call("Report!")).answer("The report is ready.")
        await stage.written(session_file, ("cron", "iso-report"))
    await stage.told(session_file, TURN, ("cron", "iso-report"))
    assert ("cron", "iso-report") in {run_of(span) for span in await stage.spans(("cron", "iso-report"))}


async def test_a_turn_that_a_channel_brings_is_named_by_the_channel(stage: Stage) -> None:
    await stage.bot.write("Hello from the channel.", GROUP_ID)
    call = await stage.call("Hello from the channel.")
    await stage.told(await stage.finish(call, GROUP), ("channel", "telegram"), NOTE)
    await stage.bot.wait_sent("Done.")


async def test_what_is_sent_to_a_channel_is_mirrored_by_its_name(stage: Stage) -> None:
    message = {"channel": "telegram", "to": str(GROUP_ID), "message": "Dinner is ready.", "sessionKey": GROUP}
    async with stage.window(GROUP) as session_file:
        await stage.client.call("send", {**message, "idempotencyKey": "dinner"})
        await stage.written(session_file, ("mirror", "telegram"))
    await stage.told(session_file, TURN, ("mirror", "telegram"))


async def test_sessions_send_is_named_by_the_agent_that_sends(stage: Stage, session_key: str) -> None:
    await stage.rig.say(session_key)
    sender = await stage.client.chat_send("agent:other:main", "Ask the others.")
    (await stage.call("Ask the others.")).call_tool(
        "sessions_send", sessionKey=session_key, message="Knock, knock.", timeoutSeconds=0
    )
    call = await stage.call("Knock, knock.")
    if call.body["messages"][-1]["role"] == "tool":  # the sender was faster
        call.answer("I have asked.")
        call = await stage.call("Knock, knock.")
    else:
        (await stage.call("Ask the others.")).answer("I have asked.")
    await stage.told(await stage.finish(call, session_key), ("sessions_send", "other"), NOTE)
    await stage.client.chat_end(sender)
    (await stage.call("Agent-to-agent announce step")).answer("ANNOUNCE_SKIP")


async def test_a_subagents_completion_is_named_by_the_subagent(stage: Stage, session_key: str) -> None:
    parent = await stage.client.chat_send(session_key, "Have it done.")
    (await stage.call("Have it done.")).call_tool("sessions_spawn", task="Count to three.", label="counter")
    (await stage.call("Have it done.")).answer("It is being done.")
    await stage.client.chat_end(parent)
    (await stage.call("Count to three.")).answer("One, two, three.")
    session_file = await stage.finish(await stage.call("Have it done."), session_key)

    async def of_the_child() -> str:
        runs = {(run_of(span), attributes(span)["openclaw.run.id"]) for span in stage.fences()}
        return next((name for (kind, name), run in runs if kind == "subagent" and name == f"main/{run}"), "")

    name = await until(of_the_child)
    await stage.told(session_file, ("subagent", name), NOTE)
    assert len(await stage.sidecar.incidents(session_file.name)) == 1


async def test_a_compaction_to_a_number_of_lines_is_told_as_one(stage: Stage, session_key: str, version: str) -> None:
    """It rewrites the file. From 2026.6 on it stops the runs of its session first, and so meets no window."""
    for text in ("One.", "Two.", "Three."):
        await stage.rig.say(session_key, text)
    async with stage.window(session_key, answered=False) as session_file:
        done = await stage.client.call("sessions.compact", {"key": session_key, "maxLines": 4})
        assert done["compacted"]
    if version < "2026.6":
        await stage.told(session_file, TURN, ("compaction", "manual"))
    else:
        await stage.in_custody(session_file, ("compaction", "manual"))


async def test_an_agent_on_the_command_line_through_the_gateway_is_named_by_its_agent(
    stage: Stage, session_key: str
) -> None:
    await stage.rig.say(session_key)
    typed = await stage.type(session_key, "I typed this.")
    call = await stage.call("I typed this.")
    incident = await stage.told(await stage.finish(call, session_key), ("cli", "main"), NOTE)
    assert incident["gateway"]["pid"] == stage.rig.gateway.pid
    assert (await typed).code == 0


async def test_a_compaction_by_the_model_and_an_agent_in_its_own_process_are_named(
    stage: Stage, session_key: str
) -> None:
    """The gateway stops its own runs before it compacts, so the window is one of `openclaw agent --local`."""
    await stage.rig.say(session_key)
    typed = await stage.type(session_key, "I typed this alone.", "--local")
    call = await stage.call("I typed this alone.")
    compaction = asyncio.ensure_future(stage.client.call("sessions.compact", {"key": session_key}))
    (await stage.call("conversation to summarize")).answer("A summary of it all.")
    assert (await compaction)["compacted"]
    call.answer("Done.")
    session_file = stage.rig.gateway.session_file(session_key)
    incident = await stage.told(session_file, ("cli", "main"), ("compaction", "manual"))
    assert {writer["pid"] for writer in incident["writers"] if not writer["own"]} == {stage.rig.gateway.pid}
    assert incident["gateway"]["pid"] != stage.rig.gateway.pid
    result = await typed
    assert result.code == 0, result.stderr


async def test_what_the_message_tool_sends_is_named_by_it_and_its_channel(stage: Stage, version: str) -> None:
    """It answers in the chat that its run came from, and the gateway appends that while the run waits for its tool.

    Before 2026.6 it appends nothing: all that there is in the file is the run's own.
    """
    await stage.bot.write("Use your tool.", GROUP_ID)
    (await stage.call("Use your tool.")).call_tool("message", action="send", message="By tool.")
    await stage.bot.wait_sent("By tool.", PATIENCE_SECONDS)
    call = await stage.call("Use your tool.")
    session_file = stage.rig.gateway.session_file(GROUP)
    if version < "2026.6":
        session_file = await stage.finish(call, GROUP, "NO_REPLY")
        incident = await stage.told(session_file, ("channel", "telegram"), NOTE)
        assert {(w["kind"], w["name"]) for w in incident["writers"] if not w["own"]} == {NOTE}
        assert "message_tool" not in {kind for kind, _ in engines(await stage.sidecar.custody(session_file.name))}
        return
    call.answer("NO_REPLY")
    await stage.told(session_file, ("channel", "telegram"), ("message_tool", "telegram"))


async def test_tool_results_that_are_cut_in_the_file_are_told_as_truncation(
    stage: Stage, session_key: str, version: str
) -> None:
    """It happens before the fence of a run is set, so the chain of custody has it.

    From 2026.6 on nothing is cut in the file. It is compacted when the turn is over, and that is told as such.
    """
    await stage.rig.say(session_key)
    session_file = stage.rig.gateway.session_file(session_key)
    _append_tool_result(session_file, BIG)
    turn = asyncio.ensure_future(stage.rig.say(session_key, "And now?"))
    if version < "2026.6":
        assert_answered(await turn)
        await stage.in_custody(session_file, ("truncation", ""))
        return
    (await stage.call("context summarization assistant")).answer("A summary of it all.")
    assert_answered(await turn)
    await stage.in_custody(session_file, ("compaction", "cli_budget"))
    await stage.held(session_file, ("compaction", "cli_budget"))
    assert BIG in session_file.read_text()
    assert "truncation" not in {kind for kind, _ in engines(await stage.sidecar.custody(session_file.name))}


def _append_tool_result(session_file: Path, text: str) -> None:
    """As a release left it that kept whole results: nobody has the session open."""
    records = [json.loads(line) for line in session_file.read_text().splitlines()]
    answer = records[-1]["message"]
    call = {"type": "toolCall", "id": "call_0_0", "name": "read", "arguments": {"path": "big.txt"}}
    result = {"role": "toolResult", "toolCallId": "call_0_0", "toolName": "read", "isError": False, "timestamp": 1}
    messages = (
        {**answer, "content": [call], "stopReason": "toolUse"},
        {**result, "content": [{"type": "text", "text": text}]},
        answer,
    )
    parent = records[-1]["id"]
    with session_file.open("a") as file:
        for number, message in enumerate(messages):
            record = {"type": "message", "id": f"0000000{number}", "parentId": parent, "message": message}
            file.write(json.dumps({**record, "timestamp": records[-1]["timestamp"]}) + "\n")
            parent = record["id"]

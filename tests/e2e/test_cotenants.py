"""Shell scripts that write to a session of the real gateway: the ones of docs/cotenants.md, as they stand there."""

import asyncio
import json
import os
import subprocess
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.demo.companion import command
from sidecar.demo.pager import PageReceiver
from sidecar.demo.rig import Rig
from tests.e2e.answers import assert_answered
from tests.e2e.guard import Guard, guarded
from tests.e2e.history import off_path, read_records

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
NAMES = ("nightly-backup", "sync-tool")
ANSWER = "The answer."
NOTE = "The nightly backup has run."
LOCK_KEPT_FROM = "2026.5.22"
"""From here on a run takes the lock again as soon as the request is on its way, before the model has answered."""

WAITING_SECONDS = 15.0


@pytest.fixture(scope="module")
def shared_guard(
    runner: asyncio.Runner, hooked: Rig, pager: PageReceiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guard]:
    """A gateway with the preload, and a sidecar whose policy names both scripts as `policy allow` does."""
    place = tmp_path_factory.mktemp("sidecar")
    for name in NAMES:
        allow = (command(), "policy", "allow", name, "--may", "rewrite", "--write", "--policy", place / "policy.toml")
        subprocess.run(allow, check=True, capture_output=True)
    for made in guarded(runner, hooked, pager, place, "--policy", str(place / "policy.toml")):
        runner.run(_token(made))
        yield made


async def _run(guard: Guard, script: str, *arguments: str, **env: str) -> tuple[int, str, str]:
    """Run a script of the documentation as an operator would."""
    process = await asyncio.create_subprocess_exec(
        EXAMPLES / script,
        *arguments,
        env={
            "PATH": f"{command().parent}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(guard.rig.work_dir),
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "OPENCLAW_STATE_DIR": str(guard.rig.gateway.state_dir),
            "OPENCLAW_SIDECAR_SOCKET": str(guard.sidecar.socket),
            "OPENCLAW_SIDECAR_DATA_DIR": str(guard.sidecar.data_dir),
            **env,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def _backup(guard: Guard, session: str, *options: str) -> dict[str, Any]:
    code, output, errors = await _run(guard, "nightly-backup.sh", session, *options)
    assert code == 0, errors
    report: dict[str, Any] = json.loads(output)
    return report


async def _assert_on_the_line(guard: Guard, session_file: Path, report: dict[str, Any], answer: str = ANSWER) -> None:
    """Rule 3: the record is in the file, and on the path from the last record to the root."""
    records = read_records(session_file)
    assert not off_path(records)
    assert [r.text for r in records if r.id in report["records"]] == [NOTE]
    assert any(record.text == answer for record in records)
    [appended] = [r for r in records if r.id in report["records"]]
    assert (appended.offset, appended.length_bytes) == (report["offset"], report["length"])


async def _assert_told(rig: Rig, session_key: str) -> None:
    """The next turn's model hears of the note.

    Later releases begin that turn beside a `user` record that nobody has answered, and put its text into the prompt.
    Every other record is on the line of history.
    """
    async with rig.window(session_key, "Good morning.") as window:
        assert window.call.mentions(NOTE)
        assert_answered(await window.close("Good morning."))
    assert {record.text for record in off_path(read_records(window.session_file))} <= {NOTE}


async def _waits_for_the_lock(guard: Guard, after_bytes: int) -> None:
    """`write` has linked for the second time: the first one is to see that there is a sidecar."""
    async with asyncio.timeout(WAITING_SECONDS):
        while guard.sidecar.log.text(after_bytes).count("cotenant_linked") < 2:  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.02)


async def test_a_declared_cotenants_record_costs_nothing(guard: Guard, session_key: str, version: str) -> None:
    """Up to 2026.5.20 the lock is free while the model thinks; later a run has it again before the model answers."""
    rig = guard.rig
    await rig.say(session_key)
    async with rig.window(session_key) as window:
        seen = guard.sidecar.log.size_bytes
        backup = asyncio.create_task(_backup(guard, session_key))
        if version < LOCK_KEPT_FROM:
            await backup
        else:
            await _waits_for_the_lock(guard, seen)
        turn = await window.close(ANSWER)
        report = await backup

    assert_answered(turn, ANSWER)
    assert (report["session_file"], report["announced"]) == (str(window.session_file), True)
    await _assert_on_the_line(guard, window.session_file, report)
    assert guard.pages == []
    if version >= LOCK_KEPT_FROM:
        # It may have met the last moment of the run, after the answer.
        for met in await guard.sidecar.incidents(window.session_file.name):
            incident = await guard.incident(met["id"], lambda told: bool(told["closed_at"]))
            assert (incident["verdict"], incident["recovery"]["outcome"]) == ("co_tenant", "effective")
        await _assert_told(rig, session_key)
        return
    incident = await guard.closed_incident(window.session_file)
    assert (incident["verdict"], incident["evidence"]) == ("co_tenant", "bytes")
    assert incident["recovery"]["outcome"] == "effective"
    [declared] = [w for w in incident["writers"] if w["kind"] == "declared"]
    assert (declared["name"], declared["bytes"], declared["own"]) == ("nightly-backup", report["length"], False)


async def test_a_record_between_turns_is_told_to_the_next_one(guard: Guard, session_key: str) -> None:
    await guard.rig.say(session_key)
    report = await _backup(guard, session_key)
    await _assert_on_the_line(guard, Path(report["session_file"]), report, answer="Good morning.")
    await _assert_told(guard.rig, session_key)
    assert guard.pages == []


async def test_the_same_record_without_the_announcement_is_external_and_pages_once(
    guard: Guard, session_key: str, version: str
) -> None:
    if version >= LOCK_KEPT_FROM:
        pytest.skip("this release holds the session lock while the model thinks: whoever respects it comes after")
    rig = guard.rig
    await rig.say(session_key)
    async with rig.window(session_key) as window:
        report = await _backup(guard, session_key, "--without-sidecar")
        turn = await window.close(ANSWER)

    assert not turn.answered
    incident = await guard.closed_incident(window.session_file)
    assert (incident["verdict"], incident["turn_lost"]) == ("external", True)
    assert [(r["offset"], r["length"]) for r in incident["unexplained"]] == [(report["offset"], report["length"])]
    await guard.next_page()
    assert len(guard.pages) == 1


async def test_a_script_that_the_policy_does_not_name_writes_nothing(guard: Guard, session_key: str) -> None:
    rig = guard.rig
    await rig.say(session_key)
    async with rig.window(session_key) as window:
        size = window.session_file.stat().st_size
        code, output, errors = await _run(guard, "nightly-backup.sh", session_key, "--name", "evil")
        assert window.session_file.stat().st_size == size
        turn = await window.close(ANSWER)

    assert_answered(turn)
    assert (code, output) == (3, "")
    assert "no rule of the policy makes declared evil" in errors
    assert 'names = ["evil"]' in errors
    assert guard.pages == []


@pytest.mark.parametrize("version", ["2026.5.18"], indirect=True)
async def test_a_tool_of_the_agent_is_no_cotenant_whatever_name_it_takes(
    guard: Guard, session_key: str, tmp_path: Path
) -> None:
    """It has the user of the gateway and of the sidecar, a name that the policy knows, and reads the token."""
    rig = guard.rig
    await rig.say(session_key)
    script, errors, code = tmp_path / "tool.sh", tmp_path / "errors", tmp_path / "code"
    where = f"--state-dir {rig.gateway.state_dir} --data-dir {guard.sidecar.data_dir} --socket {guard.sidecar.socket}"
    write = f"{command()} write {session_key} --name nightly-backup {where} -- echo '{{}}'"
    script.write_text(f"{write} 2>{errors}\necho $? >{code}\n")
    async with rig.window(session_key) as window:
        size = window.session_file.stat().st_size
        asked = asyncio.ensure_future(rig.gateway.turn(f"{session_key}-agent", "Run the tool."))
        (await rig.model.next_call(mentioning="Run the tool.")).call_tool("exec", command=f"sh {script}")
        (await rig.model.next_call(mentioning="Run the tool.")).answer("Done.")
        assert (await asked).answered
        assert window.session_file.stat().st_size == size
        assert_answered(await window.close(ANSWER))

    assert code.read_text() == "3\n"
    assert f"it was started by process {rig.gateway.pid}, a linked gateway" in errors.read_text()
    assert (await guard.sidecar.status())["rejected"]["no_cotenant"] == 1
    assert guard.pages == []


async def test_a_lock_that_is_not_had_in_time_is_told_with_its_holder(
    guard: Guard, session_key: str, version: str
) -> None:
    if version < LOCK_KEPT_FROM:
        pytest.skip("this release does not hold the session lock while the model thinks")
    rig = guard.rig
    await rig.say(session_key)
    async with rig.window(session_key) as window:
        size = window.session_file.stat().st_size
        env = {"OPENCLAW_SESSION_WRITE_LOCK_ACQUIRE_TIMEOUT_MS": "300"}
        code, _, errors = await _run(guard, "nightly-backup.sh", session_key, **env)
        assert window.session_file.stat().st_size == size
        turn = await window.close(ANSWER)

    assert_answered(turn)
    assert code == 3
    assert f"is held by process {rig.gateway.pid} (" in errors
    assert "nothing was written" in errors


async def test_a_tool_that_announces_its_write_over_http_costs_nothing(guard: Guard, session_key: str) -> None:
    """It takes no lock: on every release it writes while the model thinks."""
    rig = guard.rig
    await rig.say(session_key)
    token = await _token(guard)
    async with rig.window(session_key) as window:
        record = _record(read_records(window.session_file)[-1].id)
        env = {"SIDECAR": guard.sidecar.url, "TOKEN": token}
        code, output, errors = await _run(guard, "sync-tool.sh", str(window.session_file), record, **env)
        assert code == 0, output + errors
        turn = await window.close(ANSWER)

    assert_answered(turn, ANSWER)
    incident = await guard.closed_incident(window.session_file)
    assert (incident["verdict"], incident["recovery"]["outcome"]) == ("co_tenant", "effective")
    [declared] = [w for w in incident["writers"] if w["kind"] == "declared"]
    assert (declared["name"], declared["bytes"]) == ("sync-tool", len(record) + 1)
    records = read_records(window.session_file)
    assert not off_path(records)
    assert [r.text for r in records if r.id == json.loads(record)["id"]] == [NOTE]
    assert guard.pages == []


async def test_a_tool_that_announces_what_it_did_not_write_is_external_and_pages_once(
    guard: Guard, session_key: str
) -> None:
    rig = guard.rig
    await rig.say(session_key)
    token = await _token(guard)
    async with rig.window(session_key) as window:
        file = window.session_file
        record = _record(read_records(file)[-1].id)
        begun = await _hook(guard, token, {"phase": "begin", "session": session_key, "name": "sync-tool"})
        with file.open("a") as tool:
            tool.write(record + "\n")
        ranges = [{"offset": begun["size"], "length": 5}]
        await _hook(guard, token, {"phase": "end", "hook": begun["hook"], "ranges": ranges})
        turn = await window.close(ANSWER)

    assert not turn.answered
    incident = await guard.closed_incident(file)
    assert (incident["verdict"], incident["turn_lost"]) == ("external", True)
    await guard.next_page()
    assert len(guard.pages) == 1


async def _token(guard: Guard) -> str:
    process = await asyncio.create_subprocess_exec(
        *(command(), "hooks", "token", "--data-dir", guard.sidecar.data_dir), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().strip()


async def _hook(guard: Guard, token: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{guard.sidecar.url}/v1/hooks", json.dumps(body).encode(), headers)

    def ask() -> dict[str, Any]:
        with urllib.request.urlopen(request, timeout=10) as answer:
            answered: dict[str, Any] = json.loads(answer.read())
            return answered

    return await asyncio.to_thread(ask)


def _record(parent: str) -> str:
    """A user's message as a tool writes it that knows the format."""
    message = {"role": "user", "content": [{"type": "text", "text": NOTE}], "timestamp": 1_700_000_000_000}
    fields = {"type": "message", "id": str(uuid.uuid4()), "parentId": parent, "timestamp": "2026-01-01T00:00:00.000Z"}
    return json.dumps({**fields, "message": message}, separators=(",", ":"))

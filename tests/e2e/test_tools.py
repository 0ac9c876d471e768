"""What an agent's own tool writes into a session is foreign, and is told as a program that the agent started."""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.demo.pager import PageReceiver
from sidecar.demo.rig import Rig
from tests.e2e.guard import Guard, guarded
from tests.kernel import require_kernel_evidence

ANSWER = "The answer."
TOOL = """\
import os, sys, time
file, done = sys.argv[1:]
with open(file, "ab") as out:
    out.write(sys.stdin.buffer.read())
while not os.path.exists(done):
    time.sleep(0.05)
"""
RECORD = {"type": "message", "id": "f00df00d", "timestamp": "2026-01-01T00:00:00.000Z"}


@pytest.fixture
def seeing(runner: asyncio.Runner, hooked: Rig, pager: PageReceiver, tmp_path: Path) -> Iterator[Guard]:
    """A gateway, and a sidecar that the kernel tells who writes."""
    require_kernel_evidence(tmp_path)
    yield from guarded(runner, hooked, pager, tmp_path, "--who", "kernel")


async def _grown(file: Path, size: int) -> None:
    async with asyncio.timeout(60):
        while os.stat(file).st_size <= size:  # noqa: ASYNC110, PTH116 - of another process, and looked at often
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("version", ["2026.5.18"], indirect=True)
async def test_a_tool_that_writes_into_another_session_is_external_and_named_with_its_run(
    seeing: Guard, session_key: str, tmp_path: Path
) -> None:
    rig = seeing.rig
    script, done, record = tmp_path / "backup.py", tmp_path / "done", tmp_path / "record"
    script.write_text(TOOL)
    record.write_text(json.dumps(RECORD) + "\n")
    await rig.say(session_key)
    async with rig.window(session_key) as window:
        size = window.session_file.stat().st_size
        asked = asyncio.ensure_future(rig.gateway.turn(f"{session_key}-agent", "Run the tool."))
        call = await rig.model.next_call(mentioning="Run the tool.")
        call.call_tool("exec", command=f"python3 {script} {window.session_file} {done} < {record}")
        await _grown(window.session_file, size)
        turn = await window.close(ANSWER)
    assert not turn.answered
    incident = await seeing.closed_incident(window.session_file)
    done.touch()
    (await rig.model.next_call(mentioning="Run the tool.")).answer("Done.")
    assert (await asked).answered

    assert (incident["verdict"], incident["evidence"], incident["turn_lost"]) == ("external", "kernel", True)
    [process] = incident["unexplained"][0]["processes"]
    tool = process["tool"]
    assert tool["command"].startswith(f"python3 {script}")
    assert tool["parents"][-1]["pid"] == tool["gateway"] == rig.gateway.pid
    assert tool["call"] == "exec"
    assert tool["run_id"] not in {"", incident["run_id"]}, "that is the run whose agent was told to do it"
    page = (await seeing.next_page()).message
    said = f"a program that the agent started: {tool['command']} (process {process['pid']})"
    assert said in page
    assert f"started by gateway {rig.gateway.pid}, in a tool call (exec) of run {tool['run_id']}" in page
    assert said in incident["reason"]

"""Shell scripts that write to a session of the real gateway: the ones of docs/cotenants.md, as they stand there."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.demo.companion import command
from sidecar.demo.guard import Guard
from sidecar.demo.history import off_path, read_records
from sidecar.demo.pager import PageReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.demo.rig import Rig

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
ANSWER = "The answer."


@pytest.fixture
def session_key(request: pytest.FixtureRequest) -> str:
    """A session for each case of each test."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower()).strip("-")
    return f"agent:main:{name[:80]}"


@pytest.fixture(scope="session")
def pager(runner: asyncio.Runner) -> Iterator[PageReceiver]:
    """The person who is paged."""
    opened = PageReceiver()
    runner.run(opened.__aenter__())
    yield opened
    runner.run(opened.__aexit__(None, None, None))


@pytest.fixture(scope="session")
def shared_guard(
    runner: asyncio.Runner, hooked: Rig, pager: PageReceiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guard]:
    """A gateway with the preload, and a sidecar that recovers."""
    socket = Path(hooked.env["OPENCLAW_SIDECAR_SOCKET"])
    opened = Guard(hooked, pager, tmp_path_factory.mktemp("sidecar"), socket)
    runner.run(opened.start())
    yield opened
    runner.run(opened.stop())


@pytest.fixture
def guard(runner: asyncio.Runner, shared_guard: Guard) -> Guard:
    """The shared one, running, with no page so far."""
    runner.run(shared_guard.ensure_running())
    shared_guard.begin()
    return shared_guard


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
            **env,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def _backup(guard: Guard, session: str) -> dict[str, Any]:
    code, output, errors = await _run(guard, "nightly-backup.sh", session)
    assert code == 0, errors
    report: dict[str, Any] = json.loads(output)
    return report


async def test_a_declared_cotenants_record_costs_nothing(guard: Guard, session_key: str) -> None:
    rig = guard.rig
    await rig.say(session_key)
    async with rig.window(session_key) as window:
        report = await _backup(guard, session_key)
        turn = await window.close(ANSWER)

    assert (turn.answered, turn.text) == (True, ANSWER)
    assert report["session_file"] == str(window.session_file)
    assert report["announced"] is True
    incident = await guard.closed_incident(window.session_file)
    assert (incident["verdict"], incident["evidence"]) == ("co_tenant", "bytes")
    assert incident["recovery"]["outcome"] == "effective"
    [declared] = [w for w in incident["writers"] if w["kind"] == "declared"]
    assert (declared["name"], declared["bytes"], declared["own"]) == ("nightly-backup", report["length"], False)
    records = read_records(window.session_file)
    assert not off_path(records)
    assert [r.text for r in records if r.id in report["records"]] == ["The nightly backup has run."]
    assert guard.pages == []

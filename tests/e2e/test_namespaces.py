"""Gateway and sidecar in different pid namespaces: the main job, and nothing false about processes of another one."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pytest

from sidecar.demo.companion import Companion
from sidecar.demo.packages import GatewayPackage
from sidecar.demo.rig import Rig
from sidecar.demo.sessionfile import append_as_stranger
from sidecar.preload import preload_path
from tests.e2e.answers import assert_answered
from tests.e2e.history import off_path, read_records
from tests.namespaces import UNSHARE, child_of, need_namespaces

ANSWER = "The answer."
ABOUT_PROCESSES = {"preload_missing", "gateway_not_visible"}


class Layout(StrEnum):
    """Who lives where. The gateway is always the first process of a namespace of its own, as in a container."""

    INSIDE = "inside"
    """The sidecar lives around it, on the host."""
    APART = "apart"
    """The sidecar lives in another one of its own: neither sees the other."""
    TOGETHER = "together"
    """The sidecar lives there, too."""


@dataclass(frozen=True, slots=True)
class Two:
    """A gateway and its sidecar.

    Attributes:
        gateway_pid: The gateway's id, as the sidecar has it.
    """

    layout: Layout
    rig: Rig
    sidecar: Companion
    gateway_pid: int


@pytest.fixture
def rig(runner: asyncio.Runner, version: str, packages: Callable[[str], GatewayPackage]) -> Iterator[Rig]:
    """A gateway in a pid namespace of its own; a new one for each layout, as a key is of the process that is seen."""
    need_namespaces()
    with tempfile.TemporaryDirectory(prefix="ocs-") as directory:
        place = Path(directory)
        env = {"NODE_OPTIONS": f"--import={preload_path()}", "OPENCLAW_SIDECAR_SOCKET": str(place / "sidecar.sock")}
        opened = Rig(packages(version), place, env, prefix=UNSHARE)
        runner.run(opened.start())
        try:
            yield opened
        finally:
            runner.run(opened.stop())


@pytest.fixture(params=list(Layout))
def two(runner: asyncio.Runner, rig: Rig, request: pytest.FixtureRequest) -> Iterator[Two]:
    """The gateway, with a sidecar that lives where it says."""
    layout, inside = Layout(request.param), child_of(rig.gateway.pid)
    prefix = {
        Layout.INSIDE: (),
        Layout.APART: UNSHARE,
        Layout.TOGETHER: ("nsenter", f"--target={inside}", "--pid", "--mount"),
    }[layout]
    socket = Path(rig.env["OPENCLAW_SIDECAR_SOCKET"])
    sidecar = Companion(rig.gateway.state_dir, rig.work_dir / layout, socket, prefix=prefix)
    pid = inside if layout is Layout.INSIDE else 1
    runner.run(sidecar.start())
    try:
        runner.run(sidecar.wait_linked(pid))
        yield Two(layout, rig, sidecar, pid)
    finally:
        runner.run(sidecar.stop())


@pytest.mark.parametrize("version", ["2026.5.18"], indirect=True)
async def test_the_main_job_is_done_and_nothing_false_is_said_of_the_gateway(two: Two, session_key: str) -> None:
    rig = two.rig
    await rig.say(session_key)
    async with rig.window(session_key) as window:
        await rig.client.chat_inject(session_key, "The backup has run.", "cron")
        turn = await window.close(ANSWER)
    assert_answered(turn)
    assert not off_path(read_records(window.session_file))
    incident = await two.sidecar.closed_incident(window.session_file.name)
    assert (incident["verdict"], incident["recovery"]["outcome"]) == ("co_tenant", "effective")
    status = await two.sidecar.status()
    [gateway] = status["gateways"]
    visible = two.layout is not Layout.APART
    assert (gateway["pid"], gateway["own_pid"], gateway["visible"]) == (two.gateway_pid, 1, visible)
    assert [problem["what"] for problem in status["problems"] if problem["code"] in ABOUT_PROCESSES] == []

    async with rig.window(session_key) as window:
        await append_as_stranger(window.session_file)
        turn = await window.close(ANSWER)
    assert not turn.answered
    closed = await two.sidecar.closed_incident(window.session_file.name, besides=[incident["id"]])
    assert closed["verdict"] == "external"

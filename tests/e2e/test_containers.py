"""Gateway and sidecar in containers: two of them, two with one pid namespace, and a sidecar on the host.

With two, the kernel tells the sidecar no pid of the gateway's: it is 0.
"""

import asyncio
import os
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
from tests.containers import Containers, need_containers
from tests.e2e.answers import assert_answered
from tests.e2e.history import off_path, read_records

pytestmark = pytest.mark.containers

ANSWER = "The answer."
ABOUT_PROCESSES = {"preload_missing", "gateway_not_visible"}


class Layout(StrEnum):
    """Where the sidecar lives; the gateway always lives in a container of its own."""

    APART = "apart"
    """In another container."""
    SHARED = "shared"
    """In another container, in the gateway's pid namespace: shareProcessNamespace of a Pod."""
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Housed:
    """A gateway in a container, and its sidecar."""

    layout: Layout
    rig: Rig
    sidecar: Companion


@pytest.fixture(scope="module")
def containers() -> Iterator[tuple[Containers, Path]]:
    """Where they are made, and the directory that they share. Its name is short: a socket's path has 108 bytes."""
    need_containers()
    with tempfile.TemporaryDirectory(prefix="ocs-") as place, tempfile.TemporaryDirectory(prefix="ocp-") as state:
        made = Containers(Path(place), Path(state))
        try:
            yield made, Path(place)
        finally:
            made.remove()


@pytest.fixture
def housed_rig(
    runner: asyncio.Runner,
    version: str,
    packages: Callable[[str], GatewayPackage],
    containers: tuple[Containers, Path],
) -> Iterator[Rig]:
    """A gateway in a container; a new one for each layout, as a key is of the process that is seen."""
    made, place = containers
    env = {
        "NODE_OPTIONS": f"--import={preload_path()}",
        "OPENCLAW_SIDECAR_SOCKET": str(place / "sidecar.sock"),
        **made.env,
    }
    opened = Rig(packages(version), place, env, prefix=made.prefix(f"ocs-gateway-{os.getpid()}"))
    runner.run(opened.start())
    try:
        yield opened
    finally:
        runner.run(opened.stop())


@pytest.fixture(params=list(Layout))
def housed(
    runner: asyncio.Runner, housed_rig: Rig, containers: tuple[Containers, Path], request: pytest.FixtureRequest
) -> Iterator[Housed]:
    """The gateway, with a sidecar that lives where it says."""
    layout, (made, _place) = Layout(request.param), containers
    name = f"ocs-{layout}-{os.getpid()}"
    prefix = {
        Layout.APART: made.prefix(name),
        Layout.SHARED: made.prefix(name, f"--pid=container:ocs-gateway-{os.getpid()}"),
        Layout.HOST: (),
    }[layout]
    socket = Path(housed_rig.env["OPENCLAW_SIDECAR_SOCKET"])
    sidecar = Companion(housed_rig.gateway.state_dir, housed_rig.work_dir / layout, socket, env=made.env, prefix=prefix)
    runner.run(sidecar.start())
    try:
        runner.run(sidecar.wait_for(_is_linked))
        yield Housed(layout, housed_rig, sidecar)
    finally:
        runner.run(sidecar.stop())


def _is_linked(status: dict[str, object]) -> bool:
    gateways = status["gateways"]
    assert isinstance(gateways, list)
    return any(gateway["linked"] and gateway["adapter"] != "pending" for gateway in gateways)


@pytest.mark.parametrize("version", ["2026.5.18"], indirect=True)
async def test_the_main_job_is_done_and_nothing_false_is_said_of_the_gateway(housed: Housed, session_key: str) -> None:
    rig = housed.rig
    await rig.say(session_key)
    async with rig.window(session_key) as window:
        await rig.client.chat_inject(session_key, "The backup has run.", "cron")
        turn = await window.close(ANSWER)
    assert_answered(turn)
    assert not off_path(read_records(window.session_file))
    incident = await housed.sidecar.closed_incident(window.session_file.name)
    assert (incident["verdict"], incident["recovery"]["outcome"]) == ("co_tenant", "effective")
    status = await housed.sidecar.status()
    [gateway] = status["gateways"]
    assert (gateway["own_pid"], gateway["visible"]) == (1, housed.layout is not Layout.APART)
    assert [problem["what"] for problem in status["problems"] if problem["code"] in ABOUT_PROCESSES] == []

    async with rig.window(session_key) as window:
        await append_as_stranger(window.session_file)
        turn = await window.close(ANSWER)
    assert not turn.answered
    closed = await housed.sidecar.closed_incident(window.session_file.name, besides=[incident["id"]])
    assert closed["verdict"] == "external"

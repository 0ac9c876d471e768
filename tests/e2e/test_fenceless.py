"""Releases that set no fence: there is nothing to recover, and the rest is told as ever.

Runs only with such a release in OPENCLAW_SIDECAR_TEST_VERSIONS, for example 2026.9.6.
"""

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from sidecar.demo.companion import Companion, command
from sidecar.demo.gateway import Gateway, TurnResult
from sidecar.demo.model import SlowModel
from sidecar.demo.packages import GatewayPackage
from sidecar.preload import preload_path

FENCE = b"function createEmbeddedAttemptSessionLockController("
START_SECONDS = 180.0
TURN_SECONDS = 50.0
TOLD_SECONDS = 10.0
QUESTION = "What is new without a fence?"
ANSWER = "The answer."


@pytest.fixture
def fenceless(version: str, packages: Callable[[str], GatewayPackage]) -> GatewayPackage:
    """The release under test; a skip when it sets a fence."""
    package = packages(version)
    bundle = package.cli.parent / "dist"
    if any(FENCE in path.read_bytes() for path in bundle.glob("*.*js")):
        pytest.skip(f"openclaw {version} sets a fence")
    return package


@pytest.fixture
def work_dir() -> Iterator[Path]:
    """A directory whose name is short: a socket's path has 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="ocs-") as directory:
        yield Path(directory)


@dataclass(frozen=True)
class Trio:
    """A gateway, its model and a sidecar. `Rig` needs session files, which these releases do not have."""

    gateway: Gateway
    model: SlowModel
    sidecar: Companion


@pytest.fixture
def trio(runner: asyncio.Runner, fenceless: GatewayPackage, work_dir: Path) -> Iterator[Trio]:
    """All of it running; the start of these releases alone may take a minute."""
    socket = work_dir / "sidecar.sock"
    env = {"NODE_OPTIONS": f"--import={preload_path()}", "OPENCLAW_SIDECAR_SOCKET": str(socket)}
    stack = AsyncExitStack()

    async def start() -> Trio:
        model = await stack.enter_async_context(SlowModel())
        gateway = Gateway(fenceless, work_dir / "gateway", model.base_url, env)
        gateway.state_dir.mkdir(parents=True)
        sidecar = await stack.enter_async_context(Companion(gateway.state_dir, work_dir, socket))
        await gateway.start(START_SECONDS)
        stack.push_async_callback(gateway.stop)
        return Trio(gateway, model, sidecar)

    try:
        yield runner.run(start())
    finally:
        runner.run(stack.aclose())


async def test_a_turn_is_answered_and_told_and_needs_no_recovery(trio: Trio, version: str) -> None:
    gateway, sidecar = trio.gateway, trio.sidecar
    await sidecar.wait_for(lambda status: _has_link(status, gateway.pid))

    turn = await _take_a_turn(gateway, trio.model)
    assert (turn.answered, turn.text) == (True, ANSWER)

    [found] = [g for g in (await sidecar.wait_linked(gateway.pid))["gateways"] if g["pid"] == gateway.pid]
    assert (found["linked"], found["adapter"], found["version"]) == (True, "none", version)
    assert "recovery is not needed" in found["reason"]
    assert "recovery is not needed" in await _status_command(sidecar)
    async with asyncio.timeout(TOLD_SECONDS):
        while not _model_calls(await sidecar.metrics()):  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.05)
    assert "openclaw-sidecar" not in gateway.stderr.path.read_text()


def _has_link(status: dict[str, list[dict[str, object]]], pid: int) -> bool:
    return any(g["pid"] == pid and g["linked"] for g in status["gateways"])


async def _take_a_turn(gateway: Gateway, model: SlowModel) -> TurnResult:
    turn = asyncio.ensure_future(gateway.turn("agent:main:fenceless", QUESTION, TURN_SECONDS))
    try:
        call = await model.next_call(mentioning=QUESTION, timeout_seconds=TURN_SECONDS)
        call.answer(ANSWER)
        return await turn
    finally:
        turn.cancel()


async def _status_command(sidecar: Companion) -> str:
    asking = (command(), "status", "--state-dir", sidecar.state_dir, "--data-dir", sidecar.data_dir)
    run = await asyncio.to_thread(
        subprocess.run, asking, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    return run.stdout


def _model_calls(metrics: str) -> float:
    """How many model calls have ended."""
    lines = [line for line in metrics.splitlines() if line.startswith("openclaw_sidecar_model_calls")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)

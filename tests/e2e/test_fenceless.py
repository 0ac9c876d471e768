"""Releases that set no fence: there is nothing to recover, and the rest is told as ever.

Runs only with such a release in OPENCLAW_SIDECAR_TEST_VERSIONS, for example 2026.9.6.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sidecar.demo.companion import Companion, command
from sidecar.demo.gateway import Gateway
from sidecar.demo.model import SlowModel
from sidecar.preload import preload_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sidecar.demo.gateway import TurnResult
    from sidecar.demo.packages import GatewayPackage

FENCE = b"function createEmbeddedAttemptSessionLockController("
START_SECONDS = 90.0
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


async def test_a_turn_is_answered_and_told_and_needs_no_recovery(fenceless: GatewayPackage, work_dir: Path) -> None:
    """`Rig` needs session files, which these releases do not have."""
    socket = work_dir / "sidecar.sock"
    env = {"NODE_OPTIONS": f"--import={preload_path()}", "OPENCLAW_SIDECAR_SOCKET": str(socket)}
    async with SlowModel() as model:
        gateway = Gateway(fenceless, work_dir / "gateway", model.base_url, env)
        async with gateway, Companion(gateway.state_dir, work_dir, socket) as sidecar:
            linked = await sidecar.wait_for(lambda status: _has_link(status, gateway.pid))
            assert linked["gateways"][0]["version"] == fenceless.version

            turn = await _take_a_turn(gateway, model)
            assert (turn.answered, turn.text) == (True, ANSWER)

            [found] = [g for g in (await sidecar.wait_linked(gateway.pid))["gateways"] if g["pid"] == gateway.pid]
            assert (found["linked"], found["adapter"]) == (True, "none")
            assert "recovery is not needed" in found["reason"]
            assert "recovery is not needed" in await _status_command(sidecar)
            async with asyncio.timeout(TOLD_SECONDS):
                while not _model_calls(await sidecar.metrics()):
                    await asyncio.sleep(0.05)  # noqa: ASYNC110 - the metrics are another process'
        assert "openclaw-sidecar" not in gateway.stderr.path.read_text()


def _has_link(status: dict[str, list[dict[str, object]]], pid: int) -> bool:
    return any(g["pid"] == pid and g["linked"] for g in status["gateways"])


async def _take_a_turn(gateway: Gateway, model: SlowModel) -> TurnResult:
    turn = asyncio.ensure_future(gateway.turn("agent:main:fenceless", QUESTION, START_SECONDS))
    try:
        call = await model.next_call(mentioning=QUESTION, timeout_seconds=START_SECONDS)
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

"""A program that approves everything takes the path of a sidecar that died."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.demo.gateway import TurnResult
from sidecar.demo.packages import GatewayPackage
from sidecar.demo.rig import Rig
from sidecar.preload import preload_path
from sidecar.wire.messages import Challenge
from tests.e2e.answers import assert_answered
from tests.e2e.guard import Guard
from tests.e2e.test_stock_gateway import assert_lost
from tests.preload.kit import Sidecar, approving


@pytest.fixture(scope="module")
def hooked(runner: asyncio.Runner, version: str, packages: Callable[[str], GatewayPackage]) -> Iterator[Rig]:
    """A gateway for this module alone: it says once what it met, and other tests look at what theirs has said."""
    with tempfile.TemporaryDirectory(prefix="ocs-") as directory:
        place = Path(directory)
        env = {"NODE_OPTIONS": f"--import={preload_path()}", "OPENCLAW_SIDECAR_SOCKET": str(place / "sidecar.sock")}
        rig = Rig(packages(version), place, env)
        runner.run(rig.start())
        try:
            yield rig
        finally:
            runner.run(rig.stop())


async def disturbed(guard: Guard, session_key: str, answer: str) -> tuple[TurnResult, Path]:
    """A turn beside which a note was written, and its session file."""
    async with guard.rig.window(session_key) as window:
        await guard.rig.client.chat_inject(session_key, "The backup has run.")
        return await window.close(answer), window.session_file


@pytest.mark.parametrize("version", ["2026.5.18"], indirect=True, scope="session")
async def test_it_is_not_obeyed_and_the_sidecar_is_when_it_is_back(guard: Guard, session_key: str) -> None:
    await guard.rig.say(session_key)
    turn, _ = await disturbed(guard, session_key, "Before.")
    assert_answered(turn, "Before.")

    await guard.sidecar.kill()
    guard.sidecar.socket.unlink()
    with Sidecar(guard.sidecar.socket) as fake:
        fake.opening, fake.answer = (lambda _: (Challenge(nonce="0" * 32),)), approving
        [trouble, *_] = await asyncio.to_thread(fake.wait_for_said, "trouble")
        assert trouble["where"] == "sidecar"
        turn, session_file = await disturbed(guard, session_key, "The answer.")
        await assert_lost(turn, guard.rig, session_file)
        assert fake.said("ask") == []
        assert fake.said("fence.set")
    guard.sidecar.socket.unlink()

    await guard.start()
    turn, _ = await disturbed(guard, session_key, "Afterwards.")
    assert_answered(turn, "Afterwards.")

"""The sidecar is of another version than the preload in the running gateway.

The other version is this preload with other numbers in a copy of its files.
"""

import asyncio
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.demo.packages import GatewayPackage
from sidecar.demo.pager import PageReceiver
from sidecar.demo.rig import Rig
from sidecar.preload import preload_path
from sidecar.wire.messages import PROTOCOL
from tests.e2e.answers import assert_answered
from tests.e2e.guard import Guard

VERSION = "2026.5.18"  # nothing here depends on the release


def _preload(target: Path, **numbers: str) -> Path:
    """A copy of the preload with other constants in its link."""
    shutil.copytree(preload_path().parent, target)
    link = target / "link.mjs"
    text = link.read_text()
    for name, value in numbers.items():
        text, found = re.subn(rf"(const {name} = )[^;]+;", rf"\g<1>{value};", text)
        assert found == 1, name
    link.write_text(text)
    return target / preload_path().name


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """For a socket, whose path has 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="ocs-") as found:
        yield Path(found)


@pytest.fixture
def guard_of(
    runner: asyncio.Runner, packages: Callable[[str], GatewayPackage], tmp_path: Path, short_dir: Path
) -> Iterator[Callable[[Path], Guard]]:
    """Starts a gateway with a preload, and a sidecar that need not be linked."""
    pager = PageReceiver()
    runner.run(pager.__aenter__())
    opened: list[Guard] = []

    def start(preload: Path) -> Guard:
        socket = short_dir / "sidecar.sock"
        env = {"NODE_OPTIONS": f"--import={preload}", "OPENCLAW_SIDECAR_SOCKET": str(socket)}
        rig = Rig(packages(VERSION), tmp_path / "gateway", env)
        runner.run(rig.start())
        opened.append(Guard(rig, pager, tmp_path / "sidecar", socket))
        return opened[-1]

    yield start
    for guard in opened:
        runner.run(guard.stop())
        runner.run(guard.rig.stop())
    runner.run(pager.__aexit__(None, None, None))


@pytest.fixture
def old(guard_of: Callable[[Path], Guard], tmp_path: Path) -> Guard:
    """A gateway whose preload speaks an older protocol than any that the sidecar knows."""
    return guard_of(_preload(tmp_path / "preload", PROTOCOL="0", OLDEST="0"))


@pytest.fixture
def newer(guard_of: Callable[[Path], Guard], tmp_path: Path) -> Guard:
    """A gateway with a preload of another release, which speaks a newer protocol and this one too."""
    return guard_of(_preload(tmp_path / "preload", PROTOCOL=str(PROTOCOL + 1), PRELOAD_VERSION='"9.9.9"'))


@pytest.mark.e2e
@pytest.mark.timeout(150, func_only=True)
async def test_a_preload_that_can_not_be_understood_is_named_with_the_remedy_and_left_alone(
    old: Guard, session_key: str
) -> None:
    rig = old.rig
    await old.start(linked=False)
    status = await old.sidecar.wait_for(lambda s: bool(s["problems"]))
    [problem] = [p for p in status["problems"] if p["code"] == "protocol_version"]
    assert str(rig.gateway.pid) in problem["what"]
    assert "restart the gateway" in problem["remedy"]

    await rig.say(session_key)
    async with rig.window(session_key) as window:
        await rig.client.chat_inject(session_key, "A note.")
        turn = await window.close()
    assert not turn.answered  # as unpatched
    for incident in await old.sidecar.incidents(window.session_file.name):
        assert incident["verdict"] == "unattributed"
    assert old.pages == []


@pytest.mark.e2e
@pytest.mark.timeout(150, func_only=True)
async def test_a_preload_that_speaks_more_than_one_protocol_is_spoken_to_in_the_common_one(
    newer: Guard, session_key: str
) -> None:
    rig = newer.rig
    await newer.start()
    told: list[str] = []
    for answer in ("Before the upgrade.", "After the upgrade."):
        await rig.say(session_key)
        async with rig.window(session_key, f"What comes {answer.split()[0].lower()}?") as window:
            await rig.client.chat_inject(session_key, "A note.")
            turn = await window.close(answer)
        assert_answered(turn, answer)
        told.append((await newer.closed_incident(window.session_file, *told))["id"])
        await newer.restart()  # what an upgrade of the sidecar does to the gateway
    incidents = await newer.sidecar.incidents(window.session_file.name)
    assert [i["verdict"] for i in incidents] == ["co_tenant", "co_tenant"]
    assert newer.pages == []

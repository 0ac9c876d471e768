"""Sidecar and gateway as two users: the gateway's tools can't speak for it, stop it, or edit its records."""

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from sidecar.demo.companion import Companion
from sidecar.demo.gateway import Gateway
from sidecar.demo.model import SlowModel
from sidecar.demo.packages import GatewayPackage
from sidecar.demo.rpc import GatewayClient
from sidecar.demo.sessionrows import SessionRows
from sidecar.demo.window import OpenWindow, open_window
from sidecar.preload import preload_path
from tests.e2e.answers import assert_answered
from tests.e2e.liars import PROGRAMS, Kind, assert_not_believed, linked_liar
from tests.e2e.other_user import (
    GATEWAY_UID,
    SIDECAR_UID,
    GatewayOfUser,
    SidecarOfUser,
    as_user,
    given_to,
    require_root,
    within_reach,
)

START_SECONDS: Final = 240.0
TOLD_SECONDS: Final = 30.0
ANSWER: Final = "The answer."


@dataclass(frozen=True)
class Pair:
    """A gateway and the sidecar of another user."""

    place: Path
    gateway: Gateway
    sidecar: Companion
    model: SlowModel
    client: GatewayClient
    has_rows: bool

    @asynccontextmanager
    async def later_window(self, session_key: str) -> AsyncIterator[OpenWindow]:
        """The second turn of a session, which waits for its model."""
        for text in ("the first question", "the second question"):
            async with open_window(self.gateway, self.model, session_key, text, START_SECONDS) as window:
                if text.startswith("the first"):
                    await window.close(ANSWER)
                else:
                    yield window

    async def met(self, session_key: str) -> None:
        """Wait until the sidecar has an incident of the session."""
        async with asyncio.timeout(TOLD_SECONDS):
            while not await self.sidecar.incidents(self.transcript(session_key)):  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.05)

    def transcript(self, session_key: str) -> str:
        """By which name the sidecar has the session."""
        if self.has_rows:
            return SessionRows(self.gateway.database(session_key), session_key).transcript
        return str(self.gateway.session_file(session_key).resolve())


@pytest.fixture(scope="module", params=["2026.5.18", "2026.9.6"])
def version(request: pytest.FixtureRequest) -> str:
    """The release of the gateway."""
    return str(request.param)


@pytest.fixture(scope="module")
def pair(runner: asyncio.Runner, version: str, packages: Callable[[str], GatewayPackage]) -> Iterator[Pair]:
    """Both running."""
    require_root()
    stack = AsyncExitStack()
    with tempfile.TemporaryDirectory(prefix="ocs-") as directory:
        work = Path(directory)
        work.chmod(0o755)
        for part in ("gateway", "sidecar"):
            (work / part).mkdir(mode=0o755)
        socket = work / "socket" / "sidecar.sock"
        socket.parent.mkdir(mode=0o755)
        given_to(SIDECAR_UID, socket.parent)
        given_to(GATEWAY_UID, work / "gateway")
        preload = shutil.copytree(preload_path().parent, work / "preload") / preload_path().name
        shutil.copytree(PROGRAMS, work / PROGRAMS.name)
        package = within_reach(packages(version), work)
        env = {
            "NODE_OPTIONS": f"--import={preload}",
            "OPENCLAW_SIDECAR_SOCKET": str(socket),
            "OPENCLAW_SIDECAR_UID": str(SIDECAR_UID),
        }

        async def start() -> Pair:
            model = await stack.enter_async_context(SlowModel())
            gateway = GatewayOfUser(package, work / "gateway", model.base_url, env)
            gateway.state_dir.mkdir(parents=True)
            given_to(GATEWAY_UID, gateway.work_dir)
            options = ("--gateway-uid", str(GATEWAY_UID))
            sidecar = SidecarOfUser(gateway.state_dir, work / "sidecar", socket, options)
            await stack.enter_async_context(sidecar)
            await gateway.start(START_SECONDS)
            stack.push_async_callback(gateway.stop)
            await sidecar.wait_linked(gateway.pid)
            client = await stack.enter_async_context(GatewayClient(gateway.url, gateway.token))
            return Pair(work, gateway, sidecar, model, client, has_rows=version >= "2026.8")

        try:
            yield runner.run(start())
        finally:
            runner.run(stack.aclose())


async def test_the_main_job_works_across_two_users(pair: Pair, session_key: str) -> None:
    status = await pair.sidecar.status()
    [gateway] = [g for g in status["gateways"] if g["pid"] == pair.gateway.pid]
    assert gateway["verified"]
    async with pair.later_window(session_key) as window:
        end = await pair.client.chat_end(await pair.client.chat_send(session_key, "/help"))
        assert end["state"] == "final", end
        await pair.met(session_key)
        assert_answered(await window.close(ANSWER))
    incident = await pair.sidecar.closed_incident(pair.transcript(session_key))
    assert incident["verdict"] == "co_tenant"
    assert incident["recovery"]["outcome"] in {"effective", "none"}


async def test_rule_9_a_tool_of_the_gateways_user_can_not_speak_for_it(pair: Pair, session_key: str) -> None:
    tool = linked_liar(Kind.SCRIPT, pair.sidecar.socket, pair.gateway.package, pair.place, as_user(GATEWAY_UID))
    async with tool as liar, pair.later_window(session_key) as window:
        await liar.greet()
        if pair.has_rows:
            rows = SessionRows(pair.gateway.database(session_key), session_key)
            await liar.insert(pair.gateway.database(session_key), rows.session_id)
        else:
            await liar.append(window.session_file)
        await pair.met(session_key)
        await window.close(ANSWER)
        incident = await pair.sidecar.closed_incident(pair.transcript(session_key))
    assert_not_believed(incident, liar, pair.sidecar.log)


_TOOL: Final = """
import os, signal, sys
def tried(act):
    try:
        act()
    except OSError as error:
        return type(error).__name__
    return "done"
pid, socket, data = int(sys.argv[1]), sys.argv[2], sys.argv[3]
print(tried(lambda: os.kill(pid, signal.SIGSTOP)))
print(tried(lambda: os.kill(pid, signal.SIGKILL)))
print(tried(lambda: os.unlink(socket)))
print(tried(lambda: os.rename(socket, socket + ".old")))
print(tried(lambda: open(os.path.join(os.path.dirname(socket), "x"), "w")))
for name in ("sidecar.db", "link.key", "runtime.json"):
    print(tried(lambda: open(os.path.join(data, name), "rb")))
    print(tried(lambda: open(os.path.join(data, name), "r+b")))
print(tried(lambda: open(f"/proc/{pid}/mem", "rb")))
"""


async def test_a_tool_of_the_gateways_user_can_not_stop_the_sidecar_or_touch_its_records(pair: Pair) -> None:
    arguments = (str(pair.sidecar.pid), str(pair.sidecar.socket), str(pair.sidecar.data_dir))
    process = await asyncio.create_subprocess_exec(
        *as_user(GATEWAY_UID), "/usr/bin/python3", "-I", "-c", _TOOL, *arguments, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert set(out.decode().split()) == {"PermissionError"}
    assert (await pair.sidecar.status())["gateways"]


def test_the_sidecar_may_read_everything_and_write_nothing_of_the_gateways(pair: Pair) -> None:
    rights = [line for line in Path(f"/proc/{pair.sidecar.pid}/status").read_text().splitlines() if "Cap" in line]
    assert {line.split()[1] for line in rights} == {f"{1 << 2:016x}"}, "CAP_DAC_READ_SEARCH is number 2"
    for path in pair.gateway.state_dir.rglob("*"):
        assert path.lstat().st_uid == GATEWAY_UID, path
    with sqlite3.connect(f"file:{pair.sidecar.data_dir / 'sidecar.db'}?mode=ro", uri=True) as store:
        assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)

"""The gateway as a process: with a stand-in for Node, since what matters is how it is started and ended."""

import asyncio
from pathlib import Path

import psutil
import pytest

from sidecar.demo.errors import GatewayNotRunningError, SessionUnknownError, StartError
from sidecar.demo.gateway import Gateway
from sidecar.demo.packages import GatewayPackage

FOREVER = "while :; do sleep 60 & wait; done"


LISTING = """
case "$*" in *"plugins registry --refresh")
  mkdir -p "$OPENCLAW_STATE_DIR/plugins"
  echo "run with '$NODE_OPTIONS'" | tee -a {log} > "$OPENCLAW_STATE_DIR/plugins/installs.json"
  exit;;
esac
"""
"""What a release up to 2026.5.22 does when it is told to list its plugins."""


def gateway_that_runs(script: str, tmp_path: Path, version: str = "2026.7.35", work: str = "work") -> Gateway:
    package = GatewayPackage(version, tmp_path / "package")
    package.node.parent.mkdir(parents=True, exist_ok=True)
    package.node.write_text(f"#!/bin/sh\n{script}\n")
    package.node.chmod(0o755)
    env = {"EXTRA": "given", "NODE_OPTIONS": "--import=preload"}
    return Gateway(package, tmp_path / work, "http://127.0.0.1:1/v1", env)


def text(path: Path) -> str:
    return path.read_text()


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # an orphan waits for init to reap it
    except psutil.NoSuchProcess:
        return False


async def test_it_is_ready_when_it_says_so_and_keeps_to_its_directory(tmp_path: Path) -> None:
    script = f'echo "$HOME $TMPDIR $OPENCLAW_STATE_DIR $PWD $EXTRA"; echo oops >&2; echo "x [gateway] ready"; {FOREVER}'
    async with gateway_that_runs(script, tmp_path) as gateway:
        pid = gateway.pid
        work = tmp_path / "work"
        first = f"{work / 'home'} {work / 'tmp'} {work / 'state'} {work / 'workspace'} given"
        assert gateway.stdout.lines() == (first, "x [gateway] ready")
        assert await gateway.stderr.wait_for("oops", timeout_seconds=60) == "oops"
        assert f'"port": {gateway.port}' in text(gateway.state_dir / "openclaw.json")
        with pytest.raises(SessionUnknownError, match="agent:main:x"):
            gateway.session_file("agent:main:x")
    assert not alive(pid)
    with pytest.raises(GatewayNotRunningError):
        _ = gateway.pid


async def test_one_that_ends_says_why(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="it ended with status 7\n  no disk"):
        await gateway_that_runs("echo no disk >&2; exit 7", tmp_path).start()


async def test_one_that_is_never_ready_is_ended_with_its_children(tmp_path: Path) -> None:
    script = f"trap '' TERM; sleep 60 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/pid; echo loading; wait"
    gateway = gateway_that_runs(script, tmp_path)

    with pytest.raises(StartError, match=r"not ready within 0\.5 s\n  loading"):
        await gateway.start(timeout_seconds=0.5)

    async with asyncio.timeout(5):  # a killed child that is not ours takes its time on a busy machine
        while any(alive(int(text(tmp_path / name))) for name in ("pid", "child")):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)


async def test_one_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    gateway = gateway_that_runs("trap '' TERM; echo '[gateway] ready'; while :; do sleep 60; done", tmp_path)
    await gateway.start()
    pid = gateway.pid

    async with asyncio.timeout(5):
        await gateway.stop(grace_seconds=0.1)

    assert not alive(pid)


async def test_a_restarted_one_is_not_taken_for_ready_by_its_old_log(tmp_path: Path) -> None:
    marker = tmp_path / "started"
    script = f"[ -e {marker} ] && exit 3; touch {marker}; echo '[gateway] ready'; {FOREVER}"
    gateway = gateway_that_runs(script, tmp_path)
    async with gateway:
        pass

    with pytest.raises(StartError, match="status 3"):
        await gateway.start()


async def test_the_list_of_plugins_is_made_once_and_given_to_each_fresh_state_directory(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = LISTING.format(log=log) + f"echo '[gateway] ready'; {FOREVER}"
    for work in ("one", "two"):
        async with gateway_that_runs(script, tmp_path, "2026.5.22", work) as gateway:
            assert text(gateway.state_dir / "plugins" / "installs.json") == "run with ''\n"
    assert text(log) == "run with ''\n"


async def test_each_configuration_of_plugins_has_a_list_of_its_own(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = LISTING.format(log=log) + f"echo '[gateway] ready'; {FOREVER}"
    for work, allowed in (("one", "telegram"), ("two", "irc"), ("three", "telegram")):
        gateway = gateway_that_runs(script, tmp_path, "2026.5.18", work)
        gateway.settings = {"plugins": {"enabled": True, "allow": [allowed]}}
        async with gateway:
            pass
    assert len(text(log).splitlines()) == 2


async def test_a_release_that_cannot_list_its_plugins_says_so(tmp_path: Path) -> None:
    gateway = gateway_that_runs("echo broken >&2; exit 3", tmp_path, "2026.5.22")
    with pytest.raises(StartError, match="plugins registry --refresh ended with status 3\n  broken"):
        await gateway.start()

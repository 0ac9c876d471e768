"""Two gateways on one state directory, each with the preload, and one sidecar."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sidecar.demo.gateway import Gateway
from sidecar.demo.rig import Rig
from sidecar.demo.rpc import GatewayClient
from tests.e2e.answers import assert_answered
from tests.e2e.guard import Guard
from tests.e2e.history import off_path, read_records

ANSWER = "The answer."
MOST_NOTES = 40


@dataclass(frozen=True, slots=True)
class Second:
    """Another gateway process, with its own configuration, on the state directory of the first."""

    pid: int
    client: GatewayClient


def _second(runner: asyncio.Runner, rig: Rig, **env: str) -> Iterator[Second]:
    own = {**rig.env, "OPENCLAW_ALLOW_MULTI_GATEWAY": "1", **env}
    gateway = Gateway(rig.package, rig.work_dir / "second", rig.model.base_url, own, state_dir=rig.gateway.state_dir)
    runner.run(gateway.__aenter__())
    try:
        client = GatewayClient(gateway.url, gateway.token)
        runner.run(client.__aenter__())
        yield Second(gateway.pid, client)
        runner.run(client.__aexit__(None, None, None))
    finally:
        runner.run(gateway.__aexit__(None, None, None))


@pytest.fixture
def second(runner: asyncio.Runner, hooked: Rig) -> Iterator[Second]:
    """With the preload."""
    yield from _second(runner, hooked)


@pytest.fixture
def stranger(runner: asyncio.Runner, hooked: Rig) -> Iterator[Second]:
    """Without the preload."""
    yield from _second(runner, hooked, NODE_OPTIONS="")


def _lock_is_free_in_the_window(version: str) -> bool:
    """From 2026.5.22 on the run takes the lock back as its model call begins: another process waits for its end."""
    return version < "2026.5.22"


async def test_each_others_writes_have_the_right_process_and_follow_the_policy(
    guard: Guard, second: Second, session_key: str, version: str
) -> None:
    rig = guard.rig
    await guard.sidecar.wait_linked(second.pid)
    await rig.say(session_key)
    async with rig.window(session_key) as window:
        writing = asyncio.create_task(second.client.chat_inject(session_key, "A note by the second gateway."))
        if _lock_is_free_in_the_window(version):
            await writing
        turn = await window.close(ANSWER)
        await writing
    assert_answered(turn)
    records = read_records(window.session_file)
    assert not off_path(records)
    if _lock_is_free_in_the_window(version):
        incident = await guard.closed_incident(window.session_file)
        assert (incident["verdict"], incident["recovery"]["outcome"]) == ("co_tenant", "effective")
        assert {writer["pid"] for writer in incident["writers"] if not writer["own"]} == {second.pid}
        assert [r.text for r in records if "second gateway" in r.text or r.text == ANSWER][-1] == ANSWER
    assert guard.pages == []


async def _has_seen(guard: Guard, session_file: Path, pid: int) -> bool:
    """The sidecar has read a lock file of this process."""
    incidents = await guard.sidecar.incidents(session_file.name)
    return any(f"process {pid}," in moment["detail"] for incident in incidents for moment in incident["timeline"])


async def test_a_second_gateway_without_the_preload_is_no_cotenant(
    guard: Guard, stranger: Second, session_key: str, version: str
) -> None:
    """What a process without a link wrote is not in the account of the one that has one: external, and one page."""
    if not _lock_is_free_in_the_window(version):
        pytest.skip("the lock keeps other gateways out of this release's windows")
    rig = guard.rig
    await rig.say(session_key)
    async with rig.window(session_key) as window:
        for _ in range(MOST_NOTES):  # the lock file of a single one may be gone before it could be read
            await stranger.client.chat_inject(session_key, "A note by a stranger.")
            if await _has_seen(guard, window.session_file, stranger.pid):
                break
        turn = await window.close(ANSWER)
    assert not turn.answered
    incident = await guard.closed_incident(window.session_file)
    assert incident["verdict"] == "external"
    assert {r["pid"] for r in incident["unexplained"]} == {stranger.pid}
    assert incident["id"] in (await guard.next_page()).message
    status = await guard.sidecar.status()
    assert [p for p in status["problems"] if p["code"] == "preload_missing" and str(stranger.pid) in p["what"]]

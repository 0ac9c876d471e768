"""Real processes that say they are a gateway: the one that is, and those that are not."""

import asyncio
import os
import sys
import textwrap
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.core.facts.gateway import Proof
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.policy.glob import Glob
from sidecar.core.policy.policy import Policy
from sidecar.core.policy.rules import Permission, Rule
from sidecar.identity.peer import Peer
from sidecar.identity.reader import Reader
from tests.identity.kit import SPEAKER, Speaker, node, package_in, speaking, verifying
from tests.link.kit import Closed, Identified, Stage

IN_PYTHON: Final = textwrap.dedent(
    """
    import json, os, socket, sys
    link = socket.socket(socket.AF_UNIX)
    link.connect(json.loads(input())["path"])
    lines = link.makefile()
    lines.readline()
    say = lambda **what: link.sendall(json.dumps(what).encode() + b"\\n")
    say(t="hello", seq=1, at="0", protocol=3, pid=os.getpid(), script="/usr/lib/node_modules/openclaw/openclaw.mjs")
    print(lines.readline().strip(), flush=True)
    input()
    if os.fork() == 0:
        say(t="fence.closed", seq=2, at="0", window="w")
        os._exit(0)
    os.wait()
    print("{}", flush=True)
    sys.stdin.read()
    """
)


PYTHON: Final = os.path.realpath(sys.executable)


async def welcome(stage: Stage, speaker: Speaker, **what: object) -> dict[str, Any]:
    """Have it link; what it is told."""
    told = await speaker.tell("link", path=str(stage.path), **what)
    await stage.recorder.next()
    return told


async def test_a_gateway_is_verified_by_its_process_and_gets_a_key(room: Path) -> None:
    script = package_in(room)
    async with verifying(room) as stage, speaking(node(), script) as speaker:
        told = await welcome(stage, speaker)
        assert (told["verified"], len(told["key"]), len(told["secret"])) == (True, 32, 64)
        gateway = stage.recorder.sessions[0].gateway
    assert (gateway.proof, gateway.unverified, gateway.exe) == (Proof.PROCESS, None, node())
    assert gateway.checks == (f"executable {node()}", str(script.parent))


async def test_the_script_may_be_reached_by_links_and_relative_to_its_directory(room: Path) -> None:
    script = package_in(room)
    (room / "bin").mkdir()
    (room / "bin" / "openclaw").symlink_to(f"../{script.relative_to(room)}")
    (room / "absolute").symlink_to(room / "bin")
    async with verifying(room) as stage, speaking("env", "-C", room, node(), "absolute/openclaw") as speaker:
        assert (await welcome(stage, speaker))["verified"] is True


async def test_a_program_that_is_not_node_is_not_believed_whatever_it_says(room: Path) -> None:
    async with verifying(room) as stage, speaking(sys.executable, "-c", IN_PYTHON) as speaker:
        told = await welcome(stage, speaker)
        gateway = stage.recorder.sessions[0].gateway
    assert gateway.unverified == Reason.of(ReasonCode.LINK_NOT_NODE, exe=PYTHON)
    assert not told.get("verified")
    assert PYTHON in told["reason"]
    assert "secret" not in told


@pytest.mark.parametrize("name", ["openclaw-of-mine", "evil"])
async def test_a_script_of_another_package_is_not_believed(room: Path, name: str) -> None:
    script = package_in(room, name)
    async with verifying(room) as stage, speaking(node(), script) as speaker:
        told = await welcome(stage, speaker)
    assert not told.get("verified")
    assert str(script) in told["reason"]


async def test_code_that_is_given_as_an_argument_is_not_believed_with_openclaw_behind_it(room: Path) -> None:
    script = package_in(room)
    command = (node(), "--input-type=module", "-e", SPEAKER, script)
    async with verifying(room) as stage, speaking(*command) as speaker:
        assert not (await welcome(stage, speaker)).get("verified")


async def test_what_a_gateway_starts_is_a_tool_unless_it_is_the_same_program(room: Path) -> None:
    script, other = package_in(room), package_in(room / "tmp")
    async with verifying(room) as stage, speaking(node(), script) as speaker:
        assert (await welcome(stage, speaker))["verified"] is True
        worker = await speaker.tell("start", script=str(script), path=str(stage.path))
        assert worker["verified"] is True
        tool = await speaker.tell("start", script=str(other), path=str(stage.path))
        assert "it was started by process" in tool["reason"]


async def test_a_hidden_command_line_is_not_believed_until_it_holds_a_gateways_lock(room: Path) -> None:
    async with verifying(room) as stage, speaking(node(), package_in(room)) as speaker:
        await speaker.tell("hide", title="openclaw-gateway")
        assert not (await welcome(stage, speaker)).get("verified")
        [session] = stage.recorder.sessions
        assert session.gateway.unverified == Reason(ReasonCode.LINK_HIDDEN)

        stage.links.look_again()
        await speaker.tell("lock", file=str(room / "gateway.0a1b2c3d.lock"))
        stage.links.look_again()
        told = await stage.recorder.next()
        assert isinstance(told, Identified)
        assert session.gateway.proof is Proof.PROCESS
        assert session.gateway.unverified is None
        stage.links.look_again()
    assert isinstance(await stage.recorder.next(), Closed)


async def test_a_key_is_proved_through_a_restart_of_the_sidecar_and_of_a_hidden_command_line(room: Path) -> None:
    async with speaking(node(), package_in(room)) as speaker:
        async with verifying(room) as stage:
            told = await welcome(stage, speaker)
            await speaker.tell("hide", title="openclaw")
        key = {name: told[name] for name in ("key", "secret")}
        async with verifying(room) as stage:
            again = await welcome(stage, speaker, **key)
            assert again["verified"] is True
            assert len(again["proof"]) == 64
            assert "secret" not in again
            assert stage.recorder.sessions[0].gateway.proof is Proof.KEY

            replayed = await welcome(stage, speaker, **key, challenge="0" * 32)
            assert not replayed.get("verified")
            assert "did not prove the key" in replayed["reason"]
            assert "proof" not in replayed


async def test_a_key_of_another_process_proves_nothing(room: Path) -> None:
    other = room / "evil.mjs"
    other.write_text(SPEAKER)
    async with verifying(room) as stage, speaking(node(), package_in(room)) as speaker:
        told = await welcome(stage, speaker)
        async with speaking(node(), other) as thief:
            stolen = await welcome(stage, thief, key=told["key"], secret=told["secret"])
    assert not stolen.get("verified")
    assert str(other) in stolen["reason"]
    assert "proof" not in stolen, "with it, the thief could pass for the sidecar"


async def test_a_child_that_speaks_on_its_parents_link_ends_it_and_is_not_heard(room: Path) -> None:
    async with verifying(room) as stage, speaking(sys.executable, "-c", IN_PYTHON) as speaker:
        await welcome(stage, speaker)
        await speaker.tell("fork")
        assert await stage.recorder.next() == Closed(clean=False)
        rejected = await stage.recorder.rejected()
    assert rejected.reason == "another_speaks"
    assert f"on the link of process {speaker.pid}" in rejected.text


async def test_a_rule_admits_a_program_until_the_policy_changes(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = Rule(name="ours", executables=(Glob(PYTHON, path=True),), may=Permission.REWRITE, unverified=True)
    async with (
        verifying(room, Policy(rules=(rule,))) as stage,
        speaking(sys.executable, "-c", IN_PYTHON) as speaker,
    ):
        assert (await welcome(stage, speaker))["verified"] is True
        [session] = stage.recorder.sessions
        assert (session.gateway.proof, session.gateway.checks) == (Proof.POLICY, ("rule ours",))
        stage.links.look_again()
        monkeypatch.setattr(session.verifier, "admits", lambda _peer: False)
        stage.links.look_again()
        assert await stage.recorder.next() == Closed(clean=False)


def test_another_process_under_the_same_id_is_not_taken_for_the_one_that_connected() -> None:
    found = Reader().look(Peer(os.getpid(), os.geteuid(), start=1, pidfd=os.pidfd_open(os.getpid())))
    assert (found.same, found.script, found.package) == (False, "", "")


async def test_a_process_that_has_ended_is_not_taken_for_one_that_lives() -> None:
    process = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE)
    pidfd = os.pidfd_open(process.pid)
    await process.communicate(b"")
    try:
        assert Reader().look(Peer(process.pid, os.geteuid(), start=1, pidfd=pidfd)).same is False
    finally:
        os.close(pidfd)

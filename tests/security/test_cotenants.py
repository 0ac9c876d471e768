"""Programs that give themselves the name of a co-tenant, or speak for one. The sidecar's socket is a real one."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.core.facts.gateway import Role
from sidecar.core.facts.writer import WriterKind
from sidecar.core.policy.glob import Glob
from sidecar.core.policy.policy import Policy
from sidecar.core.policy.rules import Permission, Rule
from sidecar.identity.verification import Verification
from sidecar.wire import messages as wire
from sidecar.wire.codec import decode_from_sidecar
from sidecar.wire.proofs import token_proof
from tests.link.kit import Client, Closed, Stage, serving

TOKEN: Final = "the-token-of-this-sidecar-32-characters"
OWN_EXE: Final = os.path.realpath(f"/proc/{os.getpid()}/exe")
PROGRAMS: Final = frozenset({WriterKind.DECLARED})
BY_NAME: Final = Rule(name="backup", kinds=PROGRAMS, names=(Glob("backup"),), may=Permission.APPEND)
BY_EXE: Final = Rule(
    name="backup",
    kinds=PROGRAMS,
    names=(Glob("backup"),),
    executables=(Glob(OWN_EXE, path=True),),
    may=Permission.APPEND,
)
OTHER_EXE: Final = Rule(
    name="backup",
    kinds=PROGRAMS,
    names=(Glob("backup"),),
    executables=(Glob("/usr/bin/restic", path=True),),
    may=Permission.APPEND,
)


@dataclass
class Scene:
    """A sidecar's socket, and the policy in force, which may change."""

    stage: Stage
    policy: Policy

    async def say_hello(self, *, token: str = "", proof: str | None = None, **hello: Any) -> wire.SidecarMessage | None:  # noqa: ANN401 - fields of the hello
        """Link as a co-tenant, with what it knows of the token, or with a proof as it is; the answer."""
        client = await self.stage.connect()
        challenge = await nonce(client)
        fields = {"role": Role.COTENANT, "name": "backup", **hello}
        if proof is None:
            proof = token_proof(token, challenge, fields["name"]) if token else ""
        client.say(client.hello(**fields, proof=proof))
        return await client.hear()


async def nonce(client: Client) -> str:
    """The challenge, which comes first."""
    challenge = decode_from_sidecar(await client.reader.readline())
    assert isinstance(challenge, wire.Challenge)
    return challenge.nonce


@asynccontextmanager
async def scene(path: Path, *rules: Rule) -> AsyncIterator[Scene]:
    made: list[Scene] = []
    verification = Verification(path.parent, lambda: made[0].policy, lambda: TOKEN)
    async with serving(path, verification) as stage:
        made.append(Scene(stage, Policy(rules=rules)))
        yield made[0]


def refused(answer: wire.SidecarMessage | None, why: str, code: str = wire.NOT_DECLARED) -> bool:
    return isinstance(answer, wire.Reject) and answer.code == code and why in answer.reason


async def test_nobody_is_one_by_default(path: Path) -> None:
    async with scene(path) as on:
        assert refused(await on.say_hello(token=TOKEN), "no rule of the policy makes declared backup")
        assert on.stage.links.open_sessions() == ()


async def test_the_name_of_a_rule_is_not_enough(path: Path) -> None:
    async with scene(path, BY_NAME) as on:
        assert refused(await on.say_hello(), "does not meet token")
        assert isinstance(await on.say_hello(token=TOKEN), wire.Welcome)


async def test_the_name_of_a_rule_with_another_executable_is_refused_even_with_the_token(path: Path) -> None:
    async with scene(path, OTHER_EXE) as on:
        assert refused(await on.say_hello(token=TOKEN), "does not meet executables")


async def test_the_executable_is_the_kernels_word(path: Path) -> None:
    async with scene(path, BY_EXE) as on:
        assert isinstance(await on.say_hello(), wire.Welcome)
        assert refused(await on.say_hello(name="evil"), "no rule of the policy makes declared evil")
        [session] = on.stage.links.open_sessions()
        program = session.speaker.program
        assert program is not None
        assert (program.name, program.pid, program.uid, program.exe) == ("backup", os.getpid(), os.geteuid(), OWN_EXE)


async def test_a_wrong_token_is_none(path: Path) -> None:
    async with scene(path, BY_NAME) as on:
        for wrong in (TOKEN[:-1], TOKEN + "x", "x" * len(TOKEN)):
            assert refused(await on.say_hello(token=wrong), "does not meet token")


async def test_a_proof_is_of_one_link_and_of_one_name(path: Path) -> None:
    """Who listens on the socket's path, or reads along, learns nothing that another link would take."""
    async with scene(path, BY_NAME, Rule(name="b", kinds=PROGRAMS, names=(Glob("evil"),), may=Permission.APPEND)) as on:
        first, second = await on.stage.connect(), await on.stage.connect()
        proof = token_proof(TOKEN, await nonce(first), "backup")
        await nonce(second)
        second.say(second.hello(role=Role.COTENANT, name="backup", proof=proof))
        assert refused(await second.hear(), "does not meet token")
        first.say(first.hello(role=Role.COTENANT, name="evil", proof=proof))
        assert refused(await first.hear(), "does not meet token")


async def test_a_proof_is_never_said_of_in_what_is_told(path: Path) -> None:
    async with scene(path) as on:
        await on.say_hello(token=TOKEN)
        told = await on.stage.recorder.rejected()
        assert TOKEN not in told.text


async def test_one_that_says_another_pid_is_refused(path: Path) -> None:
    async with scene(path, BY_EXE) as on:
        assert refused(await on.say_hello(pid=os.getppid()), f"calls itself {os.getppid()}", "pid_mismatch")


async def test_a_policy_that_does_not_name_it_any_more_ends_its_link(path: Path) -> None:
    async with scene(path, BY_EXE) as on:
        client = await on.stage.connect()
        await nonce(client)
        client.say(client.hello(role=Role.COTENANT, name="backup"))
        assert isinstance(await client.hear(), wire.Welcome)
        on.policy = Policy(rules=(OTHER_EXE,))
        on.stage.links.look_again()
        assert refused(await client.hear(), "does not meet executables")
        assert await client.hear() is None
        while not isinstance(await on.stage.recorder.next(), Closed):
            pass
        assert on.stage.links.open_sessions() == ()


@pytest.mark.parametrize("hello", [{"role": Role.COTENANT, "name": ""}, {"role": Role.COTENANT, "name": "a b"}])
async def test_one_without_a_word_for_a_name_is_refused(path: Path, hello: dict[str, Any]) -> None:
    async with scene(path, BY_EXE) as on:
        async with asyncio.timeout(30):
            answer = await on.say_hello(**hello)
        assert isinstance(answer, wire.Reject)

"""`[unchanged].executables` on the real kernel: who touched the file is known while the process runs, and not after."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from sidecar.demo.companion import Companion, believing
from sidecar.wire import messages as wire
from tests.driver.kit import Gateway
from tests.kernel import require_kernel_evidence
from tests.service.kit import Place

TOUCH: Final = "import os, sys; os.utime(sys.argv[1]); print(flush=True); sys.stdin.read()"
PYTHON: Final = (sys.executable, "-I", "-S", "-c", TOUCH)
PROGRAM: Final = Path(sys.executable).resolve()


@asynccontextmanager
async def kernel_sidecar(place: Place, *executables: Path) -> AsyncIterator[tuple[Companion, Gateway]]:
    """A sidecar that the kernel tells who touches, and a policy that names who may; and a linked gateway."""
    require_kernel_evidence(place.root)
    policy = place.root / "policy.toml"
    allowed = [str(path.resolve()) for path in executables]
    policy.write_text(f"[unchanged]\nexecutables = {allowed}\n{believing(PROGRAM)}")
    async with place.companion("--who", "kernel", "--policy", str(policy)) as sidecar:
        assert (await sidecar.status())["kernel"]["reason"] == ""
        gateway = await place.gateway(sidecar)
        await sidecar.wait_for(lambda status: status["kernel"]["settled"])
        try:
            yield sidecar, gateway
        finally:
            await gateway.hang_up()


@asynccontextmanager
async def touched(file: Path) -> AsyncIterator[None]:
    """A process of this Python has touched the file, and runs on."""
    process = await asyncio.create_subprocess_exec(*PYTHON, file, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    try:
        yield
    finally:
        await process.communicate(b"")


async def knows_custody(sidecar: Companion) -> None:
    """The file was read at the fence: a touch ahead of that would be one of an unknown file."""
    await sidecar.wait_for(lambda status: status["windows"] == 1 and not status["custody_unknown"])


async def decided(place: Place, gateway: Gateway, fence: str) -> str:
    """What the sidecar says to the gateway; the reason when that is no."""
    gateway.ask(place.file, fence)
    answer = await gateway.answer()
    if isinstance(answer, wire.Approve):
        gateway.applied(place.file, fence)
        gateway.fence(place.file)
    else:
        gateway.trip(place.file, fence)
    gateway.end(takeover=not isinstance(answer, wire.Approve))
    return "" if isinstance(answer, wire.Approve) else "refused"


async def test_a_touch_by_an_allowed_program_that_runs_on_costs_nothing(place: Place) -> None:
    async with kernel_sidecar(place, PROGRAM) as (sidecar, gateway):
        fence = gateway.fence(place.file)
        await knows_custody(sidecar)
        async with touched(place.file):
            assert await decided(place, gateway, fence) == ""


async def test_a_touch_by_another_program_is_not_recovered_from_and_the_program_is_named(place: Place) -> None:
    async with kernel_sidecar(place, Path("/usr/bin/no-such-program")) as (sidecar, gateway):
        fence = gateway.fence(place.file)
        await knows_custody(sidecar)
        async with touched(place.file):
            assert await decided(place, gateway, fence) == "refused"
        incident = await sidecar.closed_incident(place.file.name)
    assert (incident["verdict"], incident["recovery"]["hold"]) == ("unchanged", "policy")
    assert f"does not allow it to {PROGRAM}" in incident["reason"]


async def test_of_a_program_that_has_ended_nobody_knows_which_it_was_and_the_incident_says_so(place: Place) -> None:
    """touch(1) is done before the sidecar can look; here the sidecar is held so that it certainly is."""
    touch = Path("/usr/bin/touch")
    async with kernel_sidecar(place, touch) as (sidecar, gateway):
        fence = gateway.fence(place.file)
        await knows_custody(sidecar)
        os.kill(sidecar.pid, signal.SIGSTOP)
        try:
            toucher = await asyncio.create_subprocess_exec(touch, place.file)
            await toucher.wait()
        finally:
            os.kill(sidecar.pid, signal.SIGCONT)
        assert await decided(place, gateway, fence) == "refused"
        incident = await sidecar.closed_incident(place.file.name)
        code, text = await place.read("policy", "explain", incident["id"], "--policy", str(place.root / "policy.toml"))
    assert (incident["verdict"], incident["recovery"]["hold"]) == ("unchanged", "policy")
    assert f"process {toucher.pid} had ended before it could be seen which program it was" in incident["reason"]
    assert code == 0
    assert "of a command that ends at once, such as touch, that is mostly so" in text


async def test_a_policy_that_needs_the_kernels_word_without_it_is_a_problem_in_status(place: Place) -> None:
    policy = place.root / "policy.toml"
    policy.write_text('[unchanged]\nexecutables = ["/usr/bin/rsync"]\n')
    async with place.companion("--policy", str(policy)) as sidecar:
        problems = {problem["code"]: problem for problem in (await sidecar.status())["problems"]}
        assert "--who kernel" in problems["policy_needs_kernel"]["remedy"]
        assert "[unchanged]" in problems["policy_needs_kernel"]["what"]

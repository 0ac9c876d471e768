"""A process that nobody knows holds an agent's database for writing: the gateway stands still, or loses the turn."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from sidecar.demo.model import ModelCall
from tests.e2e.row_gateway import TOLD_SECONDS, VERSIONS, Trio
from tests.e2e.test_gateway_log import value

HOLD: Final = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("BEGIN IMMEDIATE")
print(flush=True)
sys.stdin.readline()
"""
SHORT_SECONDS: Final = 3.0
"""The gateway waits for 5 s."""

LONG_SECONDS: Final = 8.0
PROGRAM: Final = Path(sys.executable).resolve()

FOREIGN: Final = "openclaw_sidecar_database_foreign_hold_seconds_count"
FAILURES: Final = "openclaw_sidecar_database_lock_failures_total"
WAITS: Final = "openclaw_sidecar_database_lock_wait_seconds"


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """The release of the gateway."""
    return str(request.param)


@asynccontextmanager
async def held(trio: Trio) -> AsyncIterator[int]:
    """A process that holds the database for writing, and its pid."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLD, str(trio.database)), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"\n"
        yield process.pid
    finally:
        process.stdin.close()
        await process.wait()


async def _until(trio: Trio, name: str, more_than: float, **labels: str) -> None:
    """Wait until a metric has grown."""
    async with asyncio.timeout(TOLD_SECONDS):
        while value(await trio.sidecar.metrics(), name, **labels) <= more_than:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.1)


async def _held_over_the_answer(
    trio: Trio,
    session: str,
    until: Callable[[], Awaitable[object]],
    before: Callable[[], Awaitable[object]] | None = None,
) -> tuple[bool, int]:
    """A turn, and a stranger who takes the database while the model thinks and holds it over the answer.

    The model answers when ``before`` returns; ``until`` begins with the answer, and after it the stranger lets go.
    Gives whether the turn was answered, and the stranger's pid.
    """
    async with AsyncExitStack() as stack:
        pids, letting_go = [], []

        async def meanwhile(_call: ModelCall) -> None:
            pids.append(await stack.enter_async_context(held(trio)))
            if before is not None:
                await before()
            letting_go.append(asyncio.ensure_future(let_go()))

        async def let_go() -> None:
            await until()
            await stack.aclose()

        turn = await trio.turn(session, "the second question", meanwhile)
        await letting_go[0]
    return turn.answered, pids[0]


async def test_a_turn_that_waits_for_the_database_is_answered_and_the_hold_is_told(
    trio: Trio, session_key: str
) -> None:
    assert (await trio.turn(session_key, "the first question")).answered
    incidents, before = len(await trio.sidecar.incidents()), await trio.sidecar.metrics()

    answered, _ = await _held_over_the_answer(trio, session_key, lambda: asyncio.sleep(SHORT_SECONDS))
    assert answered

    await _until(trio, FOREIGN, value(before, FOREIGN))
    after = await trio.sidecar.metrics()
    long = [value(text, f"{WAITS}_count") - value(text, f"{WAITS}_bucket", le="1.0") for text in (before, after)]
    assert long[1] > long[0], "a transaction waited for more than a second"
    assert value(after, FAILURES) == value(before, FAILURES)
    assert len(await trio.sidecar.incidents()) == incidents
    assert (await trio.turn(session_key, "the third question")).answered


async def test_a_turn_that_is_lost_to_the_database_has_an_incident_with_its_holder(
    trio: Trio, session_key: str
) -> None:
    assert (await trio.turn(session_key, "the first question")).answered
    before = await trio.sidecar.metrics()
    problems: list[str] = []

    async def until() -> None:
        found = await trio.sidecar.wait_for(lambda s: "database_held" in {p["code"] for p in s["problems"]})
        problems.extend(p["what"] for p in found["problems"] if p["code"] == "database_held")
        await _until(trio, FAILURES, value(before, FAILURES, reason="busy"), reason="busy")

    answered, pid = await _held_over_the_answer(trio, session_key, until)
    assert not answered
    [problem] = problems
    assert problem.startswith(f"process {pid} (python")

    incident = await trio.incident(session_key)
    assert (incident["lost"]["cause"], incident["turn_lost"], incident["pages"]) == ("busy", True, [])
    assert incident["verdict"] in {"unchanged", "co_tenant"}, "2026.9.6 adds a row of its own when the turn is lost"
    holder = incident["lost"]["holder"]
    assert (holder["pid"], holder["command"].startswith("python"), holder["lock"]) == (pid, True, "write")
    assert f"process {pid} (python" in incident["lost"]["reason"]
    assert any(line["what"] == "database held" and f"process {pid}" in line["detail"] for line in incident["timeline"])
    assert (await trio.turn(session_key, "the third question")).answered


async def test_a_run_with_patience_waits_for_a_program_that_the_policy_names(
    trio: Trio, session_key: str, tmp_path: Path
) -> None:
    (tmp_path / "policy.toml").write_text(f'[patience]\nexecutables = ["{PROGRAM}"]\n')
    await trio.sidecar.stop()
    stock, trio.sidecar.options = trio.sidecar.options, ("--policy", str(tmp_path / "policy.toml"))
    try:
        await trio.sidecar.start()
        await trio.sidecar.wait_linked(trio.gateway.pid)
        assert (await trio.turn(session_key, "the first question")).answered

        async def told() -> None:
            async with asyncio.timeout(TOLD_SECONDS):
                while not any(i["session_file"] == name for i in await trio.sidecar.incidents()):  # noqa: ASYNC110 - of another process
                    await asyncio.sleep(0.05)

        name = trio.transcript(session_key)
        answered, _ = await _held_over_the_answer(trio, session_key, lambda: asyncio.sleep(LONG_SECONDS), told)
        assert answered
        incident = await trio.incident(session_key)
        assert (incident["verdict"], incident["turn_lost"], incident["pages"]) == ("unchanged", False, [])
        assert (incident["recovery"]["outcome"], incident["recovery"]["lock_waits"]) == ("effective", 1)
    finally:
        await trio.sidecar.stop()
        trio.sidecar.options = stock
        await trio.sidecar.start()
        await trio.sidecar.wait_linked(trio.gateway.pid)

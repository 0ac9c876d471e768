"""A release whose runs do not come to their fence: no turn is lost there, and none can be stopped.

2026.5.22 looks at its fence as the model's call begins, and not again before the turn's end. The gateway means to look
before each record, through a method of its agent that the agent of this release (pi 0.75.4) has no more; and each
record that the run writes sets the fence to whatever the file is by then. By itself it goes on beside what came in.
With a sidecar a co-tenant's record, approved by the time that the run writes its own, is on the one line of history;
for what came from outside the sidecar can only say what it saw before the run wrote.

Runs only with 2026.5.22 in OPENCLAW_SIDECAR_TEST_VERSIONS (`make test-releases`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.demo.rig import Rig
from tests.e2e.answers import assert_answered
from tests.e2e.foreign import ForeignVerb, act
from tests.e2e.guard import Guard
from tests.e2e.history import off_path, read_records

UNWATCHED = "2026.5.22"
ANSWER = "The answer."


@pytest.fixture(autouse=True, scope="session")
def unwatched(version: str) -> None:
    """Such a release; a skip for any other, before a gateway is started for it."""
    if version != UNWATCHED:
        pytest.skip("this release's runs come to their fence: test_main_job.py")


async def _command(rig: Rig, session_key: str) -> None:
    end = await rig.client.chat_end(await rig.client.chat_send(session_key, "/status"))
    assert (end["state"], (end.get("errorMessage") or "")) == ("final", "")


async def _note(rig: Rig, session_key: str) -> None:
    await rig.client.chat_inject(session_key, "The backup has run.")


cotenant = pytest.mark.parametrize("write", [_note, _command], ids=["note", "command"])


async def _seen(guard: Guard, session_file: Path) -> None:
    """Until the sidecar has an incident, by its own look at the file: no check of the run asks for one."""
    async with asyncio.timeout(15):
        while not await guard.sidecar.incidents(session_file.name):  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.02)


def _texts(session_file: Path) -> list[str]:
    return [record.text for record in read_records(session_file)]


@pytest.mark.parametrize("foreign", [False, True], ids=["command", "foreign-append"])
async def test_by_itself_it_loses_no_turn_and_goes_on_beside_what_came_in(
    stock: Rig, session_key: str, *, foreign: bool
) -> None:
    await stock.say(session_key)
    async with stock.window(session_key) as window:
        if foreign:
            await act(ForeignVerb.APPEND, window.session_file)
        else:
            await _command(stock, session_key)
        turn = await window.close(ANSWER)

    assert_answered(turn, ANSWER)
    assert ANSWER in _texts(window.session_file)
    assert len(off_path(read_records(window.session_file))) == 1


@pytest.mark.parametrize("first_turn", [False, True], ids=["later-turn", "first-turn"])
@cotenant
async def test_a_cotenants_record_is_on_the_one_line_of_history(
    guard: Guard, session_key: str, write: Callable[[Rig, str], Awaitable[None]], *, first_turn: bool
) -> None:
    rig = guard.rig
    if not first_turn:
        await rig.say(session_key)
    async with rig.window(session_key) as window:
        await write(rig, session_key)
        await _seen(guard, window.session_file)
        before = _texts(window.session_file)
        turn = await window.close(ANSWER)

    assert_answered(turn, ANSWER)
    incident = await guard.closed_incident(window.session_file)
    assert (incident["verdict"], incident["evidence"], incident["turn_lost"]) == ("co_tenant", "bytes", False)
    assert incident["recovery"]["outcome"] == "effective"
    assert incident["recovery"]["pushed"] >= 1
    records = read_records(window.session_file)
    assert off_path(records) == ()
    assert len({record.id for record in records}) == len(records)
    assert {*before, ANSWER} <= set(_texts(window.session_file))
    await rig.say(session_key)
    assert off_path(read_records(window.session_file)) == ()
    assert guard.pages == []


async def test_a_foreign_append_is_external_and_paged_once_though_the_turn_goes_on(
    guard: Guard, session_key: str
) -> None:
    rig = guard.rig
    await rig.say(session_key)
    async with rig.window(session_key) as window:
        foreign = await act(ForeignVerb.APPEND, window.session_file)
        await _seen(guard, window.session_file)
        turn = await window.close(ANSWER)

    assert_answered(turn)
    incident = await guard.closed_incident(window.session_file)
    assert (incident["verdict"], incident["evidence"], incident["turn_lost"]) == ("external", "bytes", False)
    assert incident["recovery"]["outcome"] == "refused"
    [unexplained] = incident["unexplained"]
    assert (unexplained["offset"], unexplained["length"]) == (foreign.offset, foreign.length_bytes)
    page = await guard.next_page()
    assert incident["id"] in page.message
    assert len(guard.pages) == 1


async def test_a_foreign_append_that_the_run_writes_behind_at_once_is_external_and_paged_once(
    guard: Guard, session_key: str
) -> None:
    """The run's own record sets the fence to whatever the file is then: nobody came to look ahead of that."""
    rig = guard.rig
    await rig.say(session_key)
    async with rig.window(session_key) as window:
        foreign = await act(ForeignVerb.APPEND, window.session_file)
        turn = await window.close(ANSWER)

    assert_answered(turn)
    page = await guard.next_page()
    async with asyncio.timeout(15):
        while not (told := await _external(guard, window.session_file)):  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.02)
    [incident] = told
    assert (incident["evidence"], incident["turn_lost"]) == ("bytes", False)
    assert (foreign.offset, foreign.length_bytes) in {(r["offset"], r["length"]) for r in incident["unexplained"]}
    assert incident["id"] in page.message
    assert len(guard.pages) == 1


async def _external(guard: Guard, session_file: Path) -> list[dict[str, Any]]:
    return [found for found in await guard.sidecar.incidents(session_file.name) if found["verdict"] == "external"]


async def test_the_same_bytes_cost_nothing(guard: Guard, session_key: str) -> None:
    rig = guard.rig
    await rig.say(session_key)
    async with rig.window(session_key) as window:
        await act(ForeignVerb.TOUCH, window.session_file)
        turn = await window.close(ANSWER)

    assert_answered(turn, ANSWER)
    assert guard.pages == []

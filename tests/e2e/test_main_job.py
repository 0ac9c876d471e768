"""The main job, on the real gateway with the real sidecar: a co-tenant's write costs nothing, a foreign one does.

Each test is a row of the table in issue 2. That the same writes lose the turn without the sidecar is shown in
test_stock_gateway.py.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from sidecar.demo.companion import command
from sidecar.demo.pager import PageReceiver
from sidecar.demo.rig import Rig
from sidecar.demo.window import OpenWindow
from tests.e2e.answers import assert_answered
from tests.e2e.foreign import ForeignVerb, act, armed_append
from tests.e2e.guard import Guard, guarded
from tests.e2e.history import off_path, read_records
from tests.kernel import require_kernel_evidence

ANSWER = "The answer."
_BY_KERNEL = """\
[[rule]]
name = "notes"
kinds = ["inject"]
may = "append"
evidence = "kernel"
"""
_NO_NOTES = """\
[[rule]]
name = "no-notes"
kinds = ["inject"]
agents = ["ma*"]
sessions = ["KEY"]
files = ["**/agents/main/sessions/*.jsonl"]
executables = ["**/node*"]
may = "nothing"
"""


@pytest.fixture
def observer(runner: asyncio.Runner, shared_guard: Guard, tmp_path: Path) -> Iterator[Guard]:
    """A gateway with the preload, and a sidecar that only looks."""
    runner.run(shared_guard.stop())
    yield from guarded(runner, shared_guard.rig, shared_guard.pager, tmp_path, "--observe")


@pytest.fixture
def policy_file(tmp_path: Path, session_key: str) -> Path:
    """A policy that lets notes do nothing that the gateway injects into this session."""
    path = tmp_path / "policy.toml"
    path.write_text(_NO_NOTES.replace("KEY", session_key))
    return path


@pytest.fixture
def ruled(runner: asyncio.Runner, shared_guard: Guard, tmp_path: Path, policy_file: Path) -> Iterator[Guard]:
    """A gateway with the preload, and a sidecar with that policy."""
    runner.run(shared_guard.stop())
    yield from guarded(runner, shared_guard.rig, shared_guard.pager, tmp_path, "--policy", str(policy_file))


@pytest.fixture
def seeing(runner: asyncio.Runner, shared_guard: Guard, tmp_path: Path) -> Iterator[Guard]:
    """A sidecar that the kernel tells who writes, and a policy that rests on it."""
    path = tmp_path / "policy.toml"
    path.write_text(_BY_KERNEL)
    runner.run(shared_guard.stop())
    options = ("--who", "kernel", "--policy", str(path))
    yield from guarded(runner, shared_guard.rig, shared_guard.pager, tmp_path, *options)


@pytest.fixture
def bystander(runner: asyncio.Runner, stock: Rig, pager: PageReceiver, tmp_path: Path) -> Iterator[Guard]:
    """A gateway without the preload, and a sidecar beside it."""
    yield from guarded(runner, stock, pager, tmp_path, linked=False)


async def _command(rig: Rig, session_key: str) -> None:
    """A slash command that a person types while the model thinks; it is in the file when this returns."""
    end = await rig.client.chat_end(await rig.client.chat_send(session_key, "/status"))
    if "session initialization conflicted" in (end.get("errorMessage") or ""):
        pytest.skip(
            "this release refuses a command while the session's first turn runs, so there is nothing to recover"
        )
    assert (end["state"], (end.get("errorMessage") or "")) == ("final", "")


async def _note(rig: Rig, session_key: str) -> None:
    await rig.client.chat_inject(session_key, "The backup has run.")


COTENANTS: dict[str, Callable[[Rig, str], Awaitable[None]]] = {"inject": _note, "command": _command}
cotenant = pytest.mark.parametrize("write", list(COTENANTS.values()), ids=list(COTENANTS))


@asynccontextmanager
async def _later_turn(rig: Rig, session_key: str) -> AsyncIterator[OpenWindow]:
    """The window of a session's second turn."""
    await rig.say(session_key)
    async with rig.window(session_key) as window:
        yield window


async def _one_incident(guard: Guard, session_file: Path) -> dict[str, Any]:
    """The session's only incident, once its window has closed."""
    incident = await guard.closed_incident(session_file)
    assert len(await guard.sidecar.incidents(session_file.name)) == 1
    return incident


async def _assert_nothing_lost(rig: Rig, session_key: str, session_file: Path) -> None:
    """Rule 3: every record of every writer is in the file, on the path, and in the history that the gateway shows."""
    records = read_records(session_file)
    assert not off_path(records)
    shown = " ".join(str(message) for message in await rig.client.chat_history(session_key))
    for record in records:
        if record.role and record.text:
            assert record.text.splitlines()[0] in shown
    assert any(record.text == ANSWER for record in records)


async def test_a_turn_that_nobody_disturbs_makes_no_incident(guard: Guard, session_key: str) -> None:
    rig = guard.rig
    for _ in range(2):
        async with rig.window(session_key) as window:
            turn = await window.close(ANSWER)
        assert_answered(turn)
    assert await guard.sidecar.incidents(window.session_file.name) == []
    assert guard.pages == []


@cotenant
@pytest.mark.parametrize("first_turn", [False, True], ids=["later-turn", "first-turn"])
async def test_a_cotenant_write_costs_nothing(
    guard: Guard, session_key: str, write: Callable[[Rig, str], Awaitable[None]], *, first_turn: bool
) -> None:
    """Rule 3: a recovered turn loses nothing."""
    if not first_turn:
        await guard.rig.say(session_key)
    async with guard.rig.window(session_key) as window:
        await write(guard.rig, session_key)
        turn = await window.close(ANSWER)

    assert_answered(turn, ANSWER)
    incident = await _one_incident(guard, window.session_file)
    assert (incident["verdict"], incident["evidence"]) == ("co_tenant", "bytes")
    assert incident["recovery"]["outcome"] == "effective"
    assert incident["unexplained"] == []
    assert sum(writer["bytes"] for writer in incident["writers"] if not writer["own"]) > 0
    assert {writer["pid"] for writer in incident["writers"]} == {guard.rig.gateway.pid}
    await _assert_nothing_lost(guard.rig, session_key, window.session_file)
    assert guard.pages == []


async def _five_notes(rig: Rig, session_key: str) -> None:
    for _ in range(5):
        await _note(rig, session_key)


async def _two_at_once(rig: Rig, session_key: str) -> None:
    await asyncio.gather(_note(rig, session_key), _command(rig, session_key))


@pytest.mark.parametrize("write", [_five_notes, _two_at_once], ids=["five", "two-at-once"])
async def test_several_cotenant_writes_cost_nothing(
    guard: Guard, session_key: str, write: Callable[[Rig, str], Awaitable[None]]
) -> None:
    async with _later_turn(guard.rig, session_key) as window:
        await write(guard.rig, session_key)
        turn = await window.close(ANSWER)

    assert_answered(turn)
    incident = await _one_incident(guard, window.session_file)
    assert (incident["verdict"], incident["recovery"]["outcome"]) == ("co_tenant", "effective")
    await _assert_nothing_lost(guard.rig, session_key, window.session_file)


async def test_a_cotenant_that_keeps_writing_as_the_run_comes_back_costs_nothing(
    guard: Guard, session_key: str, version: str
) -> None:
    """From 2026.5.22 on, writers of the same process enter the lock that the run holds at its check."""
    if version < "2026.5.22":
        pytest.skip("this release's own lock fails when several wait for it: 'file lock stale'")

    async def notes(first: asyncio.Event) -> None:
        for _ in range(10):
            await _note(guard.rig, session_key)
            first.set()

    async with _later_turn(guard.rig, session_key) as window:
        first = asyncio.Event()
        writing = asyncio.create_task(notes(first))
        # A note that asks for the lock in the very moment in which the run takes it gets in when the call has ended.
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                await first.wait()
        turn = await window.close(ANSWER)
        await writing

    assert_answered(turn)
    await _assert_nothing_lost(guard.rig, session_key, window.session_file)
    assert guard.pages == []


async def _assert_stopped(guard: Guard, session_file: Path, *, offset: int, length: int) -> dict[str, Any]:
    """Rule 1: the turn was stopped, the verdict is external with the byte range, and exactly one page went out."""
    incident = await _one_incident(guard, session_file)
    assert (incident["verdict"], incident["evidence"]) == ("external", "bytes")
    assert incident["turn_lost"] is True
    assert incident["recovery"]["outcome"] == "refused"
    assert any(
        r["offset"] <= offset and offset + length <= r["offset"] + r["length"] for r in incident["unexplained"]
    ), incident["unexplained"]
    page = await guard.next_page()
    assert incident["id"] in page.message
    incident = await guard.incident(incident["id"], lambda found: bool(found["page"]["sent"]))
    assert incident["page"]["attempts"] == 1
    assert len(guard.pages) == 1
    return incident


async def test_a_foreign_append_is_stopped_and_paged_once(guard: Guard, session_key: str) -> None:
    async with _later_turn(guard.rig, session_key) as window:
        foreign = await act(ForeignVerb.APPEND, window.session_file)
        turn = await window.close(ANSWER)

    assert not turn.answered
    incident = await _assert_stopped(guard, window.session_file, offset=foreign.offset, length=foreign.length_bytes)
    [unexplained] = incident["unexplained"]
    assert (unexplained["offset"], unexplained["length"]) == (foreign.offset, foreign.length_bytes)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_foreign_append_before_or_after_a_cotenant_is_stopped(
    guard: Guard, session_key: str, when: str
) -> None:
    async with _later_turn(guard.rig, session_key) as window:
        if when == "after":
            await _command(guard.rig, session_key)
        foreign = await act(ForeignVerb.APPEND, window.session_file)
        if when == "before":
            await _command(guard.rig, session_key)
        turn = await window.close(ANSWER)

    assert not turn.answered
    await _assert_stopped(guard, window.session_file, offset=foreign.offset, length=foreign.length_bytes)


async def test_a_foreign_append_while_a_cotenant_holds_the_lock_is_stopped(guard: Guard, session_key: str) -> None:
    async with _later_turn(guard.rig, session_key) as window:
        async with armed_append(window.session_file) as intruder:
            await _command(guard.rig, session_key)
            foreign = await intruder.done()
        turn = await window.close(ANSWER)

    assert foreign.offset >= 0
    assert not turn.answered
    await _assert_stopped(guard, window.session_file, offset=foreign.offset, length=foreign.length_bytes)


@pytest.mark.parametrize(
    "verb", [ForeignVerb.TOUCH, ForeignVerb.CHMOD, ForeignVerb.HARD_LINK, ForeignVerb.REPLACE_WITH_COPY]
)
async def test_the_same_bytes_cost_nothing(guard: Guard, session_key: str, verb: ForeignVerb) -> None:
    async with _later_turn(guard.rig, session_key) as window:
        await act(verb, window.session_file)
        turn = await window.close(ANSWER)

    assert_answered(turn)
    incident = await _one_incident(guard, window.session_file)
    assert incident["verdict"] == "unchanged"
    assert incident["recovery"]["outcome"] == "effective"
    assert not off_path(read_records(window.session_file))
    assert guard.pages == []


async def test_a_rewrite_of_equal_length_is_stopped_though_its_mtime_was_set_back(
    guard: Guard, session_key: str
) -> None:
    async with _later_turn(guard.rig, session_key) as window:
        before = window.session_file.stat()
        foreign = await act(ForeignVerb.REWRITE_IN_PLACE, window.session_file)
        after = window.session_file.stat()
        turn = await window.close(ANSWER)

    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    assert not turn.answered
    await _assert_stopped(guard, window.session_file, offset=foreign.offset, length=foreign.length_bytes)


async def test_without_a_sidecar_the_gateway_is_as_unpatched(guard: Guard, session_key: str) -> None:
    await guard.stop()
    async with _later_turn(guard.rig, session_key) as window:
        await _command(guard.rig, session_key)
        turn = await window.close(ANSWER)

    assert not turn.answered
    ours = [line for line in guard.rig.gateway.stderr.lines() if "openclaw-sidecar" in line]
    assert len(ours) <= 1, ours
    await guard.restart()
    assert await guard.sidecar.incidents(window.session_file.name) == []


async def test_a_sidecar_killed_in_the_window_leaves_the_gateway_as_unpatched(guard: Guard, session_key: str) -> None:
    async with _later_turn(guard.rig, session_key) as window:
        await guard.sidecar.kill()
        await _command(guard.rig, session_key)
        turn = await window.close(ANSWER)

    assert not turn.answered
    await guard.restart()
    assert await guard.sidecar.incidents(window.session_file.name) == []
    assert guard.pages == []


async def test_a_sidecar_that_stands_still_as_the_run_comes_to_its_check_answers_late_and_pages_nobody(
    guard: Guard, session_key: str, version: str
) -> None:
    if "2026.5.22" <= version < "2026.5.28":
        pytest.skip("the runs of this release do not come to their check, and ask nothing")
    async with _later_turn(guard.rig, session_key) as window:
        guard.sidecar.suspend()
        try:
            await _command(guard.rig, session_key)
            turn = await window.close(ANSWER)
            await asyncio.sleep(0.4)  # so long it stands still at the least
        finally:
            guard.sidecar.go_on()

    assert not turn.answered
    incident = await _one_incident(guard, window.session_file)
    assert (incident["verdict"], incident["turn_lost"]) == ("co_tenant", True)
    assert incident["recovery"]["outcome"] == "late"
    assert "the sidecar was not running for" in incident["recovery"]["reason"]
    assert guard.pages == []
    status = await guard.sidecar.status()
    assert status["halts"]["count"] >= 1
    assert status["halts"]["seconds"] >= 0.4
    assert "openclaw_sidecar_not_running_seconds_total" in await guard.sidecar.metrics()
    assert "not_running" in {problem["code"] for problem in status["problems"]}

    async with guard.rig.window(session_key, "And now?") as window:
        await _command(guard.rig, session_key)
        turn = await window.close(ANSWER)
    assert turn.answered


async def test_a_sidecar_restarted_in_the_window_assumes_nothing(guard: Guard, session_key: str) -> None:
    """Rule 5: custody is unknown after a restart. The next turn is recovered."""
    async with _later_turn(guard.rig, session_key) as window:
        await guard.sidecar.kill()
        await _command(guard.rig, session_key)
        await guard.restart()
        turn = await window.close(ANSWER)

    assert not turn.answered
    incident = await _one_incident(guard, window.session_file)
    assert incident["verdict"] == "unattributed"
    assert incident["recovery"]["outcome"] in {"refused", "not_attempted"}

    async with guard.rig.window(session_key, "And now?") as window:
        await guard.knows_custody()
        await _command(guard.rig, session_key)
        turn = await window.close(ANSWER)
    assert_answered(turn)
    verdicts = [i["verdict"] for i in await guard.sidecar.incidents(window.session_file.name)]
    assert sorted(verdicts) == ["co_tenant", "unattributed"]
    assert guard.pages == []


async def test_a_window_is_known_again_after_a_restart_where_its_file_is_as_at_the_fence(
    guard: Guard, session_key: str
) -> None:
    """The preload tells of it again; the file, read at the fence's own fingerprint, is what the fence stands for."""
    async with _later_turn(guard.rig, session_key) as window:
        await guard.sidecar.kill()
        await guard.restart()
        await guard.knows_custody()
        await _command(guard.rig, session_key)
        turn = await window.close(ANSWER)

    assert_answered(turn)
    incident = await _one_incident(guard, window.session_file)
    assert (incident["verdict"], incident["recovery"]["outcome"]) == ("co_tenant", "effective")


async def test_observe_sees_the_cotenant_and_does_nothing(observer: Guard, session_key: str) -> None:
    async with _later_turn(observer.rig, session_key) as window:
        await _command(observer.rig, session_key)
        turn = await window.close(ANSWER)

    assert not turn.answered
    incident = await _one_incident(observer, window.session_file)
    assert (incident["verdict"], incident["turn_lost"]) == ("co_tenant", True)
    assert (incident["recovery"]["outcome"], incident["recovery"]["mode"]) == ("not_attempted", "observe")
    assert observer.pages == []


@pytest.fixture
def unforgiving(version: str) -> None:
    """A release whose fence does not let an injected note pass by itself, so that it shows what a policy does."""
    if version >= "2026.5.20":
        pytest.skip("this release forgives an injected note by itself")


@pytest.mark.usefixtures("unforgiving")
async def test_a_policy_that_denies_a_writer_stops_the_turn_and_one_that_allows_it_is_taken_while_it_runs(
    ruled: Guard, policy_file: Path, session_key: str
) -> None:
    rig = ruled.rig
    await rig.say(session_key)
    async with rig.window(session_key) as window:
        await _note(rig, session_key)
        turn = await window.close(ANSWER)
    assert not turn.answered
    incident = await _one_incident(ruled, window.session_file)
    assert (incident["verdict"], incident["rule"], incident["turn_lost"]) == ("unattributed", "no-notes", True)
    assert (incident["recovery"]["outcome"], incident["recovery"]["hold"]) == ("refused", "policy")
    [note] = [writer for writer in incident["writers"] if writer["kind"] == "inject"]
    assert (note["did"], note["may"], note["rule"]) == ("append", "nothing", "no-notes")
    assert "/node" in note["exe"]

    _replace(policy_file, _NO_NOTES.replace("KEY", session_key).replace('"nothing"', '"append"'))
    before = incident["policy"]
    await ruled.sidecar.wait_for(lambda status: status["policy"]["digest"] != before)
    async with rig.window(session_key, "And now?") as window:
        await _note(rig, session_key)
        turn = await window.close(ANSWER)
    assert_answered(turn)
    recovered = await ruled.closed_incident(window.session_file, incident["id"])
    assert (recovered["verdict"], recovered["rule"]) == ("co_tenant", "no-notes")
    assert recovered["recovery"]["outcome"] == "effective"
    await _assert_nothing_lost(rig, session_key, window.session_file)
    assert ruled.pages == []


@pytest.mark.usefixtures("unforgiving")
async def test_a_policy_can_rest_on_the_kernels_word(seeing: Guard, session_key: str, tmp_path: Path) -> None:
    """A rule that needs evidence of grade kernel gets it."""
    require_kernel_evidence(tmp_path)
    kernel = (await seeing.sidecar.wait_for(lambda status: status["kernel"]["settled"]))["kernel"]
    assert (kernel["on"], kernel["reason"]) == (True, "")
    async with _later_turn(seeing.rig, session_key) as window:
        await _note(seeing.rig, session_key)
        turn = await window.close(ANSWER)
    assert_answered(turn)
    incident = await seeing.closed_incident(window.session_file)
    assert (incident["verdict"], incident["evidence"], incident["rule"]) == ("co_tenant", "kernel", "notes")
    custody = await seeing.sidecar.custody(window.session_file.name)
    [note] = [r for r in custody["ranges"] if r["writer"] and r["writer"]["kind"] == "inject"]
    assert note["grade"] == "kernel"
    assert seeing.pages == []


@pytest.mark.usefixtures("unforgiving")
async def test_a_budget_that_is_used_up_stops_recovery_and_outlives_a_restart(
    ruled: Guard, policy_file: Path, session_key: str
) -> None:
    _replace(policy_file, '[budget]\nsession = { recoveries = 1, per = "1h" }\n')
    await ruled.sidecar.wait_for(lambda status: len(status["budgets"]) == 1)
    async with _later_turn(ruled.rig, session_key) as window:
        await _note(ruled.rig, session_key)
        turn = await window.close(ANSWER)
    assert_answered(turn)
    recovered = await ruled.closed_incident(window.session_file)

    await ruled.restart()
    assert (await ruled.sidecar.status())["budgets"][0]["left"] == 0
    async with ruled.rig.window(session_key, "And now?") as window:
        await ruled.knows_custody()
        await _note(ruled.rig, session_key)
        turn = await window.close(ANSWER)
    assert not turn.answered
    incident = await ruled.closed_incident(window.session_file, recovered["id"])
    assert (incident["verdict"], incident["recovery"]["hold"]) == ("co_tenant", "session_budget")
    assert incident["recovery"]["budget"]["used"] == 1
    assert 'openclaw_sidecar_recovery_budget_remaining{scope="session"} 0.0' in await ruled.sidecar.metrics()


@pytest.mark.usefixtures("unforgiving")
async def test_a_pause_by_the_command_costs_the_turn_and_its_end_brings_recovery_back(
    guard: Guard, session_key: str
) -> None:
    rig = guard.rig
    await _operator(guard, "pause", "--for", "5m", "--reason", "upgrade")
    try:
        await rig.say(session_key)
        async with rig.window(session_key) as window:
            await _note(rig, session_key)
            turn = await window.close(ANSWER)
    finally:
        await _operator(guard, "resume")
    assert not turn.answered
    incident = await guard.closed_incident(window.session_file)
    assert (incident["verdict"], incident["recovery"]["hold"]) == ("co_tenant", "pause")
    assert incident["recovery"]["reason"].endswith(": upgrade")

    async with rig.window(session_key, "And now?") as window:
        await _note(rig, session_key)
        turn = await window.close(ANSWER)
    assert_answered(turn)
    assert guard.pages == []


async def _operator(guard: Guard, *arguments: str) -> None:
    """Run a command beside the running sidecar."""
    where = ("--state-dir", str(guard.sidecar.state_dir), "--data-dir", str(guard.sidecar.data_dir))
    process = await asyncio.create_subprocess_exec(command(), *arguments, *where)
    assert await process.wait() == 0


def _replace(file: Path, text: str) -> None:
    """As most editors save."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)


async def test_a_gateway_without_the_preload_is_named_and_its_changes_are_not_explained(
    bystander: Guard, session_key: str
) -> None:
    async with _later_turn(bystander.rig, session_key) as window:
        await _command(bystander.rig, session_key)
        turn = await window.close(ANSWER)

    assert not turn.answered
    [incident] = await bystander.sidecar.incidents(window.session_file.name)
    assert (incident["verdict"], incident["evidence"]) == ("unattributed", "bracket")
    assert bystander.rig.gateway.pid in {writer["pid"] for writer in incident["writers"]}
    status = await bystander.sidecar.status()
    [problem] = [p for p in status["problems"] if p["code"] == "preload_missing"]
    assert str(bystander.rig.gateway.pid) in problem["what"]
    assert "openclaw-sidecar hook" in problem["remedy"]
    assert bystander.pages == []


async def test_no_transcript_text_leaves_the_process(guard: Guard, session_key: str) -> None:
    """Rule 7: what was said in the session is in no output of the sidecar."""
    rig = guard.rig
    secret = "xylophone-quartz-7391"
    await rig.say(session_key, f"My word is {secret}.", f"Noted: {secret}.")
    async with rig.window(session_key, f"Again {secret}?") as window:
        await rig.client.chat_inject(session_key, f"Reminder {secret}")
        await act(ForeignVerb.APPEND, window.session_file, f"I say {secret}")
        await window.close(f"It is {secret}.")
    await guard.closed_incident(window.session_file)
    page = await guard.next_page()

    assert secret in window.session_file.read_text()
    outputs = {
        "log": guard.sidecar.log.text(),
        "metrics": await guard.sidecar.metrics(),
        "incidents": str(await guard.sidecar.incidents()),
        "status": str(await guard.sidecar.status()),
        "page": str(page.body),
        "store": b"".join(p.read_bytes() for p in guard.sidecar.data_dir.iterdir()).decode("latin-1"),
    }
    assert [name for name, text in outputs.items() if secret in text] == []
    assert session_key not in outputs["store"] + outputs["incidents"]


async def test_the_sidecar_never_writes_a_session_or_lock_file(guard: Guard, session_key: str) -> None:
    """Rule 4: only the gateway and the foreign process changed anything below the sessions directory."""
    async with _later_turn(guard.rig, session_key) as window:
        await _command(guard.rig, session_key)
        assert guard.open_for_writing(guard.rig.gateway.sessions_dir()) == []
        await window.close(ANSWER)
    assert guard.open_for_writing(guard.rig.gateway.sessions_dir()) == []

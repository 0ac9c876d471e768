"""The parts of the rig that need no gateway."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import apprise
import pytest

from sidecar.demo.errors import ForeignActError, LineMissingError
from sidecar.demo.logs import LogFile
from sidecar.demo.loopback import Response, post
from sidecar.demo.model import SlowModel
from sidecar.demo.pager import PageReceiver
from tests.e2e.foreign import ForeignVerb, act, armed_append
from tests.e2e.history import off_path, read_records


@pytest.fixture
def session_file(tmp_path: Path) -> Path:
    file = tmp_path / "session.jsonl"
    spoken = {"role": "assistant", "content": [{"type": "text", "text": "Hello there."}]}
    records = ({"type": "session", "id": "s"}, {"type": "message", "id": "a", "parentId": None, "message": spoken})
    file.write_text("".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records))
    return file


def content(file: Path) -> bytes:
    return file.read_bytes()


def facts(file: Path) -> os.stat_result:
    return file.stat()


def append_newline(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(b"\n")


async def ask(model: SlowModel, text: str, *, stream: bool = True) -> Response:
    body = {"model": "slow", "stream": stream, "messages": [{"role": "user", "content": text}]}
    port = int(model.base_url.split(":")[2].split("/")[0])
    return await post(port, "/v1/chat/completions", {"traceparent": f"00-{text}"}, json.dumps(body).encode())


def streamed_text(response: Response) -> str:
    chunks = [line.removeprefix("data: ") for line in response.body.decode().split("\n\n") if line]
    assert chunks.pop() == "[DONE]"
    parsed: list[dict[str, Any]] = [json.loads(chunk) for chunk in chunks]
    return "".join(choice["delta"].get("content", "") for chunk in parsed for choice in chunk["choices"])


async def test_model_calls_stay_open_until_they_are_answered_in_any_order() -> None:
    async with SlowModel() as model, asyncio.TaskGroup() as tasks:
        asked = {text: tasks.create_task(ask(model, text)) for text in ("one", "two")}
        second = await model.next_call(mentioning="two")
        first = await model.next_call(mentioning="one")
        assert second.traceparent == "00-two"
        assert not asked["one"].done()
        second.answer("for two")
        assert streamed_text(await asked["two"]) == "for two"
        first.answer("for one")
        assert streamed_text(await asked["one"]) == "for one"


async def test_a_model_can_answer_by_itself_whole_or_with_a_failure() -> None:
    async with SlowModel(answer_after_seconds=0.01) as model:
        whole = await ask(model, "one", stream=False)
        assert json.loads(whole.body)["choices"][0]["message"]["content"] == "Answer 1."
        model.answer_after_seconds = None
        task = asyncio.create_task(ask(model, "two"))
        (await model.next_call(mentioning="two")).fail(503, "too busy")
        failed = await task
        assert (failed.status, json.loads(failed.body)["error"]["message"]) == (503, "too busy")


async def test_a_call_that_the_gateway_gives_up_is_noticed() -> None:
    async with SlowModel() as model:
        task = asyncio.create_task(ask(model, "one"))
        call = await model.next_call()
        task.cancel()
        async with asyncio.timeout(5):
            assert await call.settled() is None


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # one of Apprise's plugins
async def test_pages_are_received_refused_and_missed() -> None:
    async with PageReceiver() as pager:
        person = apprise.Apprise()
        person.add(pager.url)
        pager.refuse_next(1)
        assert not await person.async_notify(body="first try", title="down")
        assert await person.async_notify(body="second try", title="down", notify_type=apprise.NotifyType.FAILURE)
        page = await pager.next_page()
        assert (page.title, page.message, page.severity) == ("down", "second try", "failure")
        assert (pager.attempts, len(pager.pages)) == (2, 1)
        assert await pager.quiet_for(0.05)


async def test_a_log_line_is_waited_for(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log")
    log.path.write_text("ready\nhalf a")
    assert await log.wait_for("ready", timeout_seconds=60) == "ready"
    waiting = asyncio.create_task(log.wait_for("half a line", timeout_seconds=60, after_bytes=6))
    await asyncio.sleep(0)
    with log.path.open("a") as file:
        file.write(" line\n")
    assert await waiting == "half a line"
    with pytest.raises(LineMissingError, match="half a line"):
        await log.wait_for("ready", timeout_seconds=0.01, after_bytes=log.size_bytes)


async def test_a_strangers_append_hangs_on_the_last_record(session_file: Path) -> None:
    before = content(session_file)
    done = await act(ForeignVerb.APPEND, session_file, "boo")

    assert content(session_file)[: -done.length_bytes] == before
    assert done.offset == len(before)
    assert done.pid != os.getpid()
    records = read_records(session_file)
    assert (records[-1].role, records[-1].text, records[-1].data["parentId"]) == ("user", "boo", "a")
    assert not off_path(records)


async def test_a_strangers_rewrite_keeps_length_and_modification_time(session_file: Path) -> None:
    before, stat = content(session_file), facts(session_file)
    done = await act(ForeignVerb.REWRITE_IN_PLACE, session_file)

    after = content(session_file)
    changed = [offset for offset, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    assert changed == list(range(done.offset, done.offset + done.length_bytes))
    assert facts(session_file).st_mtime_ns == stat.st_mtime_ns
    assert read_records(session_file)[-1].text == "hELLO there."


@pytest.mark.parametrize(
    "verb", [ForeignVerb.TOUCH, ForeignVerb.CHMOD, ForeignVerb.HARD_LINK, ForeignVerb.REPLACE_WITH_COPY]
)
async def test_a_stranger_can_change_a_file_but_no_byte(verb: ForeignVerb, session_file: Path) -> None:
    before, stat = content(session_file), facts(session_file)
    await act(verb, session_file)

    now = facts(session_file)
    assert content(session_file) == before
    assert now.st_ctime_ns != stat.st_ctime_ns
    assert (now.st_ino != stat.st_ino) == (verb is ForeignVerb.REPLACE_WITH_COPY)
    assert (now.st_nlink != stat.st_nlink) == (verb is ForeignVerb.HARD_LINK)
    assert (now.st_mode != stat.st_mode) == (verb is ForeignVerb.CHMOD)


@pytest.mark.parametrize("locked_before", [False, True])
async def test_a_stranger_appends_while_another_is_at_work(session_file: Path, *, locked_before: bool) -> None:
    lock = session_file.with_name(f"{session_file.name}.lock")
    if locked_before:
        lock.touch()
    async with armed_append(session_file) as armed:
        if locked_before:
            append_newline(session_file)
        else:
            lock.touch()
        done = await armed.done()

    assert done.under_lock
    assert facts(session_file).st_size == done.offset + done.length_bytes


async def test_a_stranger_that_cannot_act_says_why(tmp_path: Path) -> None:
    with pytest.raises(ForeignActError, match="No such file"):
        await act(ForeignVerb.TOUCH, tmp_path / "missing")

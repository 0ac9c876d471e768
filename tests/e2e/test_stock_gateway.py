"""The gateway as it is published: what the sidecar is there for. Each of these turns is lost without it."""

from pathlib import Path

import pytest

from sidecar.demo.gateway import TurnResult
from sidecar.demo.rig import Rig
from tests.e2e.foreign import ForeignVerb, act
from tests.e2e.history import off_path, read_records

TAKEOVER = "EmbeddedAttemptSessionTakeoverError: session file changed while embedded prompt lock was released: {}"


async def assert_lost(turn: TurnResult, rig: Rig, session_file: Path) -> None:
    """The turn was stopped by the gateway's fence, on this file and for no other reason.

    That is 500 over HTTP. The error names the file, though, and a gateway that finds "429" anywhere in an error may
    take it for a rate limit of the model (2026.5.18 does): about one session in a hundred has that in its random name.
    """
    assert turn.status in ({500, 429} if "429" in str(session_file) else {500})
    assert not turn.answered
    await rig.gateway.stderr.wait_for(TAKEOVER.format(session_file), timeout_seconds=60)
    assert all(record.text != "The answer." for record in read_records(session_file))


async def test_a_turn_that_nobody_disturbs_is_answered(stock: Rig, session_key: str) -> None:
    await stock.say(session_key)
    async with stock.window(session_key, "What is new?") as window:
        assert window.call.traceparent
        turn = await window.close("The answer.")

    assert turn.answered
    assert turn.text == "The answer."
    records = read_records(window.session_file)
    assert [record.text for record in records if record.role] == [
        *("Good morning.", "Good morning."),
        *("What is new?", "The answer."),
    ]
    assert not off_path(records)


async def test_a_command_typed_while_the_model_thinks_costs_the_turn(stock: Rig, session_key: str) -> None:
    await stock.say(session_key)
    async with stock.window(session_key) as window:
        before = window.session_file.stat().st_size
        end = await stock.client.chat_end(await stock.client.chat_send(session_key, "/status"))
        assert end["state"] == "final"
        assert window.session_file.stat().st_size > before
        turn = await window.close("The answer.")

    await assert_lost(turn, stock, window.session_file)


@pytest.mark.parametrize("version", ["2026.5.18"], indirect=True, scope="session")
async def test_an_injected_note_costs_the_turn(stock: Rig, session_key: str) -> None:
    await stock.say(session_key)
    async with stock.window(session_key) as window:
        await stock.client.chat_inject(session_key, "The backup has run.")
        turn = await window.close("The answer.")

    await assert_lost(turn, stock, window.session_file)


@pytest.mark.parametrize("version", ["2026.7.35"], indirect=True, scope="session")
async def test_an_injected_note_that_is_forgiven_is_lost_to_the_conversation(stock: Rig, session_key: str) -> None:
    await stock.say(session_key)
    async with stock.window(session_key) as window:
        note = await stock.client.chat_inject(session_key, "The backup has run.")
        turn = await window.close("The answer.")

    assert turn.answered
    assert [record.id for record in off_path(read_records(window.session_file))] == [note]
    history = await stock.client.chat_history(session_key)
    assert [message["role"] for message in history] == ["user", "assistant"] * 2


async def test_a_note_in_the_first_turn_of_a_session_costs_the_turn(stock: Rig, session_key: str) -> None:
    async with stock.window(session_key) as window:
        assert not window.session_file.exists()
        await stock.client.chat_inject(session_key, "The backup has run.")
        turn = await window.close("The answer.")

    await assert_lost(turn, stock, window.session_file)


async def test_a_user_record_from_another_process_costs_the_turn(stock: Rig, session_key: str) -> None:
    await stock.say(session_key)
    async with stock.window(session_key) as window:
        before = window.session_file.stat().st_size
        done = await act(ForeignVerb.APPEND, window.session_file)
        assert (done.offset, done.offset + done.length_bytes) == (before, window.session_file.stat().st_size)
        assert done.pid != stock.gateway.pid
        turn = await window.close("The answer.")

    await assert_lost(turn, stock, window.session_file)


async def test_a_mere_touch_costs_the_turn(stock: Rig, session_key: str) -> None:
    await stock.say(session_key)
    async with stock.window(session_key) as window:
        before = window.session_file.read_bytes()
        await act(ForeignVerb.TOUCH, window.session_file)
        assert window.session_file.read_bytes() == before
        turn = await window.close("The answer.")

    await assert_lost(turn, stock, window.session_file)

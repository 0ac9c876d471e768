"""A run that did not get the session lock in time asks whether it may wait on: real links, real files."""

import os
from pathlib import Path

from sidecar.core.verdict.incident import Outcome
from sidecar.wire import messages as wire
from sidecar.words import sentence
from tests.driver.kit import desk, fenced, lock_file


async def test_a_hold_of_a_linked_process_may_be_waited_for(place: Path) -> None:
    async with fenced(place) as (stage, gateway, fence):
        gateway.take(stage.file)
        gateway.append(stage.file, "note")
        gateway.time_out(stage.file, fence)
        answer = await gateway.answer()
        gateway.say(wire.LockWaited(seq=gateway.seq(), at="5", window="w1", ok=True, waited="70"))
        gateway.end()
        await stage.said()
    assert answer == wire.Wait(window="w1", ask="0.1")
    assert "cron digest" in sentence(stage.sinks.saved[0].reason)
    assert stage.incident.recovery.outcome is Outcome.EFFECTIVE
    assert len(stage.sinks.answers) == 1


async def test_a_hold_of_a_process_without_a_link_is_not_waited_for_and_its_program_is_named(place: Path) -> None:
    async with desk(place) as stage:
        gateway = await stage.link()
        fence = gateway.fence(stage.file)
        lock_file(stage.file, os.getppid())
        gateway.time_out(stage.file, fence)
        answer = await gateway.answer()
    assert isinstance(answer, wire.Refuse)
    assert f"process {os.getppid()} (" in answer.reason
    assert stage.incident.recovery.outcome is Outcome.REFUSED
    assert stage.sinks.paged == []


async def test_the_holder_may_be_another_linked_process(place: Path) -> None:
    async with desk(place) as stage:
        gateway, other = await stage.link(), await stage.link()
        fence = gateway.fence(stage.file)
        other.take(stage.file)
        await stage.said()
        gateway.time_out(stage.file, fence)
        answer = await gateway.answer()
    assert isinstance(answer, wire.Wait)


async def test_a_lock_file_of_nonsense_names_nobody(place: Path) -> None:
    async with desk(place) as stage:
        gateway = await stage.link()
        fence = gateway.fence(stage.file)
        stage.file.with_name(f"{stage.file.name}.lock").write_text("held by a stranger")
        gateway.time_out(stage.file, fence)
        answer = await gateway.answer()
    assert isinstance(answer, wire.Refuse)
    assert "nobody that is known" in answer.reason

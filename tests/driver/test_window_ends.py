"""Windows and links that end while something that was said of them before is still being looked at."""

from pathlib import Path

import pytest

from sidecar.core.events import FenceClosed
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.verdict.incident import Outcome
from sidecar.core.verdict.judge import Verdict
from sidecar.driver import lineage, reads
from sidecar.watch.reading import fingerprint_of
from sidecar.wire import messages as wire
from tests.driver.kit import (
    Desk,
    Gateway,
    desk,
    fenced,
    fenced_beside_a_silent_one,
    foreign_append,
    now,
    record,
    recover,
)
from tests.link.running import until


async def gone(stage: Desk, gateway: Gateway, *, clean: bool = True) -> None:
    """The process ends, in order or not."""
    if clean:
        gateway.say(gateway.bye())
    await gateway.hang_up()
    await until(lambda: len(tuple(stage.links.open_sessions())) == 1)


@pytest.mark.parametrize("closed", [True, False])
async def test_a_stopped_turn_of_a_process_that_ends_in_order_is_judged_in_its_window(
    place: Path, *, closed: bool
) -> None:
    """No question came before: the trip is the first that is heard of the foreign bytes, and they are paged."""
    async with fenced_beside_a_silent_one(place) as (stage, gateway, silent, fence):
        foreign_append(stage.file)
        gateway.trip(stage.file, fence)
        if closed:
            gateway.end(takeover=True)
        await gone(stage, gateway)
        silent.hear_again()
        await until(lambda: stage.sinks.saved and not stage.engine.windows)
    assert (stage.incident.verdict, stage.incident.turn_lost) == (Verdict.EXTERNAL, True)
    assert stage.incident.closed_at_ns
    assert len(stage.sinks.paged) == 1


async def test_a_stopped_turn_of_a_process_that_is_gone_without_a_goodbye_proves_nothing(place: Path) -> None:
    """Rule 5: what it had not said will never be known. Its window ends all the same, and at once."""
    async with fenced_beside_a_silent_one(place) as (stage, gateway, _silent, fence):
        foreign_append(stage.file)
        gateway.trip(stage.file, fence)
        gateway.end(takeover=True)
        await until(lambda: stage.driver._ends._trips)
        await gone(stage, gateway, clean=False)
        assert stage.engine.windows == ()
        assert (stage.incident.verdict, stage.incident.turn_lost) == (Verdict.UNATTRIBUTED, True)
        assert stage.incident.closed_at_ns
        await until(lambda: not stage.driver._ends._trips)
    assert stage.engine.windows == ()
    assert stage.sinks.paged == []


def question(stage: Desk, gateway: Gateway, fence: str, asked: str) -> None:
    if asked == "check":
        gateway.append(stage.file, "note")
        gateway.ask(stage.file, fence)
    else:
        gateway.take(stage.file)
        gateway.time_out(stage.file, fence)


@pytest.mark.parametrize("asked", ["check", "lock"])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("meanwhile", ["window closed", "link lost", "goodbye"])
async def test_a_question_of_a_run_that_waits_no_more_opens_no_window_again(
    place: Path, asked: str, meanwhile: str, *, known: bool
) -> None:
    """It would stay open for as long as the link lasts, or for ever, with an approval that nobody has heard."""
    async with desk(place) as stage:
        gateway, silent = await stage.link(), await stage.link()
        fence = gateway.fence(stage.file) if known else fingerprint_of(stage.file).encode()
        await stage.said()
        silent.deaf = True
        question(stage, gateway, fence, asked)
        await until(lambda: stage.driver._questions._waiting)
        if meanwhile == "window closed":
            gateway.end(takeover=True)
            await until(lambda: all(waiting.gave_up for waiting in stage.driver._questions._waiting))
        else:
            await gone(stage, gateway, clean=meanwhile == "goodbye")
        silent.hear_again()
        await until(lambda: not stage.driver._questions._waiting and not stage.driver._tasks._tasks)
        assert stage.engine.windows == ()
        assert stage.sinks.saved == []
        assert gateway.commands.empty()


async def test_a_run_whose_fence_has_moved_on_is_not_told_to_wait_for_the_lock_of_before(place: Path) -> None:
    async with fenced_beside_a_silent_one(place) as (stage, gateway, silent, fence):
        question(stage, gateway, fence, "lock")
        await until(lambda: stage.driver._questions._waiting)
        stage.file.touch()
        gateway.fence(stage.file)
        silent.hear_again()
        await until(lambda: not stage.driver._questions._waiting and not stage.driver._tasks._tasks)
        assert gateway.commands.empty()
        assert stage.sinks.saved == []


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_link_that_is_lost_after_a_recovery_has_its_history_looked_at(place: Path, *, stopped: bool) -> None:
    """Also where the sidecar itself is about to stop, and has no more time for it in a thread."""
    async with fenced(place) as (stage, gateway, fence):
        await recover(stage, gateway, fence)
        foreign_append(stage.file, record("answer", "first"))
        if stopped:
            foreign_append(stage.file, b'{"type":"custom","text":"' + b"x" * lineage.LONG_BYTES + b'"}\n')
            await stage.driver.stop()
        await gateway.hang_up()
        await until(lambda: not tuple(stage.links.open_sessions()))
        assert stage.incident.recovery.outcome is Outcome.INEFFECTIVE
        assert stage.incident.recovery.reason == Reason.of(ReasonCode.HISTORY_FORKED, records=("note",))
        assert len(stage.sinks.paged) == 1


async def over(stage: Desk, gateway: Gateway, ending: str) -> None:
    """The run is done with its window, without another check."""
    if ending != "goodbye":
        gateway.end()
    if ending != "window closed":
        await gone(stage, gateway)
    else:
        await until(lambda: any(isinstance(e, FenceClosed) for e in stage.sinks.events) or stage.driver._ends.held)


@pytest.mark.parametrize("ending", ["window closed", "window closed, goodbye", "goodbye"])
async def test_a_foreign_byte_that_is_being_looked_at_when_its_window_ends_is_a_takeover(
    place: Path, ending: str
) -> None:
    async with fenced_beside_a_silent_one(place) as (stage, gateway, silent, _fence):
        foreign_append(stage.file)
        gateway.release(stage.file)
        await until(lambda: stage.driver._reads._under_way)
        await over(stage, gateway, ending)
        silent.hear_again()
        await until(lambda: stage.sinks.saved and not stage.engine.windows)
    assert stage.incident.verdict is Verdict.EXTERNAL
    assert stage.incident.closed_at_ns
    assert len(stage.sinks.paged) == 1


@pytest.mark.parametrize("ending", ["window closed", "goodbye"])
async def test_a_co_tenants_write_that_is_being_looked_at_when_its_window_ends_is_nothing(
    place: Path, ending: str
) -> None:
    """There is no fence any more that could be moved across it: no command, no recovery that is counted."""
    async with fenced_beside_a_silent_one(place) as (stage, gateway, silent, _fence):
        gateway.append(stage.file, "note")
        gateway.release(stage.file)
        await until(lambda: stage.driver._reads._under_way)
        await over(stage, gateway, ending)
        silent.hear_again()
        await until(lambda: not stage.engine.windows and not stage.driver._reads._under_way)
        assert gateway.commands.empty()
    assert stage.sinks.saved == []


async def test_a_window_does_not_wait_for_a_look_longer_than_that_waits_for_others(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "PATIENT_SECONDS", 0.05)
    async with fenced_beside_a_silent_one(place) as (stage, gateway, _silent, _fence):
        foreign_append(stage.file)
        gateway.release(stage.file)
        gateway.end()
        await until(lambda: not stage.engine.windows)
    assert stage.sinks.saved == []


async def test_a_turn_that_is_stopped_after_its_window_ended_is_judged_before_that_end(place: Path) -> None:
    """A gateway tells of the end once more then; the first end was still waiting for a look."""
    async with fenced_beside_a_silent_one(place) as (stage, gateway, silent, fence):
        foreign_append(stage.file)
        gateway.release(stage.file)
        gateway.end()
        await until(lambda: stage.driver._ends.held)
        gateway.trip(stage.file, fence)
        gateway.end(takeover=True)
        await until(lambda: len(silent.unanswered) == 2)
        look, trip = silent.unanswered
        silent.unanswered.clear()
        silent.say(wire.Synced(seq=silent.seq(), at=now(), sync=look.sync))
        await until(lambda: not stage.driver._reads._under_way)
        assert stage.engine.windows
        silent.say(wire.Synced(seq=silent.seq(), at=now(), sync=trip.sync))
        await until(lambda: not stage.engine.windows)
        await until(lambda: not stage.driver._tasks._tasks)
        assert stage.engine.windows == ()
    said = [m.what for m in stage.incident.timeline]
    assert said.index("turn stopped") < said.index("window closed")
    assert (stage.incident.verdict, stage.incident.turn_lost) == (Verdict.EXTERNAL, True)
    assert len(stage.sinks.paged) == 1

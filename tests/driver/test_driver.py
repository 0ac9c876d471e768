"""The driver: reports over sockets, bytes in files, in whatever order they come. Real links, real files."""

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Final

import pytest

from sidecar.core import events as ev
from sidecar.core.custody.lineage import Record
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.policy.blocked import Pause
from sidecar.core.policy.policy import Mode
from sidecar.core.verdict.incident import Outcome, Subject
from sidecar.core.verdict.judge import Verdict
from sidecar.driver import lineage, reads
from sidecar.driver.questions import SYNC_SECONDS
from sidecar.watch.reading import fingerprint_of
from sidecar.watch.records import parse_records
from sidecar.wire import messages as wire
from sidecar.words import sentence
from tests.driver.kit import (
    FOREIGN,
    Desk,
    Gateway,
    desk,
    fenced,
    fenced_beside_a_silent_one,
    fenced_beside_another,
    foreign_append,
    impatient,
    record,
    recover,
)
from tests.link.running import until

GATEWAY_WAITS_SECONDS: Final = 0.25


def test_the_word_of_others_is_not_waited_for_as_long_as_a_gateway_waits() -> None:
    assert SYNC_SECONDS < GATEWAY_WAITS_SECONDS


def verdicts(stage: Desk) -> list[Verdict]:
    return [incident.verdict for incident in stage.sinks.saved]


# With one link


async def test_a_question_about_a_co_tenants_write_is_answered_with_yes(place: Path) -> None:
    async with fenced(place) as (stage, gateway, fence):
        gateway.append(stage.file, "note")
        answer = await gateway.is_approved(stage.file, fence)
    assert (answer.window, answer.fence, answer.ask) == ("w1", fence, "0.1")
    assert stage.incident.verdict is Verdict.CO_TENANT
    assert stage.sinks.paged == []
    assert len(stage.sinks.answers) == 1


async def test_a_question_about_a_foreign_write_is_answered_with_no_and_paged_once(place: Path) -> None:
    async with fenced(place) as (stage, gateway, fence):
        foreign_append(stage.file)
        answer = await gateway.is_refused(stage.file, fence)
        gateway.trip(stage.file, fence)
        gateway.end(takeover=True)
        await stage.said()
    assert answer.verdict == Verdict.EXTERNAL
    assert len(stage.sinks.paged) == 1
    assert stage.incident.turn_lost


async def test_an_approval_is_pushed_when_a_co_tenant_gives_the_lock_back(place: Path) -> None:
    async with fenced(place) as (stage, gateway, fence):
        gateway.append(stage.file, "note")
        gateway.release(stage.file)
        pushed = await gateway.answer()
    assert isinstance(pushed, wire.Approve)
    assert (pushed.ask, pushed.fence) == ("", fence)


async def test_a_sidecar_that_only_observes_commands_nothing(place: Path) -> None:
    async with fenced(place, Mode.OBSERVE) as (stage, gateway, fence):
        gateway.append(stage.file, "note")
        gateway.release(stage.file)
        await gateway.is_refused(stage.file, fence)
    assert (stage.incident.verdict, stage.incident.recovery.outcome) == (Verdict.CO_TENANT, Outcome.NOT_ATTEMPTED)


async def test_what_can_not_be_recorded_is_not_done(place: Path) -> None:
    """Rule 6. The gateway that waits hears no at once, and is served again when there is room."""
    async with fenced(place) as (stage, gateway, fence):
        gateway.append(stage.file, "note")
        stage.sinks.full = True
        refused = await gateway.is_refused(stage.file, fence)
        assert (refused.ask, refused.verdict) == ("0.1", "co_tenant")
        assert "could not be put on disk" in refused.reason
        assert stage.sinks.tries - stage.sinks.commits == 1, "a gateway waits: the disk is not tried again"
        assert (stage.driver.journal.unsaved, stage.driver.journal.failing) == (1, True)
        stage.sinks.full = False
        answer = await gateway.is_approved(stage.file, fence, ask="0.2")
    assert answer.ask == "0.2"
    assert (stage.driver.journal.unsaved, stage.driver.journal.failing) == (0, False)


@pytest.mark.parametrize("then", ["next save", "time", "stop"])
async def test_a_takeover_that_could_not_be_saved_is_paged_as_soon_as_there_is_room(place: Path, then: str) -> None:
    async with fenced(place) as (stage, gateway, fence):
        foreign_append(stage.file)
        stage.sinks.full = True
        gateway.ask(stage.file, fence)
        await stage.said()
        stage.driver.handle(ev.TimePassed(at_ns=1))
        assert stage.sinks.saved == stage.sinks.paged == []
        stage.sinks.full = False
        if then == "next save":
            gateway.trip(stage.file, fence)
            await stage.said()
        elif then == "time":
            stage.driver.handle(ev.TimePassed(at_ns=2))
        else:
            await stage.driver.stop()
        assert [incident.verdict for incident in stage.sinks.paged] == [Verdict.EXTERNAL]
        assert stage.sinks.saved[-1].paged_for == (Subject.TAKEOVER,)
        assert stage.sinks.saved[-1].turn_lost == (then == "next save")

        stage.driver.handle(ev.TimePassed(at_ns=3))
        assert len(stage.sinks.paged) == 1


async def test_an_approval_is_taken_back_though_that_can_not_be_recorded(place: Path) -> None:
    async with fenced(place) as (stage, gateway, _fence):
        gateway.append(stage.file, "note")
        gateway.release(stage.file)
        assert isinstance(await gateway.answer(), wire.Approve)
        stage.sinks.full = True
        stage.driver.handle(ev.PauseChanged(pause=Pause("upgrade", 1, 2), at_ns=1))
        taken_back = await gateway.answer()
    assert isinstance(taken_back, wire.Refuse)
    assert (taken_back.ask, taken_back.reason) == ("", "taken back")


@pytest.mark.parametrize("way", ["asked", "lock timeout", "stopped"])
async def test_word_of_a_gateway_is_dated_by_the_sidecar_too(place: Path, way: str) -> None:
    """Its own clock may be hours off; the gate goes by ours."""
    async with fenced(place) as (stage, gateway, fence):
        gateway.append(stage.file, "note")
        before_ns = time.time_ns()
        {"asked": gateway.ask, "lock timeout": gateway.time_out, "stopped": gateway.trip}[way](stage.file, fence)
        await stage.said()
        after_ns = time.time_ns()
    [event] = [e for e in stage.sinks.events if isinstance(e, ev.VerdictAsked | ev.LockTimedOut | ev.TurnTripped)]
    assert before_ns <= event.heard_ns <= after_ns


async def test_a_page_that_is_made_up_for_tells_what_is_known_by_then(place: Path) -> None:
    async with fenced(place) as (stage, gateway, fence):
        foreign_append(stage.file)
        stage.sinks.full = True
        gateway.ask(stage.file, fence)
        gateway.trip(stage.file, fence)
        gateway.end(takeover=True)
        await stage.said()
        stage.sinks.full = False
        stage.driver.handle(ev.TimePassed(at_ns=2))
        [incident] = stage.sinks.paged
        assert incident == stage.incident
        assert incident.turn_lost
        assert incident.closed_at_ns


async def test_a_message_that_can_not_be_understood_costs_no_more_than_its_own_custody(place: Path) -> None:
    """An operation of a newer preload, say."""
    async with desk(place) as stage:
        gateway = await stage.link()
        gateway.say(
            b'{"t":"change","seq":3,"at":"1","change":"c9","phase":"done","op":"folded","file":"/f",'
            b'"writer":{"kind":"cron"}}\n'
        )
        gateway.seq()
        fence = gateway.fence(stage.file)
        await stage.said()
        gateway.append(stage.file, "note")
        await gateway.is_approved(stage.file, fence)
    assert stage.losses == {"gap": 1}


@pytest.mark.parametrize("failing", ["this file", "another file"])
async def test_a_write_that_failed_half_way_costs_custody_of_its_own_file_only(place: Path, failing: str) -> None:
    async with desk(place) as stage:
        gateway = await stage.link()
        other = stage.file.with_name("other.jsonl")
        fence = gateway.fence(stage.file)
        await stage.said()
        gateway.append(other if failing == "another file" else stage.file, "half", failed=True)
        gateway.append(stage.file, "note")
        gateway.ask(stage.file, fence)
        answer = await gateway.answer()
    assert isinstance(answer, wire.Approve if failing == "another file" else wire.Refuse)
    assert stage.losses == {"write_failed": 1}


# With several


@pytest.mark.parametrize("order", ["report first", "question first", "report when asked"])
async def test_the_order_in_which_two_links_speak_makes_no_difference(place: Path, order: str) -> None:
    async with fenced_beside_another(place) as (stage, gateway, other, fence):
        match order:
            case "report first":
                other.append(stage.file, "note")
                await stage.said()
                gateway.ask(stage.file, fence)
            case "question first":
                other.append(stage.file, "note", say=False)
                gateway.ask(stage.file, fence)
                await until(lambda: gateway.writer.transport.get_write_buffer_size() == 0)
                other.say_unsaid()
            case _:
                other.append(stage.file, "note", say=False)
                gateway.ask(stage.file, fence)
        assert isinstance(await gateway.answer(), wire.Approve)
    assert stage.incident.verdict is Verdict.CO_TENANT
    assert [(w.kind, w.bytes) for w in stage.incident.writers] == [("cron", len(record("note", "first")))]
    assert stage.sinks.paged == []


@pytest.mark.parametrize("order", ["report first", "report when asked"])
@pytest.mark.parametrize("first", ["foreign", "co-tenant"])
async def test_a_foreign_byte_is_found_among_the_writes_of_two_links(place: Path, order: str, first: str) -> None:
    async with fenced_beside_another(place) as (stage, gateway, other, fence):
        if first == "foreign":
            foreign_append(stage.file)
        gateway.append(stage.file, "own")
        other.append(stage.file, "note", say=order == "report first")
        if first == "co-tenant":
            foreign_append(stage.file)
        await gateway.is_refused(stage.file, fence)
    assert stage.incident.verdict is Verdict.EXTERNAL
    assert sum(found.length for found in stage.incident.unexplained) == len(FOREIGN)
    assert len(stage.sinks.paged) == 1


async def test_a_link_that_asks_can_be_asked_in_its_turn(place: Path) -> None:
    """Two processes stand at their checks at once, and each must hear the other first."""
    async with desk(place) as stage:
        gateway, other = await stage.link(), await stage.link()
        second = stage.file.with_name("t.jsonl")
        second.write_bytes(stage.file.read_bytes())
        fences = gateway.fence(stage.file, "w1"), other.fence(second, "w2")
        await stage.said()
        other.append(stage.file, "note", say=False)
        gateway.append(second, "note", say=False)
        gateway.ask(stage.file, fences[0], "w1")
        other.ask(second, fences[1], "w2")
        answers = await asyncio.gather(gateway.answer(), other.answer())
    assert all(isinstance(answer, wire.Approve) for answer in answers)


@pytest.mark.parametrize("change", ["co-tenant", "foreign", "removed", "replaced by a link"])
@pytest.mark.parametrize("occasion", ["question", "trip"])
async def test_while_a_link_is_silent_nothing_is_proven(place: Path, change: str, occasion: str) -> None:
    """It might be the writer. The gateway is answered all the same."""
    async with fenced_beside_a_silent_one(place) as (stage, gateway, _silent, fence):
        meddle(stage, gateway, change)
        with impatient():
            if occasion == "question":
                gateway.ask(stage.file, fence)
                answer = await gateway.answer()
                assert isinstance(answer, wire.Refuse)
                assert answer.verdict == Verdict.UNATTRIBUTED
            else:
                gateway.trip(stage.file, fence)
                await until(lambda: stage.sinks.saved)
        assert set(verdicts(stage)) == {Verdict.UNATTRIBUTED}
        assert stage.sinks.paged == []


def meddle(stage: Desk, gateway: Gateway, change: str) -> None:
    match change:
        case "co-tenant":
            gateway.append(stage.file, "note")
        case "foreign":
            foreign_append(stage.file)
        case "removed":
            stage.file.unlink()
        case _:
            stage.file.rename(stage.file.with_suffix(".moved"))
            stage.file.symlink_to(stage.file.with_suffix(".moved"))


async def test_the_next_window_is_judged_again_after_a_silence(place: Path) -> None:
    async with fenced_beside_a_silent_one(place) as (stage, gateway, silent, fence):
        gateway.append(stage.file, "note")
        with impatient():
            await gateway.is_refused(stage.file, fence)
        gateway.end(takeover=True)
        silent.deaf = False
        later = gateway.fence(stage.file, "w2")
        gateway.append(stage.file, "other", "note")
        await gateway.is_approved(stage.file, later, "w2")


async def test_a_link_that_ends_in_order_while_it_is_asked_has_said_all(place: Path) -> None:
    async with fenced_beside_another(place) as (stage, gateway, other, fence):
        other.append(stage.file, "note")
        other.say(other.bye())
        await other.hang_up()
        await gateway.is_approved(stage.file, fence)


async def test_two_turns_that_are_stopped_at_once_do_not_wait_for_each_other_in_vain(place: Path) -> None:
    async with desk(place) as stage:
        gateway, other = await stage.link(), await stage.link()
        fences = gateway.fence(stage.file, "w1"), other.fence(stage.file, "w2")
        await stage.said()
        foreign_append(stage.file)
        gateway.trip(stage.file, fences[0], "w1")
        other.trip(stage.file, fences[1], "w2")
        await until(lambda: len({incident.window for incident in stage.sinks.saved}) == 2)
        gateway.end("w1", takeover=True)
        other.end("w2", takeover=True)
        await stage.said()
        assert stage.engine.windows == ()


async def test_a_window_that_ends_while_its_stop_is_looked_at_is_judged_first(place: Path) -> None:
    """The link goes on to be heard, and what it says of the window comes after."""
    async with fenced_beside_another(place) as (stage, gateway, _other, fence):
        foreign_append(stage.file)
        gateway.trip(stage.file, fence)
        gateway.end(takeover=True)
        await until(lambda: not stage.engine.windows)
        last = stage.sinks.saved[-1]
        assert (last.verdict, last.turn_lost) == (Verdict.EXTERNAL, True)
        assert last.closed_at_ns
        said = [m.what for m in last.timeline]
        assert said.index("turn stopped") < said.index("window closed")


async def test_a_question_that_a_gateway_has_given_up_is_not_answered_about_the_next_window(place: Path) -> None:
    async with fenced_beside_a_silent_one(place) as (stage, gateway, _silent, fence):
        gateway.append(stage.file, "note")
        with impatient():
            gateway.ask(stage.file, fence)
            await until(lambda: stage.driver._questions._waiting)
            gateway.end(takeover=True)
            await until(lambda: not stage.driver._questions._waiting)
        assert stage.engine.windows == ()
        assert gateway.commands.empty()


async def test_a_question_about_a_fence_that_has_moved_on_costs_the_new_one_nothing(place: Path) -> None:
    async with fenced_beside_a_silent_one(place) as (stage, gateway, silent, fence):
        gateway.append(stage.file, "note")
        with impatient():
            gateway.ask(stage.file, fence)
            await until(lambda: stage.driver._questions._waiting)
            moved = gateway.fence(stage.file)
            await until(lambda: not stage.driver._questions._waiting)
        silent.deaf = False
        gateway.append(stage.file, "other", "note")
        await gateway.is_approved(stage.file, moved, ask="0.2")


async def test_a_write_while_a_link_is_asked_is_not_held_against_the_file_before_it(place: Path) -> None:
    """The report of a write that came after the reading has no bytes to show there."""
    async with fenced_beside_another(place) as (stage, gateway, other, fence):
        gateway.append(stage.file, "note")
        other.at_sync.append(lambda: other.append(stage.file, "late", "note"))
        gateway.release(stage.file)
        pushed = await gateway.answer()
        current = fingerprint_of(stage.file).encode()
    assert isinstance(pushed, wire.Approve)
    assert (pushed.fence, pushed.current) == (fence, current)
    assert set(verdicts(stage)) == {Verdict.CO_TENANT}


async def test_a_question_about_a_file_that_has_moved_on_is_answered_without_a_verdict(place: Path) -> None:
    async with fenced_beside_another(place) as (stage, gateway, other, fence):
        gateway.append(stage.file, "note")
        await stage.said()
        other.at_sync.append(lambda: other.append(stage.file, "late", "note"))
        await gateway.is_refused(stage.file, fence)
        assert stage.sinks.saved == []
        await gateway.is_approved(stage.file, fence, ask="0.2")


@pytest.mark.parametrize("change", ["foreign", "removed", "replaced by a link"])
async def test_nobody_concludes_anything_from_a_look_while_a_link_is_silent(
    place: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(reads, "PATIENT_SECONDS", 0.05)
    async with fenced_beside_a_silent_one(place) as (stage, gateway, _silent, _fence):
        meddle(stage, gateway, change)
        gateway.release(stage.file)
        await until(lambda: stage.driver._reads._under_way)
        await until(lambda: not stage.driver._reads._under_way)
        assert stage.sinks.saved == stage.sinks.paged == []
        assert gateway.commands.empty()


async def test_a_history_that_is_gone_when_it_is_looked_at_is_ineffective_and_paged(place: Path) -> None:
    async with fenced(place) as (stage, gateway, fence):
        await recover(stage, gateway, fence)
        stage.file.unlink()
        gateway.end()
        await stage.said()
    assert stage.incident.recovery.outcome is Outcome.INEFFECTIVE
    assert "the history can't be read: No such file" in sentence(stage.incident.recovery.reason)
    assert stage.incident.recovery.unproven
    assert len(stage.sinks.paged) == 1


# Files that move while they are looked at


@pytest.mark.parametrize("since", ["grown", "removed", "replaced by a link", "unreadable"])
async def test_a_stopped_turn_is_not_judged_by_what_the_file_became_later(place: Path, since: str) -> None:
    async with fenced(place) as (stage, gateway, fence):
        gateway.append(stage.file, "note")
        await stage.said()
        tripped = wire.Tripped(
            seq=gateway.seq(), at="1", window="w1", file=str(stage.file), fence=fence, current="1:2:3:4:5",
            run=wire.WireRun(run="run-1"),
        )  # fmt: skip
        match since:
            case "grown":
                foreign_append(stage.file)
            case "unreadable":
                stage.file.unlink()
                stage.file.mkdir()
            case _:
                meddle(stage, gateway, since)
        gateway.say(tripped)
        await stage.said()
    assert stage.incident.verdict is Verdict.UNATTRIBUTED, stage.incident.reason
    assert stage.incident.turn_lost
    assert stage.sinks.paged == []


async def test_a_file_that_never_holds_still_is_not_judged(place: Path) -> None:
    """Somebody writes between any two looks: here whenever the other link is asked."""
    async with fenced_beside_another(place) as (stage, gateway, other, fence):
        foreign_append(stage.file)
        other.deaf = True

        async def meddling() -> None:
            while True:
                os.utime(stage.file)
                await asyncio.sleep(0.005)

        busy = asyncio.create_task(meddling())
        with impatient():
            await gateway.is_refused(stage.file, fence)
        busy.cancel()
    assert stage.sinks.paged == []
    assert Verdict.EXTERNAL not in verdicts(stage)


@pytest.mark.timeout(120)
async def test_a_fifo_in_the_place_of_the_file_hangs_nobody_and_is_a_takeover(place: Path) -> None:
    async with fenced(place) as (stage, gateway, fence):
        put_fifo(stage.file)
        await gateway.is_refused(stage.file, fence)
    assert (stage.incident.verdict, stage.incident.reason.code) == (Verdict.EXTERNAL, ReasonCode.NOT_A_REGULAR_FILE)


def put_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


# What became of it


async def recovered(stage: Desk, *records: bytes) -> Gateway:
    """A run that went on past its check, and has added these records."""
    gateway = await stage.link()
    fence = gateway.fence(stage.file)
    await stage.said()
    await recover(stage, gateway, fence)
    for data in records:
        foreign_append(stage.file, data)
    gateway.end()
    await stage.said()
    return gateway


async def test_a_history_of_one_line_makes_a_recovery_effective(place: Path) -> None:
    async with desk(place) as stage:
        await recovered(stage, record("answer", "note"))
    assert stage.incident.recovery.outcome is Outcome.EFFECTIVE
    assert stage.sinks.paged == []


async def test_a_record_beside_the_path_makes_it_ineffective_and_pages(place: Path) -> None:
    async with desk(place) as stage:
        await recovered(stage, record("answer", "first"))
    assert stage.incident.recovery.outcome is Outcome.INEFFECTIVE
    assert stage.incident.recovery.reason == Reason.of(ReasonCode.HISTORY_FORKED, records=("note",))
    assert not stage.incident.recovery.unproven
    assert len(stage.sinks.paged) == 1


@pytest.mark.parametrize(
    "line",
    [b"no JSON", b"\xff\xfe", b"[1, 2]", b'{"id": 17}', b"", b'{"x":' + b"[" * 50_000, b"\0" * 99],
    ids=lambda line: line[:12].decode(errors="replace"),
)
async def test_lines_that_are_no_records_do_not_hide_the_history(place: Path, line: bytes) -> None:
    async with desk(place) as stage:
        gateway = await recovered(stage, line + b"\n", record("answer", "note"), line + b"\n")
        assert stage.incident.recovery.outcome is Outcome.EFFECTIVE
        gateway.fence(stage.file, "w2")
        await stage.said()
        assert len(stage.engine.windows) == 1, "the link is still heard"


async def test_while_a_long_history_is_understood_questions_are_answered(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    understood = threading.Event()
    parse = parse_records

    def slowly(lines: list[bytes]) -> tuple[list[Record], int]:
        assert understood.wait(10)
        return parse(lines)

    monkeypatch.setattr(lineage, "parse_records", slowly)
    async with desk(place) as stage:
        long = b'{"type":"custom","text":"' + b"x" * lineage.LONG_BYTES + b'"}\n'
        gateway = await recovered(stage, record("answer", "first"), long)
        assert stage.engine.windows == ()
        fence = gateway.fence(stage.file, "w2")
        await stage.said()
        gateway.append(stage.file, "later", "answer")
        await gateway.is_approved(stage.file, fence, "w2")
        assert stage.sinks.paged == []
        understood.set()
        await until(lambda: bool(stage.sinks.paged))
    assert stage.sinks.paged[0].recovery.reason == Reason.of(ReasonCode.HISTORY_FORKED, records=("note",))


async def test_a_driver_that_stops_has_looked_at_every_history(place: Path) -> None:
    async with desk(place) as stage:
        long = b'{"type":"custom","text":"' + b"x" * lineage.LONG_BYTES + b'"}\n'
        await recovered(stage, record("answer", "first"), long)
        await stage.driver.stop()
        assert [incident.recovery.outcome for incident in stage.sinks.paged] == [Outcome.INEFFECTIVE]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("what", ["removed", "fifo", "directory"])
async def test_a_history_that_can_not_be_read_hangs_nobody(place: Path, what: str) -> None:
    async with fenced(place) as (stage, gateway, fence):
        await recover(stage, gateway, fence)
        replace(stage.file, what)
        gateway.end()
        await stage.said()
        assert stage.engine.windows == ()


def replace(file: Path, what: str) -> None:
    file.unlink()
    if what == "fifo":
        os.mkfifo(file)
    elif what == "directory":
        file.mkdir()


async def test_a_link_that_is_lost_takes_the_custody_of_all_with_it(place: Path) -> None:
    """Nobody knows what it had done and not said (rule 5)."""
    async with fenced_beside_another(place) as (stage, gateway, lost, fence):
        await lost.hang_up()
        await until(lambda: len(tuple(stage.links.open_sessions())) == 1)
        foreign_append(stage.file)
        await gateway.is_refused(stage.file, fence)
    assert set(verdicts(stage)) == {Verdict.UNATTRIBUTED}
    assert stage.sinks.paged == []


async def test_a_driver_that_stops_leaves_nothing_under_way(place: Path) -> None:
    async with fenced_beside_a_silent_one(place) as (stage, gateway, _silent, fence):
        gateway.append(stage.file, "note")
        gateway.release(stage.file)
        gateway.ask(stage.file, fence)
        await until(lambda: stage.driver._tasks._tasks and stage.driver._reads._under_way)
        await stage.driver.stop()
        await until(lambda: not stage.driver._tasks._tasks and not stage.driver._reads._under_way)
        assert gateway.commands.empty()


async def test_what_is_kept_of_a_window_last_holds_what_its_history_was(place: Path) -> None:
    """Otherwise a replay could not come to the same end."""
    async with desk(place) as stage:
        await recovered(stage, record("answer", "first"))
    kept = stage.sinks.kept
    assert [type(event).__name__ for event in kept[-1].events].count("LineageChecked") == 1
    assert len(kept) == 1


# How often the disk is waited for


async def test_a_refusal_of_a_takeover_costs_one_commit_before_the_gateway_hears_it(place: Path) -> None:
    async with fenced(place) as (stage, gateway, fence):
        foreign_append(stage.file)
        before = stage.sinks.commits
        await gateway.is_refused(stage.file, fence)
        assert stage.sinks.commits - before == 1
        assert stage.incident.paged_for == (Subject.TAKEOVER,)


async def test_a_lost_turn_costs_one_commit(place: Path) -> None:
    async with fenced(place) as (stage, gateway, fence):
        foreign_append(stage.file)
        before = stage.sinks.commits
        gateway.trip(stage.file, fence)
        await stage.said()
        assert stage.sinks.commits - before == 1
        assert stage.incident.turn_lost
        assert len(stage.sinks.kept) == 1, "its recording came with it"


async def test_a_command_whose_intent_is_not_on_disk_is_no_command_without_effect(place: Path) -> None:
    async with fenced(place) as (stage, gateway, fence):
        gateway.append(stage.file, "note")
        stage.sinks.full = True
        await gateway.is_refused(stage.file, fence)
        stage.sinks.full = False
        gateway.trip(stage.file, fence)
        gateway.end(takeover=True)
        await stage.said()
    assert (stage.incident.recovery.outcome, stage.incident.turn_lost) == (Outcome.NOT_ATTEMPTED, True)
    assert stage.sinks.paged == []

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sidecar.core.decisions import SaveIncident
from sidecar.core.verdict.incident import Incident, Subject
from sidecar.core.verdict.judge import Verdict
from sidecar.notify.destination import destinations_of
from sidecar.notify.errors import DeliveryError
from sidecar.notify.pager import INTERVALS_SECONDS, STALE_NS, Pager
from sidecar.notify.text import PageText
from sidecar.store.chains import ChainStore
from sidecar.store.errors import StoreWriteError
from sidecar.store.incidents import IncidentStore
from sidecar.store.records import RecordStore
from sidecar.store.stored import PageKey, PageRecord
from tests.notify.conftest import Receiver
from tests.store.samples import SECOND, Clock, foreign, save_incident

ID = foreign().incident_id
AT_ONCE = (0.0, 0.0)
NEVER = (3600.0,)


class Fake:
    """A destination whose answers are given; each call is announced."""

    def __init__(self, key: str = "fake", failures: int = 0) -> None:
        self.key = key
        self.label = key
        self.failures = failures
        self.calls = 0
        self.gate = threading.Event()
        self.gate.set()

    def send(self, text: PageText) -> None:
        self.calls += 1
        self.gate.wait(20)
        if self.calls <= self.failures:
            raise DeliveryError(f"{self.key}: no")


def record(store: IncidentStore) -> PageRecord:
    stored = store.get(ID)
    assert stored is not None
    return stored.page


def save(store: IncidentStore, pager: Pager, incident: Incident) -> None:
    """What the driver's commit does; the pager looks in the next turn of the loop."""
    RecordStore(store, ChainStore(store), pager.wake).commit([SaveIncident(incident=incident)])


async def settled(pager: Pager) -> None:
    """Wait until nothing is on its way."""
    await asyncio.sleep(0)
    while pager._tasks:
        await asyncio.wait(pager._tasks.values())


async def until(condition: Callable[[], object]) -> None:
    """Wait for what happens in another thread or task and announces itself to nobody."""
    while not condition():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.005)


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await work()

    asyncio.run(main())


def test_an_incident_is_paged_once_whatever_is_asked(store: IncidentStore, clock: Clock, receiver: Receiver) -> None:
    async def work() -> None:
        async with Pager(destinations_of([receiver.url()]), store, clock, host="alpha") as pager:
            save(store, pager, foreign())
            save(store, pager, foreign())
            await settled(pager)
            save(store, pager, foreign())
            await settled(pager)
            assert pager.status().sent == 1
            assert pager.status().pending == 0
            assert pager.problems() == ()

    run(work)
    _path, body = receiver.next()
    assert receiver.received.empty()
    assert f"explain {ID}" in body["message"]
    assert "on alpha" in body["title"]
    assert record(store).sent
    assert record(store).attempts == 1


def test_a_page_that_fails_at_first_is_tried_again_until_it_is_taken(
    store: IncidentStore, clock: Clock, receiver: Receiver
) -> None:
    receiver.answers = [500, 503]

    async def work() -> None:
        async with Pager(destinations_of([receiver.url()]), store, clock, intervals_seconds=AT_ONCE) as pager:
            save(store, pager, foreign())
            await settled(pager)
            assert pager.status().sent == 1
            assert pager.problems() == ()

    run(work)
    assert [receiver.next()[0] for _ in range(3)] == ["/hook 500", "/hook 503", "/hook 200"]
    assert receiver.received.empty()
    assert (record(store).sent, record(store).attempts, record(store).last_error) == (True, 3, "")


def test_only_the_destination_that_failed_is_told_again(store: IncidentStore, clock: Clock) -> None:
    good, bad = Fake("good"), Fake("bad", failures=2)

    async def work() -> None:
        async with Pager([good, bad], store, clock, intervals_seconds=AT_ONCE) as pager:
            save(store, pager, foreign())
            await settled(pager)

    run(work)
    assert (good.calls, bad.calls) == (1, 3)
    assert record(store).sent


def test_a_page_that_nobody_takes_is_given_up_and_seen(store: IncidentStore, clock: Clock) -> None:
    bad = Fake("bad", failures=99)

    async def work() -> None:
        async with Pager([bad], store, clock, intervals_seconds=AT_ONCE) as pager:
            save(store, pager, foreign())
            await settled(pager)
            status = pager.status()
            assert (status.failed, status.pending, status.sent) == (1, 0, 0)
            assert "bad: no" in status.last_error
            assert [p.code for p in pager.problems()] == ["page_failed"]

    run(work)
    assert bad.calls == 3
    assert record(store).gave_up
    assert record(store).attempts == 3


def test_a_failing_page_is_a_problem_while_it_waits(store: IncidentStore, clock: Clock) -> None:
    bad = Fake("bad", failures=99)

    async def work() -> None:
        async with Pager([bad], store, clock, intervals_seconds=NEVER) as pager:
            save(store, pager, foreign())
            await until(pager.problems)
            assert [p.code for p in pager.problems()] == ["page_failed"]
            assert (pager.status().pending, pager.status().last_error) == (1, "bad: no")

    run(work)
    assert not record(store).gave_up
    assert bad.calls == 1


def test_a_restart_delivers_what_was_pending_and_nothing_twice(path: Path, store: IncidentStore, clock: Clock) -> None:
    good, bad = Fake("good"), Fake("bad", failures=1)

    async def before() -> None:
        async with Pager([good, bad], store, clock, intervals_seconds=NEVER) as pager:
            save(store, pager, foreign())
            await until(pager.problems)

    async def after() -> None:
        with IncidentStore(path, clock) as reopened:
            async with Pager([good, bad], reopened, clock, intervals_seconds=NEVER) as pager:
                assert pager.status().pending == 1
                await settled(pager)
                assert pager.status().sent == 1
            assert reopened.pending_pages() == []
            async with Pager([good, bad], reopened, clock) as pager:
                assert pager.status().pending == 0

    run(before)
    store.close()
    run(after)
    assert (good.calls, bad.calls) == (1, 2)


def test_a_restart_grants_one_attempt_to_a_page_that_has_used_up_its_own(store: IncidentStore, clock: Clock) -> None:
    save_incident(store, foreign())
    for _ in range(6):
        store.page_attempted(PageKey(ID, Subject.TAKEOVER), clock.now_ns, "no")
    fake = Fake()

    async def work() -> None:
        async with Pager([fake], store, clock) as pager:
            await settled(pager)

    run(work)
    assert record(store).sent


def test_a_page_of_the_day_before_yesterday_wakes_nobody(store: IncidentStore, clock: Clock) -> None:
    save_incident(store, foreign())
    clock.now_ns += STALE_NS + SECOND
    fake = Fake()

    async def work() -> None:
        async with Pager([fake], store, clock) as pager:
            await settled(pager)
            assert pager.status().failed == 1

    run(work)
    assert fake.calls == 0
    assert "more than a day" in record(store).last_error


def test_without_a_destination_the_page_stays_due_and_that_is_a_problem(store: IncidentStore, clock: Clock) -> None:
    async def work() -> None:
        async with Pager([], store, clock) as pager:
            assert pager.problems() == ()
            save(store, pager, foreign())
            await settled(pager)
            assert pager.status().pending == 1
            [problem] = pager.problems()
            assert problem.code == "page_not_configured"
            assert "--notify" in problem.remedy

    run(work)
    assert record(store).due
    assert record(store).attempts == 0


def test_the_end_waits_for_a_delivery_under_way(store: IncidentStore, clock: Clock) -> None:
    fake = Fake()
    fake.gate.clear()

    async def work() -> None:
        async with Pager([fake], store, clock) as pager:
            save(store, pager, foreign())
            await until(lambda: fake.calls)
            asyncio.get_running_loop().call_later(0.05, fake.gate.set)

    run(work)
    assert record(store).sent


def test_the_page_is_due_on_disk_before_the_first_attempt(store: IncidentStore, clock: Clock) -> None:
    fake = Fake()
    fake.gate.clear()

    async def work() -> None:
        async with Pager([fake], store, clock) as pager:
            save(store, pager, foreign())
            assert record(store).due
            assert fake.calls == 0
            fake.gate.set()
            await settled(pager)

    run(work)


def test_a_page_says_what_is_known_when_it_is_sent(store: IncidentStore, clock: Clock, receiver: Receiver) -> None:
    receiver.answers = [500]

    async def work() -> None:
        async with Pager(destinations_of([receiver.url()]), store, clock, intervals_seconds=AT_ONCE) as pager:
            save(store, pager, foreign(turn_lost=False, closed_at_ns=0))
            save_incident(store, foreign())
            await settled(pager)

    run(work)
    receiver.next()
    assert "turn lost" in receiver.next()[1]["title"]


def test_a_bug_in_a_destination_is_no_end_of_the_pager(
    store: IncidentStore, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(Fake):
        def send(self, text: PageText) -> None:
            raise RuntimeError("bug")

    fake = Fake()

    async def work() -> None:
        async with Pager([Broken()], store, clock) as pager:
            save(store, pager, foreign())
            await settled(pager)
            assert pager.status().last_error == "bug"
            assert pager.status().pending == 1
        async with Pager([fake], store, clock) as pager:
            await settled(pager)

    run(work)
    assert fake.calls == 1


def test_the_attempts_end_after_about_five_minutes() -> None:
    assert len(INTERVALS_SECONDS) + 1 == 6
    assert 240 <= sum(INTERVALS_SECONDS) <= 360


def test_a_further_takeover_of_the_session_is_told_by_the_page_of_the_first(
    store: IncidentStore, clock: Clock, receiver: Receiver
) -> None:
    """Issue 5: one page for foreign writes that go on, not one for each."""
    counted: list[str] = []

    async def run() -> None:
        async with Pager(destinations_of([receiver.url()]), store, clock, told=counted.append) as pager:
            save(store, pager, foreign())
            for _ in range(2):
                save(store, pager, foreign("20260101T120500Z-00000002"))
            await settled(pager)

    asyncio.run(run())
    receiver.next()
    assert receiver.received.empty()
    assert sorted(counted) == ["covered", "sent"]


def test_a_takeover_is_told_though_the_incident_and_the_session_were_paged_for_a_storm(
    store: IncidentStore, clock: Clock, receiver: Receiver
) -> None:
    stormy = foreign(verdict=Verdict.CO_TENANT, paged_for=(Subject.STORM,))
    taken = foreign(paged_for=(Subject.STORM, Subject.TAKEOVER))
    further = foreign("20260101T120500Z-00000002")

    async def run() -> None:
        async with Pager(destinations_of([receiver.url()]), store, clock) as pager:
            for incident in (stormy, taken, further):
                save(store, pager, incident)
                await settled(pager)

    asyncio.run(run())
    titles = [receiver.next()[1]["title"] for _ in range(2)]
    assert ["many sessions" in title for title in titles] == [True, False]
    assert "foreign change of a session" in titles[1]
    assert receiver.received.empty()


def test_a_page_that_fell_due_behind_the_pagers_back_is_taken_up_and_sent_once(
    store: IncidentStore, clock: Clock, receiver: Receiver
) -> None:
    """A save that asked for it succeeded where the call that announces it was never reached."""

    async def run() -> None:
        async with Pager(destinations_of([receiver.url()]), store, clock) as pager:
            save_incident(store, foreign())
            pager.take_up()
            pager.take_up()
            assert pager.status().pending == 1
            await settled(pager)
            pager.take_up()
            await settled(pager)

    asyncio.run(run())
    receiver.next()
    assert receiver.received.empty()
    assert record(store).sent


def test_a_page_that_was_taken_and_could_not_be_put_on_record_is_not_sent_again(
    store: IncidentStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = Fake()
    delivered = store.page_delivered

    def full(*_: object) -> None:
        raise StoreWriteError(store.path, "no room")

    async def run() -> None:
        async with Pager([destination], store, clock) as pager:
            monkeypatch.setattr(store, "page_delivered", full)
            save(store, pager, foreign())
            await settled(pager)
            assert (pager.status().pending, pager.status().sent) == (1, 0)
            monkeypatch.setattr(store, "page_delivered", delivered)
            pager.take_up()
            await settled(pager)
            assert (pager.status().pending, pager.status().sent) == (0, 1)

    asyncio.run(run())
    assert destination.calls == 1
    assert record(store).sent


def test_takeovers_that_a_page_given_up_should_have_told_of_get_pages_of_their_own(
    store: IncidentStore, clock: Clock
) -> None:
    destination = Fake(failures=3)

    async def run() -> None:
        async with Pager([destination], store, clock, intervals_seconds=AT_ONCE) as pager:
            save(store, pager, foreign())
            save(store, pager, foreign("20260101T120500Z-00000002"))
            await until(lambda: destination.calls == 4)
            await settled(pager)

    asyncio.run(run())
    later = store.get("20260101T120500Z-00000002")
    assert later is not None
    assert (record(store).gave_up, later.page.sent) == (True, True)

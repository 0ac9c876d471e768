"""The one table of lock holds: what is known of holders, for how long it is kept, and how a recording retells it."""

from sidecar.core import events as ev
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.gateway import Gateway
from sidecar.core.facts.value import replace
from sidecar.core.outcomes import Ending
from sidecar.core.windows.lock_table import MAX_HOLDS, MAX_LOCKS, LockTable
from tests.core.kit import CRON, FILE, LINK, OTHER_LINK, OWN

SEEN = ev.LockFileSeen(file=FILE, pid=4711, exe="/usr/bin/python3", at_ns=5)
TAKEN = ev.LockTaken(file=FILE, hold="h", writer=CRON, wait_ns=0, at_ns=3, link=LINK)


def table(*events: ev.LockTaken | ev.LockFileSeen | ev.LockFileGone) -> LockTable:
    locks = LockTable()
    for event in events:
        match event:
            case ev.LockTaken():
                locks.taken(event)
            case ev.LockFileSeen():
                locks.seen(event)
            case ev.LockFileGone():
                locks.gone(event)
    return locks


def test_holds_that_never_end_are_forgotten_in_the_end() -> None:
    locks = LockTable()
    for number in range(MAX_HOLDS + 5):
        locks.taken(ev.LockTaken(file=FILE, hold=f"h{number}", writer=CRON, wait_ns=0, at_ns=number, link=LINK))
    for number in range(MAX_LOCKS + 5):
        locks.taken(ev.LockTaken(file=f"f{number}", hold="h", writer=CRON, wait_ns=0, at_ns=number, link=LINK))
    assert locks.holder(FILE, None, 0) is None
    assert locks.holder(f"f{MAX_LOCKS}", None, 0) is not None


def test_a_hold_is_that_of_the_link_which_reported_it() -> None:
    locks = table(TAKEN)
    assert locks.is_held(FILE, {LINK})
    assert not locks.is_held(FILE, {OTHER_LINK})
    assert locks.lost(OTHER_LINK, Ending.LINK_LOST, 9) == []
    assert locks.is_held(FILE, {LINK})
    [ended] = locks.lost(LINK, Ending.LINK_LOST, 9)
    assert (ended.writer, ended.since_ns, ended.held_ns, ended.ending) == (CRON, 3, 6, Ending.LINK_LOST)
    assert not locks.is_held(FILE, {LINK})


def test_a_hold_that_was_reported_on_another_link_meanwhile_goes_on() -> None:
    locks = table(TAKEN, replace(TAKEN, link=OTHER_LINK))
    assert locks.lost(LINK, Ending.LINK_LOST, 9) == []
    assert locks.is_held(FILE, {OTHER_LINK})


def test_the_end_of_a_hold_says_who_held_the_lock_before_though_its_link_is_gone() -> None:
    locks = table(TAKEN)
    locks.lost(LINK, Ending.GATEWAY_ENDED, 4)
    locks.taken(replace(TAKEN, link=OTHER_LINK, writer=OWN, wait_ns=2, at_ns=10))
    assert locks.last_holder(FILE) == OWN
    released = ev.LockReleased(
        file=FILE, hold="h", writer=OWN, after=Fingerprint.absent(), held_ns=5, at_ns=15, link=OTHER_LINK
    )
    ended = locks.released(released)
    assert (ended.writer, ended.previous, ended.wait_ns, ended.ending) == (OWN, CRON, 2, Ending.ENDED)
    again = locks.released(released)
    assert (again.since_ns, again.wait_ns, again.previous) == (10, None, None), "its beginning was not reported"


def test_open_holds_are_cut_short_by_the_end_of_the_sidecar() -> None:
    [ended] = table(TAKEN).open_holds(8)
    assert (ended.held_ns, ended.ending) == (5, Ending.SIDECAR_STOPPED)


def test_a_foreign_hold_has_ended_when_the_lock_file_is_gone_and_is_still_known() -> None:
    locks = table(SEEN, ev.LockFileGone(file=FILE, at_ns=8), ev.LockFileGone(file=FILE, at_ns=9))
    foreign = locks.foreign(FILE)
    assert foreign is not None
    assert (foreign.pid, foreign.at_ns, foreign.until_ns) == (4711, 5, 8)


def test_a_process_that_links_is_no_foreign_holder_any_more() -> None:
    locks = table(TAKEN, SEEN)
    locks.linked(Gateway(link=OTHER_LINK, pid=12))
    assert locks.foreign(FILE) is not None
    locks.linked(Gateway(link=OTHER_LINK, pid=4711, pids=(4711, 7)))
    assert locks.foreign(FILE) is None
    assert locks.is_held(FILE, {LINK})


def test_nothing_is_said_of_a_holder_that_can_not_be_seen_and_it_may_be_one_that_links_later() -> None:
    locks = table(replace(SEEN, pid=7, exe="", hidden=True))
    assert locks.foreign(FILE) is None
    last = locks.last_foreign(FILE)
    assert last is not None
    assert (last.pid, last.hidden) == (7, True)
    assert table(*locks.recount(FILE)).last_foreign(FILE) == last
    locks.linked(Gateway(link=OTHER_LINK, pid=7, pids=(7, 1)))
    assert locks.last_foreign(FILE) is not None, "7 is its id here, and 1 is what it writes into a lock file"
    locks.linked(Gateway(link=OTHER_LINK, pid=12, pids=(0, 7)))
    assert locks.last_foreign(FILE) is None


def test_the_holds_that_a_recording_retells_lead_to_the_same_table() -> None:
    for gone in ((), (ev.LockFileGone(file=FILE, at_ns=8),)):
        locks = table(TAKEN, SEEN, *gone)
        told = table(*locks.recount(FILE))
        assert told.foreign(FILE) == locks.foreign(FILE)
        assert told.holder(FILE, None, 0) == locks.holder(FILE, None, 0)
    assert locks.recount("another file") == []

"""Who holds a database: the account of it, what a window's timeline says, and what is told of it."""

from typing import Final

import pytest

from sidecar.core import events as ev
from sidecar.core.facts.database import DatabaseHold, LockError, LockKind
from sidecar.core.facts.gateway import Gateway
from sidecar.core.facts.process import Process
from sidecar.core.facts.reasons import ReasonCode
from sidecar.core.facts.rows import parts_of
from sidecar.core.facts.turn_loss import LossCause, TurnLoss
from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.core.facts.value import replace
from sidecar.core.facts.writer import Writer
from sidecar.core.outcomes import DatabaseLockEnded, ForeignHoldEnded
from sidecar.core.windows.database_locks import MAX_DATABASES, MAX_HOLDS, DatabaseLocks
from sidecar.words import sentence
from tests.core.kit import GATEWAY_PID, LINK, OTHER_LINK, OWN, RUN, WINDOW
from tests.core.test_rows import HELP, TRANSCRIPT, Database

SECOND: Final = NS_PER_SECOND
DATABASE: Final = parts_of(TRANSCRIPT)[0]
BACKUP: Final = DatabaseHold(
    Process(4711, 5, "/usr/bin/python3"), "python3 /opt/backup.py", LockKind.WRITE, 10 * SECOND
)
OURS: Final = DatabaseHold(Process(GATEWAY_PID), "openclaw-gateway", LockKind.WRITE, 10 * SECOND)
OVER: Final = replace(BACKUP, until_ns=17 * SECOND)


def locked(
    at: int = 15, wait: int = 5, held: int = 0, error: LockError | None = None, writer: Writer = OWN
) -> ev.DatabaseLocked:
    """A transaction that was over at that second."""
    return ev.DatabaseLocked(
        database=DATABASE,
        operation="agent.write",
        writer=writer,
        thread=0,
        wait_ns=wait * SECOND,
        held_ns=held * SECOND,
        rows=0,
        error=error,
        at_ns=at * SECOND,
    )


def seen(hold: DatabaseHold, database: str = DATABASE) -> ev.DatabaseHeld:
    return ev.DatabaseHeld(database=database, hold=hold, at_ns=hold.until_ns or hold.since_ns)


@pytest.fixture
def database() -> Database:
    opened = Database()
    opened.begin()
    return opened


def moments(database: Database) -> list[tuple[str, str]]:
    [window] = database.engine.windows
    return [(m.what, m.detail) for m in window.moments if m.what.startswith("database")]


def ended(database: Database, event: ev.DatabaseLocked) -> DatabaseLockEnded:
    database.tell(event)
    [outcome] = database.engine.outcomes
    assert isinstance(outcome, DatabaseLockEnded)
    return outcome


def test_a_transaction_says_who_held_the_lock_before(database: Database) -> None:
    assert ended(database, locked(wait=0, held=1, writer=HELP)).previous is None
    assert ended(database, locked(error=LockError.BUSY)).previous == HELP
    assert ended(database, locked(held=1)).previous == HELP, "who did not have it did not hold it"
    assert ended(database, locked(held=1)).previous == OWN


def test_a_wait_names_the_stranger_that_was_seen_meanwhile(database: Database) -> None:
    database.tell(seen(BACKUP))
    assert ended(database, locked(at=15, wait=5, error=LockError.BUSY)).holder == BACKUP
    assert ended(database, locked(at=9, wait=1)).holder is None, "the wait was over by then"
    database.tell(seen(OVER))
    assert ended(database, locked(at=18, wait=2, held=1)).holder == OVER
    assert ended(database, locked(at=20, wait=2)).holder is None, "it was gone when the wait began"


def test_a_stranger_comes_ahead_of_the_gateways_own_process(database: Database) -> None:
    database.tell(seen(BACKUP))
    database.tell(seen(replace(OURS, since_ns=11 * SECOND)))
    assert ended(database, locked()).holder == BACKUP


def test_what_a_run_waited_for_is_in_its_timeline(database: Database) -> None:
    database.tell(seen(BACKUP))
    database.tell(locked(at=13, wait=3, held=0))
    database.tell(locked(at=16, wait=5, error=LockError.BUSY))
    database.tell(seen(OVER))
    name = "process 4711 (python3 /opt/backup.py)"
    assert moments(database) == [
        ("database held", f"by {name}"),
        ("database lock had", f"after 3.0 s, held by {name}"),
        ("database lock failed", f"busy after 5.0 s, held by {name}"),
        ("database free", f"{name} held it for 7.0 s at least"),
    ]


def test_what_others_waited_for_and_short_waits_are_not(database: Database) -> None:
    database.tell(locked(wait=0, held=1))
    database.tell(locked(error=LockError.BUSY, writer=HELP))
    database.tell(replace(locked(error=LockError.BUSY), database="/elsewhere/openclaw-agent.sqlite"))
    database.tell(seen(replace(BACKUP, kind=LockKind.READ_MARK)))
    database.tell(seen(BACKUP, "/elsewhere/openclaw-agent.sqlite"))
    database.tell(seen(OURS))
    assert moments(database) == []


def test_a_holder_that_was_not_seen_is_not_guessed(database: Database) -> None:
    database.tell(locked(error=LockError.BUSY))
    database.tell(ev.HoldersHidden(database=DATABASE, hidden=True, at_ns=1))
    database.tell(locked(error=LockError.BUSY))
    database.tell(ev.HoldersHidden(database=DATABASE, hidden=False, at_ns=1))
    database.tell(seen(OURS))
    database.tell(locked(error=LockError.BUSY))
    assert [detail.partition(", ")[2] for _, detail in moments(database)] == [
        "nobody was seen to hold it",
        "who held it can't be seen from here",
        f"held by the gateway's own process {GATEWAY_PID} (openclaw-gateway)",
    ]


def test_the_end_of_a_strangers_hold_is_told(database: Database) -> None:
    database.tell(seen(BACKUP))
    assert list(database.engine.database_locks.foreign()) == [(DATABASE, BACKUP)]
    assert not database.engine.outcomes
    database.tell(seen(OVER))
    assert database.engine.outcomes == (ForeignHoldEnded(database=DATABASE, hold=OVER),)
    assert list(database.engine.database_locks.foreign()) == []


@pytest.mark.parametrize(
    ("seen_first", "hidden", "code", "detail"),
    [
        (True, False, ReasonCode.LOST_TO_HOLDER, None),
        (False, True, ReasonCode.LOST_TO_LOCK, ReasonCode.HOLDER_HIDDEN),
        (False, False, ReasonCode.LOST_TO_LOCK, None),
    ],
)
def test_a_turn_that_is_lost_to_the_database_names_its_holder_where_one_was_seen(
    database: Database, *, seen_first: bool, hidden: bool, code: ReasonCode, detail: ReasonCode | None
) -> None:
    if seen_first:
        database.tell(seen(BACKUP))
    database.tell(ev.HoldersHidden(database=DATABASE, hidden=hidden, at_ns=1))
    database.tell(locked(error=LockError.BUSY))
    loss = TurnLoss(LossCause.BUSY)
    lost = ev.TurnLost(link=LINK, window=WINDOW, file=TRANSCRIPT, run=RUN, loss=loss, at_ns=16 * SECOND)
    database.tell(lost)
    database.tell(ev.FenceClosed(window=WINDOW, takeover=False, at_ns=17 * SECOND))
    turn = database.incident.lost
    assert turn is not None
    assert turn.holder == (BACKUP if seen_first else None)
    assert (turn.reason.code, [d.code for d in turn.reason.details]) == (code, [detail] if detail else [])
    if seen_first:
        assert sentence(turn.reason) == (
            "the gateway waited 5.0 s for the database, and process 4711 (python3 /opt/backup.py) held it"
        )


def test_a_process_that_links_is_no_stranger_any_more(database: Database) -> None:
    database.tell(seen(BACKUP))
    database.tell(ev.LinkOpened(gateway=Gateway(OTHER_LINK, 4711, started_at_ns=5), at_ns=1))
    assert list(database.engine.database_locks.foreign()) == []


def test_holds_are_forgotten_in_the_end() -> None:
    locks = DatabaseLocks(lambda _: False)
    for number in range(MAX_HOLDS + 5):
        hold = replace(OVER, process=Process(number + 1), since_ns=number, until_ns=number)
        locks.held(seen(hold))
    assert locks.holder(DATABASE, 0, 4) is None
    assert locks.holder(DATABASE, 0, 5) is not None
    for number in range(MAX_DATABASES):
        locks.held(seen(BACKUP, f"d{number}"))
    assert locks.holder(DATABASE, 0, 5) is None


def test_a_container_is_named_with_its_process() -> None:
    hold = replace(BACKUP, process=Process(7, container="ab" * 32), command="")
    assert hold.label() == "process 7 in container abababababab"

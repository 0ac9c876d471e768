"""Patience with a database that a known process holds: for whom it is granted, when it ends, and what comes of it."""

from typing import Final

import pytest

from sidecar.core import events as ev
from sidecar.core.decisions import Decision, EndPatience, GrantPatience, SaveIncident
from sidecar.core.facts.database import DatabaseHold
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.reasons import ReasonCode
from sidecar.core.facts.turn_loss import LossCause, TurnLoss
from sidecar.core.facts.value import replace
from sidecar.core.policy.blocked import Pause
from sidecar.core.policy.glob import Glob
from sidecar.core.policy.policy import Mode, Patience, Policy
from sidecar.core.verdict.incident import Outcome, Subject
from sidecar.core.verdict.judge import Verdict
from tests.core.kit import LINK, RUN, WINDOW
from tests.core.test_database_locks import BACKUP, OURS, OVER, SECOND, seen
from tests.core.test_rows import TRANSCRIPT, Database, row

POLICY: Final = Policy(patience=Patience(2, (Glob("/usr/bin/python*", path=True),)))
GRANTED: Final = GrantPatience(link=LINK, window=WINDOW, tries=2)
ENDED: Final = EndPatience(link=LINK, window=WINDOW)


def opened(policy: Policy = POLICY, mode: Mode = Mode.RECOVER) -> Database:
    database = Database(policy=policy, mode=mode)
    database.begin()
    return database


def close(database: Database) -> None:
    database.tell(ev.FenceClosed(window=WINDOW, takeover=False, at_ns=30 * SECOND))


def waited(*, had: bool) -> ev.LockWaitEnded:
    return ev.LockWaitEnded(window=WINDOW, had=had, waited_ns=7 * SECOND, at_ns=17 * SECOND)


def commands(decisions: list[Decision]) -> list[Decision]:
    return [d for d in decisions if isinstance(d, GrantPatience | EndPatience)]


@pytest.mark.parametrize("hold", [BACKUP, OURS])
def test_rule_6_a_run_may_wait_for_a_known_holder_and_that_is_on_record_before(hold: DatabaseHold) -> None:
    database = opened()
    saved, granted = database.tell(seen(hold))
    assert isinstance(saved, SaveIncident)
    assert granted == GRANTED
    incident = saved.incident
    assert (incident.verdict, incident.recovery.outcome) == (Verdict.UNCHANGED, Outcome.APPROVED)
    assert incident.grade is Grade.NONE  # nothing was read
    assert incident.reason.code is ReasonCode.DATABASE_HOLDER_KNOWN
    assert incident.paged_for == ()


@pytest.mark.parametrize(
    "hold",
    [
        replace(BACKUP, process=replace(BACKUP.process, exe="/usr/bin/restic")),
        replace(BACKUP, process=replace(BACKUP.process, exe="")),
    ],
)
def test_nobody_waits_for_a_stranger(hold: DatabaseHold) -> None:
    assert opened().tell(seen(hold)) == []


@pytest.mark.parametrize(("policy", "mode"), [(Policy(), Mode.RECOVER), (POLICY, Mode.OBSERVE)], ids=["off", "observe"])
def test_without_leave_nothing_is_granted(policy: Policy, mode: Mode) -> None:
    assert commands(opened(policy, mode).tell(seen(BACKUP))) == []


def test_rule_1_a_window_that_met_a_stranger_is_not_helped() -> None:
    database = opened()
    database.store(row(3, "a stranger's", role="user"))
    database.tick()
    assert database.incident.verdict is Verdict.EXTERNAL
    assert database.tell(seen(BACKUP)) == []


def test_patience_ends_with_the_hold_the_policy_or_by_a_pause() -> None:
    ends = (
        seen(OVER),
        ev.PolicyChanged(policy=Policy(), at_ns=11 * SECOND),
        ev.PauseChanged(pause=Pause("a test", 0, 99 * SECOND), at_ns=11 * SECOND),
    )
    for end in ends:
        database = opened()
        database.tell(seen(BACKUP))
        assert commands(database.tell(end)) == [ENDED]
        assert commands(database.tell(end)) == []


def test_patience_that_was_not_needed_came_to_nothing() -> None:
    database = opened()
    database.tell(seen(BACKUP))
    database.tell(seen(OVER))
    close(database)
    assert (database.incident.recovery.outcome, database.incident.paged_for) == (Outcome.NONE, ())


def test_a_turn_that_went_on_after_it_was_effective() -> None:
    database = opened()
    database.tell(seen(BACKUP))
    database.tell(waited(had=True))
    close(database)
    recovery = database.incident.recovery
    assert (recovery.outcome, recovery.lock_waits) == (Outcome.EFFECTIVE, 1)
    assert database.incident.paged_for == ()


def test_rule_6_patience_in_vain_is_ineffective_and_a_person_is_told() -> None:
    database = opened()
    database.tell(seen(BACKUP))
    database.tell(waited(had=False))
    loss = TurnLoss(LossCause.BUSY)
    database.tell(ev.TurnLost(link=LINK, window=WINDOW, file=TRANSCRIPT, run=RUN, loss=loss, at_ns=18 * SECOND))
    close(database)
    incident = database.incident
    assert (incident.recovery.outcome, incident.turn_lost) == (Outcome.INEFFECTIVE, True)
    assert incident.paged_for == (Subject.RECOVERY,)


def test_a_turn_that_was_lost_without_asking_again_is_no_failure_of_a_command() -> None:
    database = opened()
    database.tell(seen(BACKUP))
    loss = TurnLoss(LossCause.BUSY)
    database.tell(ev.TurnLost(link=LINK, window=WINDOW, file=TRANSCRIPT, run=RUN, loss=loss, at_ns=18 * SECOND))
    close(database)
    assert (database.incident.recovery.outcome, database.incident.paged_for) == (Outcome.NONE, ())

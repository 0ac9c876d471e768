"""Turns that were lost where sessions are in a database: which incident they get, its cause, and who is paged."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.core import events as ev
from sidecar.core.decisions import SaveIncident
from sidecar.core.facts.change import Operation
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.reasons import ReasonCode
from sidecar.core.facts.rows import Row, RowChange, RowSnapshot
from sidecar.core.facts.turn_loss import LossCause, LossDetail, TurnLoss
from sidecar.core.facts.value import replace
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.outcomes import AnyOutcome, ClaimTold, Ending, LossExplained, WindowEnded
from sidecar.core.policy.policy import Mode
from sidecar.core.verdict.incident import Incident, Outcome, Subject
from sidecar.core.verdict.judge import Verdict
from sidecar.core.windows.losses import LOOP_NS
from tests.core.kit import LINK, OTHER_RUN, OWN, RUN, WINDOW, said
from tests.core.test_rows import HELP, TRANSCRIPT, Database, row

BUSY = TurnLoss(LossCause.BUSY)
MIRROR = Writer(WriterKind.MIRROR, "", 100)
STRANGERS_CLAIM = TurnLoss(LossCause.REBOUND, LossDetail.CLAIM, other_run="nobody")


@pytest.fixture
def database() -> Database:
    opened = Database()
    opened.begin()
    return opened


def lose(database: Database, loss: TurnLoss, *, window: str = WINDOW, file: str = TRANSCRIPT) -> list[AnyOutcome]:
    """A run tells what it lost its turn to."""
    database.clock += 1
    database.tell(ev.TurnLost(link=LINK, window=window, file=file, run=RUN, loss=loss, at_ns=database.clock))
    return list(database.engine.outcomes)


def close(database: Database, *, takeover: bool = False, read: bool = True) -> list[AnyOutcome]:
    """The run is done with its window; ahead of that comes a reading, if there is one to be had."""
    database.clock += 1
    if read:
        reading = database.snapshot()
        over = ev.SnapshotTaken(file=TRANSCRIPT, snapshot=reading, over=(WINDOW,), at_ns=database.clock)
        database.tell(over)
    database.clock += 1
    database.tell(ev.FenceClosed(window=WINDOW, takeover=takeover, at_ns=database.clock))
    return list(database.engine.outcomes)


def saved(database: Database) -> dict[str, Incident]:
    """Each incident as it was saved last."""
    return {d.incident.incident_id: d.incident for d in database.decisions if isinstance(d, SaveIncident)}


def again(database: Database, loss: TurnLoss) -> None:
    """The next turn of the session is lost, too."""
    database.commit(OWN, row(len(database.rows), f"question {len(database.rows)}", role="user"))
    database.fence()
    lose(database, loss)
    close(database)


def test_a_turn_that_is_lost_to_a_lock_is_an_incident_although_nothing_was_changed(database: Database) -> None:
    lose(database, BUSY)
    assert saved(database) == {}
    [ended] = [o for o in close(database) if isinstance(o, WindowEnded)]
    incident = database.incident
    assert (incident.verdict, incident.cause, incident.turn_lost) == (Verdict.UNCHANGED, LossCause.BUSY, True)
    assert incident.lost is not None
    assert (incident.lost.reason.code, incident.lost.count) == (ReasonCode.LOST_TO_LOCK, 1)
    assert (incident.recovery.outcome, incident.paged_for) == (Outcome.NONE, ())
    assert incident.recovery.reason is not None
    assert incident.recovery.reason.code is ReasonCode.NO_FENCE_STOPPED_IT
    assert next(m.reason.code for m in incident.timeline if m.reason) is ReasonCode.LOST_TO_LOCK
    assert incident.closed_at_ns
    assert ended.ending is Ending.LOST


def test_where_nobody_could_read_the_rows_after_the_loss_they_are_not_said_to_be_unchanged(database: Database) -> None:
    lose(database, TurnLoss(LossCause.STORAGE, LossDetail.CORRUPT))
    close(database, read=False)
    incident = database.incident
    assert (incident.verdict, incident.grade, incident.turn_lost) == (Verdict.UNATTRIBUTED, Grade.NONE, True)
    assert incident.reason.code is ReasonCode.ROWS_NOT_COMPARED


TIMES = st.integers(10, 20)


@given(lost=TIMES, read=st.none() | TIMES, closed=TIMES, writer=st.sampled_from(["nobody", "co-tenant", "stranger"]))
@example(lost=12, read=20, closed=11, writer="co-tenant")
@example(lost=12, read=20, closed=11, writer="stranger")
def test_an_incident_does_not_end_before_it_begins_whichever_clock_its_times_are_of(
    lost: int, read: int | None, closed: int, writer: str
) -> None:
    """The time of a loss is that of its error, the end's is the gateway's, and a reading's is the sidecar's."""
    database = Database()
    database.begin()
    if writer != "nobody":
        database.store(row(3, "/help", role="user", key="k1"))
    if writer == "co-tenant":
        change = RowChange("r9", Operation.APPEND, HELP, 9, database.version, (database.rows[3],), link=LINK)
        database.handle(ev.FileChanged(file=TRANSCRIPT, change=change))
    database.tell(ev.TurnLost(link=LINK, window=WINDOW, file=TRANSCRIPT, run=RUN, loss=BUSY, at_ns=lost))
    if read is not None:
        over = ev.SnapshotTaken(file=TRANSCRIPT, snapshot=database.snapshot(), over=(WINDOW,), at_ns=read)
        database.tell(over)
    database.tell(ev.FenceClosed(window=WINDOW, takeover=False, at_ns=closed))
    for incident in saved(database).values():
        assert incident.opened_at_ns <= incident.closed_at_ns


def test_a_cause_counts_once_and_the_first_one_stays(database: Database) -> None:
    told = lose(database, BUSY)
    assert [o.cause for o in told if isinstance(o, LossExplained)] == [LossCause.BUSY]
    assert lose(database, STRANGERS_CLAIM) == []
    close(database)
    assert database.incident.cause is LossCause.BUSY


def test_where_custody_is_unknown_a_lost_turn_is_unattributed() -> None:
    database = Database()
    database.store(row(0, "question", role="user"))
    database.engine.handle(
        ev.FenceSet(link=LINK, window=WINDOW, file=TRANSCRIPT, fence=database.version, run=RUN, at_ns=1)
    )
    lose(database, BUSY)
    close(database)
    assert (database.incident.verdict, database.incident.cause) == (Verdict.UNATTRIBUTED, LossCause.BUSY)


def test_a_claim_that_nobody_known_has_made_is_a_takeover_with_one_page(database: Database) -> None:
    lose(database, STRANGERS_CLAIM)
    close(database)
    incident = database.incident
    assert (incident.verdict, incident.cause) == (Verdict.EXTERNAL, LossCause.REBOUND)
    assert incident.paged_for == (Subject.TAKEOVER,)
    assert incident.reason.code is ReasonCode.LOST_TO_STRANGERS_CLAIM
    assert incident.recovery.outcome is Outcome.REFUSED


@pytest.mark.parametrize("known", [True, False])
def test_a_claim_that_is_gone_is_a_takeover_unless_the_gateway_took_it_back(database: Database, *, known: bool) -> None:
    lose(database, TurnLoss(LossCause.REBOUND, LossDetail.CLAIM, known=known))
    close(database)
    incident = database.incident
    if known:
        assert (incident.verdict, incident.paged_for) == (Verdict.UNCHANGED, ())
        assert incident.lost is not None
        assert incident.lost.reason.code is ReasonCode.LOST_TO_REBOUND
    else:
        assert (incident.verdict, incident.paged_for) == (Verdict.EXTERNAL, (Subject.TAKEOVER,))
        assert incident.reason.code is ReasonCode.LOST_TO_REMOVED_CLAIM


@pytest.mark.parametrize("detail", [LossDetail.NONE, LossDetail.SESSION, LossDetail.REVISION, LossDetail.ENTRY])
def test_another_change_of_the_session_wakes_nobody(database: Database, detail: LossDetail) -> None:
    lose(database, TurnLoss(LossCause.REBOUND, detail))
    close(database)
    assert (database.incident.verdict, database.incident.paged_for) == (Verdict.UNCHANGED, ())


@pytest.mark.parametrize("live", [True, False])
def test_a_claim_of_another_run_of_the_gateway_is_told_with_whether_it_runs(database: Database, *, live: bool) -> None:
    lose(database, TurnLoss(LossCause.REBOUND, LossDetail.CLAIM, other_run="run-9", known=True, live=live))
    close(database)
    incident = database.incident
    assert (incident.verdict, incident.paged_for) == (Verdict.UNCHANGED, ())
    assert incident.lost is not None
    expected = ReasonCode.CLAIMANT_RUNS if live else ReasonCode.CLAIMANT_ENDED
    assert [r.code for r in said(incident.lost.reason)] == [ReasonCode.LOST_TO_CLAIM, expected]


def test_a_claim_of_a_run_with_a_window_is_no_strangers(database: Database) -> None:
    database.clock += 1
    database.tell(
        ev.FenceSet(
            link=LINK, window="other", file=TRANSCRIPT, fence=database.version, run=OTHER_RUN, at_ns=database.clock
        )
    )
    lose(database, replace(STRANGERS_CLAIM, other_run=OTHER_RUN.run_id))
    close(database)
    assert database.incident.paged_for == ()


def test_a_session_that_was_reset_is_told_as_reset_and_wakes_nobody(database: Database) -> None:
    lose(database, TurnLoss(LossCause.RESET))
    close(database)
    incident = database.incident
    assert (incident.verdict, incident.cause, incident.paged_for) == (Verdict.RESET, LossCause.RESET, ())


def test_a_strangers_row_stays_a_takeover_whatever_the_turn_was_lost_to(database: Database) -> None:
    database.store(row(3, "a stranger's"))
    database.tick()
    lose(database, BUSY)
    close(database)
    incident = database.incident
    assert (incident.verdict, incident.cause, incident.turn_lost) == (Verdict.EXTERNAL, LossCause.BUSY, True)
    assert incident.paged_for == (Subject.TAKEOVER,)
    assert len(saved(database)) == 1


def test_a_conflict_names_the_row_in_the_way_and_its_writer(database: Database) -> None:
    database.commit(HELP, row(3, "/help", role="user", key="k1"))
    stopped = ev.TurnTripped(
        link=LINK,
        window=WINDOW,
        file=TRANSCRIPT,
        fence=database.engine.windows[0].fence,
        run=RUN,
        at_ns=database.clock,
        snapshot=_snapshot(database),
    )
    database.tell(stopped)
    lose(database, TurnLoss(LossCause.CONFLICT, row=3))
    close(database, takeover=True)
    incident = database.incident
    assert incident.lost is not None
    assert incident.lost.reason.parameters == (("row", 3), ("writer", HELP.label()))
    assert len(saved(database)) == 1


@pytest.mark.parametrize("stranger", [None, 4, 5], ids=["nobody", "behind it", "behind the gateway's"])
@pytest.mark.parametrize("read", [True, False])
def test_what_was_not_read_when_the_turn_was_stopped_is_judged_by_the_reading_after_the_loss(
    database: Database, stranger: int | None, *, read: bool
) -> None:
    """A sidecar that stood still hears of a stopped turn when the gateway has gone on writing."""
    _stopped_unread(database, told=3)
    lose(database, TurnLoss(LossCause.CONFLICT, row=3))
    if stranger == 4:
        database.store(row(4, "a stranger's"))
    _told(database, MIRROR, row(4 if stranger != 4 else 5, "an error of the gateway", role="assistant", injected=True))
    if stranger == 5:
        database.store(row(5, "a stranger's"))
    close(database, takeover=True, read=read)
    incident = database.incident
    expected = Verdict.UNATTRIBUTED if not read else Verdict.CO_TENANT if stranger is None else Verdict.EXTERNAL
    assert (incident.verdict, incident.turn_lost) == (expected, True)
    assert incident.paged_for == ((Subject.TAKEOVER,) if expected is Verdict.EXTERNAL else ())
    assert incident.recovery.outcome is (Outcome.REFUSED if expected is Verdict.EXTERNAL else Outcome.NOT_ATTEMPTED)


def test_a_row_in_the_way_that_nobody_reported_stays_unattributed_although_it_is_gone_again(database: Database) -> None:
    _stopped_unread(database, told=3)
    lose(database, TurnLoss(LossCause.CONFLICT, row=4))
    close(database, takeover=True)
    assert database.incident.verdict is Verdict.UNATTRIBUTED


def _told(database: Database, writer: Writer, added: Row) -> None:
    """A linked process commits a row; it is not read for that."""
    database.store(added)
    database.clock += 1
    change = RowChange(
        f"r{database.clock}", Operation.APPEND, writer, database.clock, database.version, (added,), link=LINK
    )
    database.handle(ev.FileChanged(file=TRANSCRIPT, change=change))


def _stopped_unread(database: Database, told: int) -> None:
    """The gateway's own fence stops the turn for a command, and by then the transcript is another again."""
    _told(database, HELP, row(told, "/help", role="user", key="k1"))
    database.clock += 1
    unread = RowSnapshot(database.version, uid=0, problem="it has changed since the turn was stopped")
    fence = database.engine.windows[0].fence
    database.tell(
        ev.TurnTripped(
            link=LINK, window=WINDOW, file=TRANSCRIPT, fence=fence, run=RUN, at_ns=database.clock, snapshot=unread
        )
    )


def _snapshot(database: Database) -> RowSnapshot:
    return RowSnapshot(database.version, tuple(database.rows[seq] for seq in sorted(database.rows)), uid=0)


def test_a_row_in_the_way_that_nobody_reported_is_said_to_be_that(database: Database) -> None:
    lose(database, TurnLoss(LossCause.CONFLICT, row=3))
    close(database)
    assert database.incident.lost is not None
    assert database.incident.lost.reason.code is ReasonCode.LOST_TO_UNREPORTED_ROW


def test_tools_whose_result_was_not_stored_are_named(database: Database) -> None:
    lose(database, replace(BUSY, tools=("exec", "message")))
    close(database)
    assert database.incident.lost is not None
    assert database.incident.lost.tools == ("exec", "message")


def test_a_session_that_loses_turns_to_the_same_cause_again_has_one_incident_with_a_count(database: Database) -> None:
    lose(database, replace(BUSY, tools=("exec",)))
    close(database)
    again(database, replace(BUSY, tools=("write",)))
    again(database, BUSY)
    [incident] = saved(database).values()
    assert incident.lost is not None
    assert (incident.lost.count, incident.lost.tools) == (3, ("exec", "write"))
    assert [m.what for m in incident.timeline].count("turn lost again") == 2


def test_a_turn_in_a_loop_counts_once_although_it_is_read_ahead_of_its_end(database: Database) -> None:
    lose(database, BUSY)
    close(database)
    database.commit(OWN, row(3, "question 3", role="user"))
    database.fence()
    lose(database, BUSY)
    database.store(row(4, "an error of the gateway", role="assistant", injected=True))
    change = RowChange("r9", Operation.APPEND, HELP, 9, database.version, (database.rows[4],), link=LINK)
    database.handle(ev.FileChanged(file=TRANSCRIPT, change=change))
    reading = database.snapshot()
    database.tell(ev.SnapshotTaken(file=TRANSCRIPT, snapshot=reading, over=(WINDOW,), at_ns=10))
    close(database)
    [incident] = saved(database).values()
    assert incident.lost is not None
    assert incident.lost.count == 2


def test_what_is_met_between_the_loss_and_the_end_of_its_window_has_the_cause_too(database: Database) -> None:
    lose(database, BUSY)
    database.command(3)
    close(database)
    incident = database.incident
    assert (incident.verdict, incident.cause, incident.turn_lost) == (Verdict.CO_TENANT, LossCause.BUSY, True)


def test_a_strangers_claim_again_and_again_is_paged_once(database: Database) -> None:
    lose(database, STRANGERS_CLAIM)
    close(database)
    again(database, STRANGERS_CLAIM)
    [incident] = saved(database).values()
    assert incident.lost is not None
    assert (incident.lost.count, incident.paged_for) == (2, (Subject.TAKEOVER,))


@pytest.mark.parametrize("loss", [TurnLoss(LossCause.STORAGE, LossDetail.FULL), None], ids=["another cause", "later"])
def test_another_cause_or_one_long_after_is_another_incident(database: Database, loss: TurnLoss | None) -> None:
    lose(database, BUSY)
    close(database)
    if loss is None:
        database.clock += LOOP_NS + 1
    again(database, loss or BUSY)
    assert len(saved(database)) == 2


def test_a_turn_that_is_lost_ahead_of_its_window_has_an_incident_of_its_own(database: Database) -> None:
    loss = TurnLoss(LossCause.ADMISSION, LossDetail.START)
    lose(database, loss, window="")
    lose(database, loss, window="")
    [incident] = saved(database).values()
    assert (incident.session_file, incident.verdict, incident.grade) == (TRANSCRIPT, Verdict.UNCHANGED, Grade.NONE)
    assert (incident.cause, incident.turn_lost, incident.window) == (LossCause.ADMISSION, True, "")
    assert incident.closed_at_ns
    assert incident.lost is not None
    assert incident.lost.count == 2
    assert incident.run == RUN


def test_a_turn_of_an_unknown_transcript_is_counted_and_no_incident(database: Database) -> None:
    told = lose(database, BUSY, window="", file="")
    assert [o.cause for o in told if isinstance(o, LossExplained)] == [LossCause.BUSY]
    assert saved(database) == {}


def test_an_approval_that_nobody_asked_for_is_nothing_that_failed(database: Database) -> None:
    database.command(3)
    assert database.approvals
    lose(database, TurnLoss(LossCause.RESET))
    close(database)
    assert (database.incident.recovery.outcome, database.incident.paged_for) == (Outcome.NONE, ())


def test_a_turn_that_is_lost_after_a_recovery_was_applied_is_one_without_effect(database: Database) -> None:
    database.command(3)
    database.applied("e3", "e4")
    lose(database, BUSY)
    close(database)
    assert database.incident.recovery.outcome is Outcome.INEFFECTIVE
    assert database.incident.paged_for == (Subject.RECOVERY,)


def test_what_a_co_tenant_wrote_behind_the_fence_is_in_the_incident_of_the_lost_turn() -> None:
    database = Database(mode=Mode.OBSERVE)
    database.begin()
    database.command(3)
    lose(database, BUSY)
    close(database)
    incident = database.incident
    assert (incident.verdict, incident.cause) == (Verdict.CO_TENANT, LossCause.BUSY)
    assert [writer.name for writer in incident.writers] == ["help"]


def test_a_transcript_that_the_gateway_removed_is_reset(database: Database) -> None:
    database.rows.clear()
    database.report(HELP, operation=Operation.REMOVE)
    lose(database, TurnLoss(LossCause.REBOUND, LossDetail.SESSION))
    close(database)
    assert (database.incident.verdict, database.incident.cause) == (Verdict.RESET, LossCause.REBOUND)


def test_a_claim_is_a_line_in_the_windows_of_its_session(database: Database) -> None:
    database.tell(
        ev.WriterClaimed(
            link=LINK, session=RUN.session, run_id="run-2", previous=RUN.run_id, superseded=True, at_ns=database.clock
        )
    )
    [told] = [o for o in database.engine.outcomes if isinstance(o, ClaimTold)]
    assert (told.run_id, told.previous, told.superseded) == ("run-2", RUN.run_id, True)
    lose(database, TurnLoss(LossCause.SUPERSEDED, other_run="run-2", known=True, live=True))
    close(database)
    incident = database.incident
    assert (incident.cause, incident.paged_for) == (LossCause.SUPERSEDED, ())
    [line] = [m.detail for m in incident.timeline if m.what == "session claimed"]
    assert line == f"by run run-2, in place of run {RUN.run_id}, which was stopped"


def test_a_claim_is_a_line_in_the_window_that_its_run_opens_after_it() -> None:
    database = Database()
    claim = ev.WriterClaimed(
        link=LINK, session=RUN.session, run_id=RUN.run_id, previous="run-0", superseded=False, at_ns=0
    )
    database.tell(claim)
    database.begin()
    lose(database, BUSY)
    close(database)
    assert [m.detail for m in database.incident.timeline if m.what == "session claimed"] == [
        f"by run {RUN.run_id}, in place of run run-0"
    ]

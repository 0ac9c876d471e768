"""The tables of a window's life, and what the engine makes of a step that they do not allow."""

import pytest

from sidecar.core.decisions import AnswerWait, Approve, Refuse, ReportIllegalStep, Withdraw
from sidecar.core.errors import IllegalStepError
from sidecar.core.events import PolicyChanged
from sidecar.core.facts.value import replace
from sidecar.core.policy.policy import Policy
from sidecar.core.verdict.incident import Outcome
from sidecar.core.windows.life import Approval, Behind, Custody, Life, State, Step, sides
from tests.core.kit import OTHER_RUN, WINDOW, Bench, fenced, only

KNOWN = State(custody=Custody.KNOWN)


def ready(*steps: Step) -> State:
    """A window whose fence is known, after these steps."""
    state = KNOWN
    for step in steps:
        state = state.after(step, WINDOW)
    return state


@pytest.mark.parametrize("custody", [Custody.AWAITED, Custody.LOST])
def test_nothing_is_approved_while_custody_is_not_known(custody: Custody) -> None:
    with pytest.raises(IllegalStepError, match=custody.value):
        State(custody=custody).after(Step.APPROVED, WINDOW)


def test_a_reading_brings_back_no_custody_that_was_lost() -> None:
    with pytest.raises(IllegalStepError, match="lost"):
        ready(Step.CUSTODY_LOST).after(Step.READ, WINDOW)


@pytest.mark.parametrize("again", [Step.ESTABLISHED, Step.UNESTABLISHED])
def test_a_fence_that_is_named_again_brings_back_lost_custody(again: Step) -> None:
    assert ready(Step.CUSTODY_LOST, again).custody is not Custody.LOST


@pytest.mark.parametrize("step", Step)
def test_a_window_that_is_over_takes_no_step(step: Step) -> None:
    with pytest.raises(IllegalStepError, match="over"):
        ready(Step.ENDED).after(step, WINDOW)


def test_a_window_is_over_only_when_the_history_of_its_recoveries_was_read() -> None:
    ended = ready(Step.ENDED_UNPROVEN)

    assert ended.life is Life.UNPROVEN
    assert ended.after(Step.HISTORY_READ, WINDOW).life is Life.OVER


def test_a_recovery_is_counted_once_for_each_fence() -> None:
    approved = ready(Step.APPROVED, Step.WITHDRAWN)

    assert approved.approval is Approval.COUNTED
    assert approved.after(Step.ESTABLISHED, WINDOW).approval is Approval.COUNTED, "the same fence, named again"
    assert approved.after(Step.FENCE_MOVED, WINDOW).approval is Approval.NONE


def test_a_takeover_that_was_taken_in_is_told_once() -> None:
    told = ready(Step.LEFT_BEHIND, Step.TAKEN_IN)

    assert told.behind is Behind.TOLD
    with pytest.raises(IllegalStepError, match="told"):
        told.after(Step.LEFT_BEHIND, WINDOW)


@pytest.mark.parametrize("late", [(Step.STOPPED, Step.STOPPED), (Step.APPROVED, Step.WITHDRAWN, Step.ANSWERED)])
def test_what_comes_late_by_nature_changes_nothing(late: tuple[Step, ...]) -> None:
    assert ready(*late) == ready(*late[:-1])


def test_the_error_names_window_state_and_step() -> None:
    with pytest.raises(IllegalStepError, match=f"window {WINDOW}: no step 'history read' while it is 'open'"):
        KNOWN.after(Step.HISTORY_READ, WINDOW)


def test_every_entry_leads_to_a_state_of_its_table() -> None:
    for table, _state in sides(KNOWN):
        assert all(following in table for row in table.values() for following in row.values())


def lost_its_way(bench: Bench, state: State) -> None:
    """The core takes the window for something that it is not."""
    window = bench.engine.registry.windows[WINDOW]
    window.state, window.approved = state, bench.disk.fingerprint


@pytest.mark.parametrize("state", [State(Life.OVER), State(Life.UNPROVEN), State(approval=Approval.STANDING)])
def test_an_illegal_step_is_answered_with_no_and_costs_its_window_the_custody_and_no_other(state: State) -> None:
    bench = fenced()
    bench.fence("another", OTHER_RUN)
    bench.cotenant(b"digest\n")
    lost_its_way(bench, replace(state, custody=Custody.AWAITED))

    answer = bench.ask()

    withdrawn, report = bench.made(Withdraw)[0], bench.made(ReportIllegalStep)[0]
    assert isinstance(answer, Refuse)
    assert withdrawn.window == report.window == WINDOW
    custody = {w.window_id: w.state.custody for w in bench.engine.windows}
    assert custody == {WINDOW: Custody.LOST, "another": Custody.KNOWN}
    assert isinstance(bench.ask("another", run=OTHER_RUN), Approve), "the sidecar goes on"
    bench.fence()
    assert bench.engine.windows[0].state.custody is not Custody.LOST, "the next fence starts anew"


def test_a_run_that_waits_for_the_lock_is_answered_all_the_same() -> None:
    bench = fenced()
    lost_its_way(bench, State(Life.OVER))

    answer = next(d for d in bench.time_out(unheard=True) if isinstance(d, AnswerWait))

    assert not answer.granted
    assert len(bench.made(ReportIllegalStep)) == 1


def test_a_turn_that_was_stopped_is_given_no_approval_and_so_none_without_effect() -> None:
    bench = fenced(policy=only())
    bench.cotenant(b"digest\n")
    bench.trip()
    bench.handle(PolicyChanged(policy=Policy(), at_ns=bench.now()))
    bench.cotenant(b"another\n")

    bench.look()
    bench.close(takeover=True)

    assert bench.approvals == []
    assert bench.incident.turn_lost
    assert bench.incident.recovery.outcome is not Outcome.INEFFECTIVE

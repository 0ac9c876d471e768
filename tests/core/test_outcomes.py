"""What came of things, said once each for whoever listens."""

from typing import TypeVar

import pytest

from sidecar.core import events as ev
from sidecar.core import outcomes as out
from sidecar.core.decisions import Approve, Decision
from sidecar.core.facts.loss import Loss
from sidecar.core.outcomes import Answer, Ending, LockTimeout, TakeoverSource
from sidecar.core.policy.blocked import BlockReason, Pause
from sidecar.core.policy.policy import Mode
from sidecar.core.verdict.incident import Outcome
from sidecar.core.verdict.judge import Verdict
from tests.core import kit
from tests.core.kit import CRON, FILE, LINK, OTHER_LINK, OWN, RUN, WINDOW

_OutcomeT = TypeVar("_OutcomeT", bound=out.AnyOutcome)

NOTE = b'{"type":"message","id":"n1"}\n'
SECOND = 1_000_000_000


class Bench(kit.Bench):
    """A bench that listens."""

    def __init__(self, mode: Mode = Mode.RECOVER) -> None:
        self.heard: list[out.AnyOutcome] = []
        super().__init__(mode=mode)

    def tell(self, event: ev.Event) -> list[Decision]:
        decisions = super().tell(event)
        self.heard += self.engine.outcomes
        return decisions

    def said(self, kind: type[_OutcomeT]) -> list[_OutcomeT]:
        return [outcome for outcome in self.heard if isinstance(outcome, kind)]

    def judged(self) -> list[tuple[Verdict | None, str]]:
        return [(o.verdict, c.writer.kind.value) for o in self.said(out.ChangesJudged) for c in o.changes]

    def log(self, at_ns: int, file: str = FILE, *, takeover: bool = True) -> None:
        """The gateway's log has a line about a turn."""
        self.handle(
            ev.GatewayLogged(
                file=file, run_id="", session="", what="lane task error", waited_ns=0, at_ns=at_ns, takeover=takeover
            )
        )


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.fence()
    return made


def recovered(bench: Bench, *records: str) -> None:
    bench.cotenant(NOTE)
    answer = bench.ask()
    assert isinstance(answer, Approve)
    bench.apply(answer, *records)


def test_a_window_is_said_when_it_opens_and_when_it_ends(bench: Bench) -> None:
    bench.close()
    (opened,), (ended,) = bench.said(out.WindowOpened), bench.said(out.WindowEnded)
    assert (opened.window, opened.run, opened.partial) == (WINDOW, RUN, False)
    assert (ended.ending, ended.run, ended.incident, ended.final) == (Ending.ENDED, RUN, None, True)
    assert ended.opened_at_ns == opened.at_ns < ended.at_ns


def test_outcomes_are_of_the_last_event_alone(bench: Bench) -> None:
    bench.engine.handle(ev.TimePassed(at_ns=bench.now()))
    assert bench.engine.outcomes == ()


def test_a_window_that_opened_unseen_is_partial() -> None:
    bench = Bench()
    bench.ask(fence=bench.disk.fingerprint)
    bench.close()
    assert [o.partial for o in bench.said(out.WindowOpened)] == [True]
    assert [o.partial for o in bench.said(out.WindowEnded)] == [True]


@pytest.mark.parametrize(("clean", "ending"), [(True, Ending.GATEWAY_ENDED), (False, Ending.LINK_LOST)])
def test_a_lost_link_ends_its_windows(bench: Bench, ending: Ending, *, clean: bool) -> None:
    bench.handle(ev.LinkLost(link=LINK, clean=clean, at_ns=bench.now()))
    assert [o.ending for o in bench.said(out.WindowEnded)] == [ending]
    assert [o.loss for o in bench.said(out.CustodyLost)] == ([] if clean else [Loss.LINK_LOST])


def test_a_window_of_a_gateway_that_linked_anew_outlives_the_old_link(bench: Bench) -> None:
    bench.handle(ev.LinkOpened(gateway=kit.gateway(OTHER_LINK), at_ns=bench.now()))
    bench.fence(link=OTHER_LINK)
    bench.handle(ev.LinkLost(link=LINK, clean=False, at_ns=bench.now()))
    assert bench.said(out.WindowEnded) == []


def test_a_change_is_judged_once_with_the_verdict_on_its_window(bench: Bench) -> None:
    recovered(bench)
    bench.close()
    assert bench.judged() == [(Verdict.CO_TENANT, "cron")]


def test_what_nobody_had_to_judge_is_the_runs_own_or_passed(bench: Bench) -> None:
    bench.write(OWN, NOTE)
    bench.write(CRON, NOTE)
    assert bench.judged() == []
    bench.fence()
    bench.write(OWN, NOTE)
    bench.close()
    assert bench.judged() == [(Verdict.OWN, "user_turn"), (None, "cron"), (Verdict.OWN, "user_turn")]


def test_a_change_outside_of_any_window_is_not_judged() -> None:
    bench = Bench()
    bench.write(CRON, NOTE)
    bench.fence()
    bench.close()
    assert bench.judged() == []


def test_bytes_without_a_writer_are_found_once(bench: Bench) -> None:
    bench.disk.append(NOTE, foreign=999)
    bench.look()
    bench.ask()
    bench.trip()
    bench.close(takeover=True)
    (found,) = bench.said(out.UnexplainedFound)
    assert (found.verdict, found.first) == (Verdict.EXTERNAL, True)
    assert [r.length for r in found.ranges] == [len(NOTE)]


def test_what_a_fence_took_in_leaves_later_changes_to_their_own_verdict(bench: Bench) -> None:
    bench.disk.append(NOTE, foreign=999)
    bench.write(OWN, NOTE)
    bench.fence()
    bench.look()
    bench.write(CRON, NOTE)
    bench.close()
    assert [o.verdict for o in bench.said(out.UnexplainedFound)] == [Verdict.EXTERNAL]
    assert [(o.verdict, o.answer) for o in bench.said(out.VerdictGiven)] == [(Verdict.EXTERNAL, Answer.NONE)]
    assert bench.judged() == [(Verdict.OWN, "user_turn"), (None, "cron")]


def test_a_verdict_is_given_with_its_answer(bench: Bench) -> None:
    recovered(bench)
    (given,) = bench.said(out.VerdictGiven)
    assert (given.verdict, given.answer) == (Verdict.CO_TENANT, Answer.APPROVED)
    bench.disk.append(NOTE, foreign=999)
    bench.ask()
    refused = bench.said(out.VerdictGiven)[-1]
    assert (refused.verdict, refused.answer) == (Verdict.EXTERNAL, Answer.REFUSED)


def test_a_verdict_that_nobody_asked_for_is_given_once(bench: Bench) -> None:
    bench.disk.append(NOTE, foreign=999)
    bench.look()
    bench.trip()
    (given,) = bench.said(out.VerdictGiven)
    assert (given.verdict, given.answer) == (Verdict.EXTERNAL, Answer.NONE)


def test_an_incident_says_each_verdict_and_outcome_once(bench: Bench) -> None:
    recovered(bench)
    recovered(bench)
    bench.close()
    changed = bench.said(out.IncidentChanged)
    assert [c.incident.verdict for c in changed if c.new_verdict] == [Verdict.CO_TENANT]
    reached = [c.incident.recovery.outcome for c in changed if c.new_outcome]
    assert reached == [Outcome.APPROVED, Outcome.APPLIED, Outcome.EFFECTIVE]
    assert changed[-1].incident.closed_at_ns > 0


def test_what_withheld_a_recovery_is_said_once_for_each_incident() -> None:
    bench = Bench(mode=Mode.OBSERVE)
    bench.fence()
    bench.cotenant(NOTE)
    bench.ask()
    bench.ask()
    assert [o.hold for o in bench.said(out.RecoveryWithheld)] == [BlockReason.OBSERVE]


def test_a_pause_and_a_mode_withhold_one_recovery_for_two_reasons(bench: Bench) -> None:
    bench.cotenant(NOTE)
    pause = Pause("upgrade", bench.now(), bench.now() + 3600 * SECOND)
    bench.handle(ev.PauseChanged(pause=pause, at_ns=bench.now()))
    bench.ask()
    bench.engine.gate.mode = Mode.OBSERVE
    bench.ask()
    assert [o.hold for o in bench.said(out.RecoveryWithheld)] == [BlockReason.PAUSE, BlockReason.OBSERVE]


def test_the_preloads_answer_to_a_command_is_said_with_the_run(bench: Bench) -> None:
    recovered(bench, "n1")
    (answered,) = bench.said(out.RecoveryAnswered)
    assert (answered.run, answered.answer.applied, answered.answer.records) == (RUN, True, ("n1",))


def test_a_window_whose_history_is_read_is_final_after_that(bench: Bench) -> None:
    recovered(bench, "n1")
    bench.close()
    assert [o.final for o in bench.said(out.WindowEnded)] == [False]
    bench.handle(ev.LineageChecked(window=WINDOW, missing=("n1",), at_ns=bench.now()))
    assert [o.incident.recovery.outcome for o in bench.said(out.WindowSettled)] == [Outcome.INEFFECTIVE]


def test_a_lost_turn_is_one_however_often_it_is_reported(bench: Bench) -> None:
    bench.disk.append(NOTE, foreign=999)
    bench.trip()
    bench.trip()
    bench.close(takeover=True)
    bench.close(takeover=True)
    (lost,) = bench.said(out.TurnLost)
    assert (lost.verdict, lost.at_ns > 0) == (Verdict.EXTERNAL, True)


def test_a_turn_lost_without_an_incident_has_no_verdict(bench: Bench) -> None:
    bench.close(takeover=True)
    bench.close("unseen", takeover=True)
    assert [(o.window, o.verdict) for o in bench.said(out.TurnLost)] == [(WINDOW, None), ("unseen", None)]


def test_a_trip_the_end_of_its_window_and_two_lines_of_the_log_are_one_takeover(bench: Bench) -> None:
    bench.trip()
    bench.close(takeover=True)
    bench.log(bench.now())
    bench.log(bench.now())
    assert [o.source for o in bench.said(out.TakeoverReported)] == [TakeoverSource.FENCE]


def test_the_log_may_report_a_takeover_first_and_alone(bench: Bench) -> None:
    bench.log(bench.now())
    bench.trip()
    bench.log(bench.now(), "/state/agents/main/sessions/other.jsonl")
    bench.log(bench.now(), "/state/agents/main/sessions/third.jsonl", takeover=False)
    assert [o.source for o in bench.said(out.TakeoverReported)] == [TakeoverSource.LOG, TakeoverSource.LOG]


def test_the_same_file_may_be_taken_over_again() -> None:
    bench = Bench()
    bench.log(bench.now())
    bench.log(bench.now() + 61 * SECOND)
    assert len(bench.said(out.TakeoverReported)) == 2


def test_each_run_that_is_stopped_is_a_takeover(bench: Bench) -> None:
    bench.fence("w2", kit.OTHER_RUN)
    bench.close(takeover=True)
    bench.close("w2", takeover=True)
    assert len(bench.said(out.TakeoverReported)) == 2


def test_a_lock_timeout_is_settled_by_the_refusal_or_the_end_of_the_wait(bench: Bench) -> None:
    bench.time_out(kit.STRANGER.pid)
    bench.wait_ended(had=True)
    bench.wait_ended(had=False)
    settled = [o.result for o in bench.said(out.LockTimeoutSettled)]
    assert settled == [LockTimeout.REFUSED, LockTimeout.FORGIVEN, LockTimeout.GIVEN_UP]


def test_lost_custody_names_its_class_and_the_windows_that_it_touches(bench: Bench) -> None:
    bench.lose(loss=Loss.RENAMED, file="/elsewhere.jsonl")
    bench.lose(loss=Loss.OVERFLOW)
    assert [(o.loss, o.windows) for o in bench.said(out.CustodyLost)] == [
        (Loss.RENAMED, ()),
        (Loss.OVERFLOW, (WINDOW,)),
    ]

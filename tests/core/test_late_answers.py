"""A gateway waits 250 ms for an answer and goes on: what is recorded of a command that comes too late."""

import pytest

from sidecar.core import events as ev
from sidecar.core.decisions import Approve
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.policy.policy import Mode
from sidecar.core.verdict.incident import Outcome, Subject
from sidecar.core.verdict.judge import Verdict
from sidecar.core.windows.late_answers import CAUSE_NS
from sidecar.words import detail, sentence
from tests.core.kit import CRON, WINDOW, Bench, fenced, said
from tests.core.kit import asked as question

RECORD = b'{"type":"message","id":"note"}\n'
MS = 1_000_000


class Slow(Bench):
    """A bench with a window that a co-tenant has written to, and a sidecar that may be slow."""

    def __init__(self, mode: Mode = Mode.RECOVER) -> None:
        super().__init__(mode=mode)
        self.fence()
        self.cotenant(RECORD)

    def stop_waiting(self, ask: str, waited_ns: int = 250 * MS) -> None:
        """The gateway waits no longer, or the answer has come after that."""
        at_ns = self.now()
        self.handle(ev.AnswerLate(ask=ask, window=WINDOW, waited_ns=waited_ns, at_ns=at_ns, heard_ns=at_ns))

    def halt(self, ns: int = 400 * MS) -> None:
        """The sidecar does not run for so long."""
        since_ns = self.now()
        self.pass_time(ns)
        self.handle(ev.SidecarHalted(since_ns=since_ns, at_ns=self.now()))

    def ask_again(self, ask: str) -> None:
        """The question with this id reaches the core."""
        (window,) = self.engine.windows
        self.handle(question(window.fence, self.disk.snapshot, self.now(), ask=ask))

    def moments(self) -> dict[str, str]:
        return {moment.what: detail(moment) for moment in self.incident.timeline}


def asked(bench: Slow) -> str:
    """A question that is answered with yes."""
    answer = bench.ask()
    assert isinstance(answer, Approve)
    return answer.ask


def test_a_turn_that_was_lost_because_the_answer_was_late_is_late_counted_and_not_paged() -> None:
    bench = Slow()
    bench.stop_waiting(asked(bench))
    assert bench.incident.recovery.outcome is Outcome.LATE
    bench.trip()
    bench.close(takeover=True)

    assert bench.incident.verdict is Verdict.CO_TENANT
    assert bench.incident.recovery.outcome is Outcome.LATE
    assert bench.incident.turn_lost
    assert bench.pages == []
    slow = Reason(ReasonCode.SIDECAR_SLOW)
    assert bench.incident.recovery.reason == Reason.of(ReasonCode.ANSWERED_TOO_LATE, slow, waited_ns=250 * MS)


def test_a_halt_of_the_sidecar_is_named_as_the_cause_with_its_times() -> None:
    bench = Slow()
    bench.halt()
    bench.stop_waiting(asked(bench))
    halted = "the sidecar was not running for 0.4 s, from 22:13:20."
    assert halted in sentence(bench.incident.recovery.reason)
    assert bench.moments()["sidecar not running"].startswith(halted)
    assert bench.moments()["no answer in time"] == "the gateway went on after 250 ms"


def test_a_halt_of_long_ago_is_not_the_cause() -> None:
    bench = Slow()
    bench.halt()
    bench.pass_time(2 * CAUSE_NS)
    bench.stop_waiting(asked(bench))
    assert Reason(ReasonCode.SIDECAR_SLOW) in said(bench.incident.recovery.reason)


@pytest.mark.parametrize("closed", [False, True])
def test_how_late_the_answer_came_is_said_also_when_the_turn_is_over(closed: bool) -> None:  # noqa: FBT001 - a parameter
    bench = Slow()
    ask = asked(bench)
    bench.stop_waiting(ask)
    bench.trip()
    if closed:
        bench.close(takeover=True)
    bench.stop_waiting(ask, 430 * MS)
    assert bench.moments()["answer came late"] == "it came 180 ms after the gateway had stopped waiting"
    assert Reason.of(ReasonCode.ANSWER_CAME_AFTER, after_ns=180 * MS) in said(bench.incident.recovery.reason)
    assert bench.incident.recovery.outcome is Outcome.LATE
    assert bench.pages == []


def test_a_question_that_is_judged_only_after_the_gateway_went_on_gets_no_command() -> None:
    """Other links had to be heard first, say."""
    bench = Slow()
    bench.stop_waiting("a1")
    bench.ask_again("a1")
    assert bench.approvals == []
    assert bench.incident.recovery.outcome is Outcome.LATE


def test_a_question_that_never_came_to_be_judged_is_late_too() -> None:
    bench = Slow()
    bench.stop_waiting("a1")
    bench.trip()
    assert bench.incident.recovery.outcome is Outcome.LATE
    assert bench.incident.turn_lost
    assert bench.pages == []


def test_a_takeover_is_paged_however_late_the_answer_was() -> None:
    bench = Slow()
    bench.disk.append(b'{"type":"message","id":"strange"}\n', foreign=1)
    answer = bench.ask()
    bench.stop_waiting(answer.ask)
    bench.trip()
    assert bench.incident.recovery.outcome is Outcome.REFUSED
    assert [page.about for page in bench.pages] == [Subject.TAKEOVER]


def test_a_turn_that_went_on_without_the_answer_did_not_need_it() -> None:
    bench = Slow()
    bench.stop_waiting(asked(bench))
    bench.close()
    assert bench.incident.recovery.outcome is Outcome.NONE
    assert not bench.incident.turn_lost


def test_a_sidecar_that_only_observes_is_never_late() -> None:
    bench = Slow(Mode.OBSERVE)
    bench.stop_waiting("a1")
    bench.ask_again("a1")
    bench.trip()
    assert bench.incident.recovery.outcome is Outcome.NOT_ATTEMPTED


def test_leave_to_wait_for_the_lock_can_come_too_late_as_well() -> None:
    bench = fenced()
    bench.take_lock(CRON)
    bench.time_out()
    at_ns = bench.now()
    bench.handle(ev.AnswerLate(ask="a1", window=WINDOW, waited_ns=250 * MS, at_ns=at_ns, heard_ns=at_ns))
    bench.close(takeover=True)
    assert bench.incident.recovery.outcome is Outcome.LATE
    assert bench.incident.turn_lost
    assert bench.pages == []


def test_nothing_is_made_of_a_window_that_is_not_known() -> None:
    assert Bench().handle(ev.AnswerLate(ask="a1", window="w0", waited_ns=1, at_ns=1, heard_ns=1)) == []

from pathlib import Path

import pytest

from sidecar.core.facts.gateway import Gateway, Run
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.process import Ancestor, Process, Tool
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.span import Unit
from sidecar.core.facts.turn_loss import LossCause
from sidecar.core.facts.value import replace
from sidecar.core.policy.blocked import BlockReason
from sidecar.core.verdict.incident import Incident, Outcome, Recovery, Subject, UnexplainedRange
from sidecar.core.verdict.judge import Verdict
from sidecar.notify import words
from sidecar.notify.text import PageText
from sidecar.notify.text import page_text as text_of
from sidecar.words import EVIDENCE, OUTCOMES, UNHEEDED, change, outcome
from tests.store.samples import NOON, SECOND, SESSION_FILE, foreign, lost, recovered

HEAD = "12:0123456789abcdef"


def page_text(incident: Incident, about: Subject, host: str) -> PageText:
    return text_of(incident, about, host, HEAD)


def test_a_page_says_what_happened_what_it_cost_and_what_to_do_first() -> None:
    text = page_text(foreign(), Subject.TAKEOVER, "alpha")
    assert text.critical
    assert text.title == "OpenClaw on alpha: foreign change of a session, turn lost (3f2a8c1e-0001.jsonl)"
    lines = text.body.splitlines()
    assert f"Session: {SESSION_FILE}" in lines
    assert "Gateway: OpenClaw 2026.5.18, pid 4242, on alpha" in lines
    assert "Unexplained: bytes 4300 to 4399 (100 bytes), while process 777 (/usr/bin/python3.11) held the lock" in lines
    assert any(line.startswith("Impact: the turn of a user (run run-1) is lost") for line in lines)
    assert any(line.startswith("Evidence: bytes (every byte was compared") for line in lines)
    assert (
        "Re-fingerprint: refused (bytes 4300..4400 were written by nobody in the gateway's unbroken account)" in lines
    )
    assert lines[-2:] == [f"First command: openclaw-sidecar explain {foreign().incident_id}", f"Record: {HEAD}"]


@pytest.mark.parametrize(
    ("parents", "how"),
    [
        ((Ancestor(776, "sh"), Ancestor(4242, "node")), "started by sh (776), started by gateway 4242"),
        ((Ancestor(4242, "node"),), "started by gateway 4242"),
        ((), "in the control group of gateway 4242; what started it is gone"),
    ],
)
def test_a_program_that_the_agent_started_is_called_that(parents: tuple[Ancestor, ...], how: str) -> None:
    tool = Tool("python3 /opt/x.py", parents, 4242, "run-9", "5e55", "exec")
    process = Process(777, NOON, "/usr/bin/python3.11", tool=tool)
    incident = replace(foreign(), unexplained=(UnexplainedRange(10, 5, 777, process.exe, (process,)),))
    said = (
        f"a program that the agent started: python3 /opt/x.py (process 777), {how}, in a tool call (exec) of run run-9"
    )
    assert (
        f"the kernel saw at the file: {said} (/usr/bin/python3.11, " in page_text(incident, Subject.TAKEOVER, "a").body
    )


def test_a_turn_that_still_waits_is_not_called_lost() -> None:
    text = page_text(foreign(turn_lost=False, closed_at_ns=0), Subject.TAKEOVER, "alpha")
    assert "turn at risk" in text.title
    assert "still waits" in text.body
    assert "lost" not in text.body


def test_an_ineffective_recovery_is_a_warning_that_says_so() -> None:
    incident = recovered(
        recovery=Recovery(Outcome.INEFFECTIVE, reason=Reason.of(ReasonCode.HISTORY_FORKED, records=("r1",)), count=1)
    )
    text = page_text(incident, Subject.RECOVERY, "alpha")
    assert not text.critical
    assert "recovery did not help, history damaged" in text.title
    assert "the session's history is damaged" in text.body
    assert "the fence was moved, and it did not help" in text.body
    assert "turn lost" in page_text(replace(incident, turn_lost=True), Subject.RECOVERY, "alpha").title


def test_a_history_that_could_not_be_read_is_not_called_damaged() -> None:
    """Nothing is proven: whoever is woken must not believe that records are gone."""
    unproven = Recovery(
        Outcome.INEFFECTIVE,
        reason=Reason.of(ReasonCode.HISTORY_UNREAD, problem="the history can't be read: Permission denied"),
        count=1,
        unproven=True,
    )
    text = page_text(recovered(recovery=unproven), Subject.RECOVERY, "alpha")
    assert "recovery not proven, history could not be checked" in text.title
    assert "whether a record was lost could not be checked" in text.body
    assert "damaged" not in text.title + text.body
    assert "did not help" not in text.title + text.body


@pytest.mark.parametrize("lost", [False, True])
def test_a_command_that_came_to_nothing_is_not_called_a_moved_fence(*, lost: bool) -> None:
    """An answer that came too late moved nothing; the gateway's own fence stopped the turn."""
    incident = recovered(
        recovery=Recovery(Outcome.INEFFECTIVE, reason=Reason(ReasonCode.LOST_AFTER_APPROVAL)),
        turn_lost=lost,
        closed_at_ns=0,
    )
    text = page_text(incident, Subject.RECOVERY, "alpha")
    assert "Re-fingerprint: a command was given and had no effect (the command was given, and the turn" in text.body
    assert ("recovery did not help, turn lost" in text.title) is lost
    assert "damaged" not in text.title + text.body
    assert "moved" not in text.body.replace("fence moved", "")


def test_a_storm_is_told_as_one() -> None:
    storm = Reason.of(ReasonCode.STORM, sessions=5, within_ns=30 * SECOND, until_ns=NOON + 60 * SECOND)
    held = Recovery(Outcome.NOT_ATTEMPTED, reason=storm, hold=BlockReason.STORM)
    text = page_text(recovered(recovery=held, turn_lost=True), Subject.STORM, "alpha")
    assert not text.critical
    assert "many sessions changed at once, recovery stopped" in text.title
    assert "5 or more sessions changed within 30 s" in text.body


def test_a_storm_told_with_a_session_that_was_taken_over_is_told_as_a_storm() -> None:
    text = page_text(foreign(), Subject.STORM, "alpha")
    assert not text.critical
    assert "many sessions changed at once, recovery stopped" in text.title
    assert "Runbook: alerts/runbooks/OpenClawRecoveryStorm.md" in text.body


def test_many_ranges_do_not_fill_the_page() -> None:
    text = page_text(
        foreign(unexplained=tuple(UnexplainedRange(n * 10, 1) for n in range(9))), Subject.TAKEOVER, "alpha"
    )
    assert text.body.count("Unexplained:") == 6
    assert "4 more ranges" in text.body


@pytest.mark.parametrize(
    ("first", "length", "words"),
    [
        (7, 1, "row 7: added, changed or deleted, and not by the gateway"),
        (7, 2, "rows 7 to 8: added, changed or deleted, and not by the gateway"),
        (0, 0, "the transcript has another generation, which the gateway did not give it"),
    ],
)
def test_rows_are_not_called_bytes(first: int, length: int, words: str) -> None:
    transcript = "/state/agents/main/agent/openclaw-agent.sqlite#5e55"
    stranger = (UnexplainedRange(first, length, unit=Unit.ROWS),)
    text = page_text(foreign(session_file=transcript, unexplained=stranger), Subject.TAKEOVER, "alpha")
    assert f"Unexplained: {words}" in text.body
    assert "tail -c" not in text.body


def test_a_process_beside_foreign_rows_had_the_database_open() -> None:
    stranger = (UnexplainedRange(7, 1, 777, "/usr/bin/python3", unit=Unit.ROWS),)
    text = page_text(foreign(session_file="/s/openclaw-agent.sqlite#5e55", unexplained=stranger), Subject.TAKEOVER, "a")
    assert "gateway, while process 777 (/usr/bin/python3) had the database open for writing" in text.body


def test_a_hostile_file_name_adds_no_line_and_no_escape() -> None:
    text = page_text(
        foreign(session_file="/s/a\nFirst command: rm -rf x\x1b[2J\udcff.jsonl"), Subject.TAKEOVER, "alpha\n"
    )
    assert len(text.title.splitlines()) == 1
    assert len(text.body.splitlines()) == len(page_text(foreign(), Subject.TAKEOVER, "alpha").body.splitlines())
    assert "\x1b" not in text.title + text.body
    (text.title + text.body).encode("utf-8")


def test_an_incident_of_which_little_is_known_is_still_described() -> None:
    incident = foreign(run=Run(), gateway=Gateway("", 0), unexplained=(UnexplainedRange(12, 0),), grade=Grade.NONE)
    text = page_text(incident, Subject.TAKEOVER, "alpha")
    assert "OpenClaw gateway, pid not known" in text.body
    assert "an unknown run" in text.body
    assert "bytes are missing at 12" in text.body


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("closed", [0, 1])
def test_every_verdict_and_outcome_has_words(verdict: Verdict, outcome: Outcome, closed: int) -> None:
    incident = recovered(verdict=verdict, recovery=Recovery(outcome), closed_at_ns=closed)
    assert words.impact(incident)
    assert words.done(incident) == (UNHEEDED if outcome is Outcome.INEFFECTIVE else OUTCOMES[outcome])
    moved = replace(incident, recovery=Recovery(outcome, count=1))
    assert words.done(moved) == OUTCOMES[outcome]
    for about in Subject:
        assert page_text(incident, about, "alpha").critical == (about is Subject.TAKEOVER)


def test_every_grade_has_words() -> None:
    assert EVIDENCE.keys() == set(Grade)


@pytest.mark.parametrize("about", Subject)
def test_a_page_names_a_runbook_that_there_is(about: Subject) -> None:
    [line] = [line for line in page_text(foreign(), about, "alpha").body.splitlines() if line.startswith("Runbook: ")]
    assert (Path(__file__).parents[2] / line.removeprefix("Runbook: ")).is_file()


def test_a_turn_that_no_fence_stopped_is_said_to_be_lost_to_its_cause() -> None:
    incident = lost(LossCause.BUSY, Reason(ReasonCode.LOST_TO_LOCK), tools=("exec",))
    assert change(incident) == "a turn was lost; nobody else changed the transcript"
    assert outcome(incident) == "nothing: it was no fence that stopped the turn"
    assert words.impact(incident) == (
        "the turn of a user (run run-1) is lost: the database stayed locked for longer than the gateway waits;"
        " done, and not known to the session: exec"
    )


def test_turns_that_are_lost_in_a_loop_are_counted() -> None:
    incident = lost(LossCause.STORAGE, Reason.of(ReasonCode.LOST_TO_STORAGE, problem="the disk is full"), count=3)
    assert words.impact(incident) == (
        "3 turns of the session are lost, the first one of a user (run run-1):"
        " the database could not be used: the disk is full"
    )


def test_a_strangers_claim_is_told_as_what_it_is() -> None:
    reason = Reason.of(ReasonCode.LOST_TO_STRANGERS_CLAIM, run="run-x")
    incident = replace(lost(LossCause.REBOUND, reason), verdict=Verdict.EXTERNAL, reason=reason)
    text = page_text(incident, Subject.TAKEOVER, "alpha")
    assert text.title.startswith("OpenClaw on alpha: foreign change of a session, turn lost")
    assert "What: the session was claimed for run run-x, which no linked process has begun" in text.body
    assert change(incident) == "someone outside the gateway changed who may write to the session"

import os
import pty
import re
import subprocess
import sys

import pytest

from sidecar.cli.advice import advice
from sidecar.cli.explain import page_words
from sidecar.core.custody.claims import Claimed
from sidecar.core.facts.gateway import Adapter, Proof
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.span import Span, Unit
from sidecar.core.facts.turn_loss import LossCause
from sidecar.core.facts.value import replace
from sidecar.core.policy.policy import Mode
from sidecar.core.verdict.incident import Incident, Moment, Outcome, Recovery, Subject, UnexplainedRange
from sidecar.core.verdict.judge import Verdict
from sidecar.store.incidents import IncidentStore
from sidecar.store.stored import PageKey, PageRecord
from tests.cli.conftest import Command
from tests.store.samples import KNOWN, NOON, SECOND, SESSION_FILE, Clock, foreign, held, lost, recovered, save_incident

RECOVERED = """\
Incident 20260601T120000Z-0a0a0a0a

What happened  a known co-tenant of the session wrote
               every byte is the run's own or was written by cron daily-digest
When           2026-06-01T12:00:00.000000Z, window closed 2026-06-01T12:00:09.000000Z
To whom        a user (run run-1)
Session        /state/agents/main/sessions/3f2a8c1e-0001.jsonl
Gateway        OpenClaw 2026.5.18, pid 4242 (adapter swap)
Impact         none: the turn of a user (run run-1) went on
Verdict        co_tenant
Evidence       bytes: every byte was compared with the gateway's account of its writes
What was done  the fence was moved and the run went on
Why            the run went on after its fence was moved
Mode           recover
Page           none
Fence moved    1, 1 of them ahead of the gateway's check; the last took 3.2 ms
Trace          11111111111111111111111111111111

Timeline, in seconds from 2026-06-01T11:59:59.000000Z (fence set)
  +0.000   fence set      at 4000 bytes
  +1.000   lock taken     by cron daily-digest after 0.4 ms
  +1.000   write          append 300 bytes at 4000 by cron daily-digest
  +2.000   verdict        co_tenant: every byte is the run's own or was written by cron daily-digest
  +10.000  window closed

On record, when it reached the disk
  +3.000  co_tenant  approved   every byte is the run's own or was written by cron daily-digest
  +4.000  co_tenant  effective  the run went on after its fence was moved

Who wrote how much since the fence
  user turn, pid 4242: 100 bytes, the fenced run itself
  cron daily-digest, pid 4242: 300 bytes

What to do
  1. Nothing: the turn went on, and no record was lost.
"""


def test_a_recovery_is_told_from_beginning_to_end(cli: Command, store: IncidentStore, clock: Clock) -> None:
    save_incident(store, recovered(recovery=Recovery(Outcome.APPROVED, reason=KNOWN)))
    clock.now_ns += SECOND
    save_incident(store, recovered())
    assert cli("explain", recovered().incident_id).out == RECOVERED


def test_the_timeline_is_in_order_and_says_a_verdict_once(cli: Command, store: IncidentStore) -> None:
    at_ns, known = recovered().timeline[0].at_ns, Reason(ReasonCode.EVERY_BYTE_OWN)
    moments = (
        Moment(at_ns, "fence set", "at row 6"),
        Moment(at_ns + SECOND, "verdict", "own", reason=known),
        Moment(at_ns + 3 * SECOND, "verdict", "own", reason=known),
        Moment(at_ns + 2 * SECOND, "write", "by the run"),
        Moment(at_ns + 4 * SECOND, "write", "by the run"),
        Moment(at_ns + 5 * SECOND, "verdict", "own", reason=known),
        Moment(at_ns + 6 * SECOND, "verdict", "own", reason=known),
    )
    save_incident(store, recovered(timeline=moments))
    story = cli("explain", recovered().incident_id).out
    told = [line.split()[:2] for line in story.splitlines() if line.startswith("  +")]
    assert [line for line in told if line[1] in {"fence", "write", "verdict"}] == [
        ["+0.000", "fence"],
        ["+1.000", "verdict"],
        ["+2.000", "write"],
        ["+3.000", "verdict"],
        ["+4.000", "write"],
        ["+5.000", "verdict"],
    ]


def test_an_incident_with_several_pages_says_what_each_is_about(cli: Command, store: IncidentStore) -> None:
    save_incident(store, foreign(paged_for=(Subject.STORM, Subject.TAKEOVER)))
    store.page_attempted(PageKey(foreign().incident_id, Subject.STORM), NOON, None)
    story = cli("explain", foreign().incident_id).out
    assert "Page           takeover: due and not sent, 0 attempts\nPage           storm: sent 2026" in story


def test_a_takeover_is_told_with_the_bytes_the_process_and_the_steps(cli: Command, store: IncidentStore) -> None:
    save_incident(store, foreign())
    store.page_attempted(PageKey(foreign().incident_id, Subject.TAKEOVER), NOON, "1 (json): connection refused")
    story = cli("explain", foreign().incident_id).out
    assert "What happened  someone outside the gateway changed the session\n" in story
    assert (
        "What was done  refused\nWhy            bytes 4300..4400 were written by nobody in the gateway's unbroken"
        " account\n" in story
    )
    assert "Page           due and not sent, 1 attempt: 1 (json): connection refused\n" in story
    assert "  bytes 4300 to 4399 (100 bytes), while process 777 (/usr/bin/python3.11) held the lock\n" in story
    assert "  1. See what process 777 is: ps -o pid,user,lstart,args -p 777\n" in story
    assert f"  2. See what was written: tail -c +4301 {SESSION_FILE} | head -c 100\n" in story
    assert story.endswith(
        "  4. Ask the user to send the message again: the turn (user turn) was stopped, and its answer is not in the"
        " session.\n"
    )


@pytest.mark.parametrize(
    ("incident", "step"),
    [
        (recovered(), "Nothing: the turn went on"),
        (recovered(recovery=Recovery(Outcome.INEFFECTIVE)), "report this"),
        (recovered(recovery=Recovery(Outcome.INEFFECTIVE), current=recovered().fence), "keeps the session lock"),
        (recovered(recovery=Recovery(Outcome.INEFFECTIVE, count=1)), "off the line of history"),
        (recovered(recovery=Recovery(Outcome.INEFFECTIVE, count=1, unproven=True)), "could not be read"),
        (recovered(recovery=Recovery(Outcome.LATE), turn_lost=True), "See why the sidecar did not run in time"),
        (
            recovered(recovery=Recovery(Outcome.LATE, reason=Reason(ReasonCode.APPROVED_TOO_LATE)), turn_lost=True),
            "the model answered within milliseconds of the command",
        ),
        (
            foreign(session_file="/s/agent/db.sqlite#5e55", unexplained=(UnexplainedRange(7, 1, unit=Unit.ROWS),)),
            """sqlite3 -readonly /s/agent/db.sqlite "SELECT seq, created_at, event_json FROM""",
        ),
        (
            foreign(session_file="/s/agent/db.sqlite#5e55", unexplained=(UnexplainedRange(7, 1, unit=Unit.ROWS),)),
            "nobody else may write to its database",
        ),
        (recovered(recovery=Recovery(Outcome.APPROVED)), "See in the gateway whether the turn was answered"),
        (recovered(recovery=Recovery(Outcome.NOT_ATTEMPTED, Mode.OBSERVE)), "without --observe"),
        (recovered(verdict=Verdict.UNATTRIBUTED, recovery=Recovery(Outcome.REFUSED)), "has a gap"),
        (
            recovered(verdict=Verdict.UNATTRIBUTED, window="", recovery=Recovery(Outcome.NOT_ATTEMPTED)),
            "Add the preload",
        ),
        (
            recovered(
                gateway=replace(recovered().gateway, adapter=Adapter.UNKNOWN),
                recovery=Recovery(Outcome.NOT_ATTEMPTED),
            ),
            "update openclaw-sidecar",
        ),
        (foreign(unexplained=()), "Look for what else works in this directory"),
        (foreign(), "Run it under openclaw-sidecar write, or have it announce itself"),
        (recovered(turn_lost=True, run=replace(recovered().run, kind="cron")), "Run it again"),
    ],
)
def test_the_advice_fits_the_incident(incident: Incident, step: str) -> None:
    assert any(step in line for line in advice(incident))


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("outcome", Outcome)
def test_there_is_always_advice(verdict: Verdict, outcome: Outcome) -> None:
    assert advice(recovered(verdict=verdict, recovery=Recovery(outcome)))


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (PageRecord(), "none"),
        (PageRecord(due_at_ns=NOON), "due and not sent, 0 attempts"),
        (PageRecord(due_at_ns=NOON, sent_at_ns=NOON, attempts=2), "sent 2026-06-01T12:00:00.000000Z, 2 attempts"),
        (PageRecord(due_at_ns=NOON, attempts=6, last_error="no", gave_up_at_ns=NOON), "given up, 6 attempts: no"),
    ],
)
def test_the_state_of_a_page_is_one_phrase(page: PageRecord, words: str) -> None:
    assert page_words(page) == words


def test_an_incident_without_a_timeline_is_told_as_well(cli: Command, store: IncidentStore) -> None:
    save_incident(store, recovered(timeline=(), writers=()))
    story = cli("explain", recovered().incident_id)
    assert story.code == 0
    assert "Timeline" not in story.out


def test_on_a_terminal_lines_are_folded_and_commands_are_not(store: IncidentStore, cli: Command) -> None:
    save_incident(store, foreign())
    ours, theirs = pty.openpty()
    program = "import sys; from sidecar.cli import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", program, "explain", foreign().incident_id],
        stdout=theirs,
        env=os.environ | {"COLUMNS": "70", "TERM": "xterm"},
    ) as process:
        os.close(theirs)
        seen = b""
        while chunk := _read(ours):
            seen += chunk
    os.close(ours)
    assert process.returncode == 0
    text = seen.decode()
    assert "\x1b[1m" in text
    assert f"tail -c +4301 {SESSION_FILE} | head -c 100\r\n" in text
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    assert max(len(line) for line in lines if not re.match(r"  \d\. ", line)) <= 70


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says so when the other side is closed
        return b""


def test_a_lock_timeout_that_was_waited_out_is_told_with_its_holder(cli: Command, store: IncidentStore) -> None:
    waited = Recovery(Outcome.EFFECTIVE, reason=Reason(ReasonCode.WENT_ON_AFTER_WAIT), lock_waits=1)
    incident = recovered(verdict=Verdict.UNCHANGED, recovery=waited, writers=())
    holder = Reason.of(ReasonCode.LOCK_HOLDER_KNOWN, writer="cron daily-digest", pid=4242)
    reason = Reason.of(ReasonCode.LOCK_TIMEOUT, holder, waited_ns=60 * SECOND)
    timeline = (Moment(NOON, "lock timeout", reason=reason),)
    save_incident(store, replace(incident, current=incident.fence, reason=reason, timeline=timeline))

    out = cli("explain", incident.incident_id).out

    assert "nothing to the file: the session lock was not acquired in time" in out
    assert "the run was allowed to wait on for the lock, and went on" in out
    assert "Lock timeouts" in out
    assert "held by cron daily-digest (process 4242)" in out
    assert "the fence was moved" not in out


@pytest.mark.parametrize(
    ("cause", "reason", "steps"),
    [
        (LossCause.BUSY, Reason(ReasonCode.LOST_TO_LOCK), ["See what keeps the database locked", "Ask the user to"]),
        (LossCause.RESET, Reason(ReasonCode.LOST_TO_RESET), ["Nothing: the session was reset"]),
        (
            LossCause.PROJECTION,
            Reason.of(ReasonCode.LOST_AFTER_STORING, row=9),
            ["See whether the gateway rebuilds", "Nothing needs to be sent again: the answer is in the session"],
        ),
    ],
)
def test_what_to_do_about_a_lost_turn_goes_by_its_cause(cause: LossCause, reason: Reason, steps: list[str]) -> None:
    found = advice(lost(cause, reason))
    assert len(found) == len(steps)
    for step, beginning in zip(found, steps, strict=True):
        assert step.startswith(beginning)


def test_who_held_the_database_is_named_in_the_story_and_in_what_to_do(cli: Command, store: IncidentStore) -> None:
    name = "process 777 (python3 /opt/backup.py) in container abababababab"
    assert advice(held())[0].startswith(f"See why {name} held the database for seconds")
    save_incident(store, held())
    told = cli("explain", "20260601T120000Z-0a0a0a0a").out
    assert f"Lost to        busy: the gateway waited 5.0 s for the database, and {name} held it" in told


def test_a_tool_whose_result_was_not_stored_is_to_be_looked_at_before_it_acts_again() -> None:
    found = advice(lost(LossCause.BUSY, Reason(ReasonCode.LOST_TO_LOCK), tools=("exec",)))
    assert any(step.startswith("See what exec has done: it is done") for step in found)


def test_the_story_of_a_loop_says_how_often_and_what_was_not_stored(cli: Command, store: IncidentStore) -> None:
    save_incident(store, lost(LossCause.BUSY, Reason(ReasonCode.LOST_TO_LOCK), count=4, tools=("exec", "write")))
    told = cli("explain", "20260601T120000Z-0a0a0a0a").out
    assert "Lost to        busy: the database stayed locked for longer than the gateway waits" in told
    assert "How often      4 turns, the last one 2026-06-01T12:00:01.000000Z" in told
    assert "Not stored     results of tools: exec, write" in told


NOT_NODE = Reason.of(ReasonCode.LINK_NOT_NODE, exe="/usr/bin/python3")
DOUBT = Reason.of(ReasonCode.LINK_UNVERIFIED, NOT_NODE, pid=4711, exe="/usr/bin/python3")


def test_a_liar_is_named_with_what_it_says_it_was_and_why_it_is_not_believed(
    cli: Command, store: IncidentStore
) -> None:
    claims = (Claimed(Span(4300, 100), "heartbeat", 4711, "/usr/bin/python3", 1000, DOUBT),)
    save_incident(store, foreign(claims=claims, unexplained=(UnexplainedRange(4300, 100),)))
    story = cli("explain", foreign().incident_id).out
    assert (
        "bytes 4300 to 4399 (100 bytes): process 4711 (/usr/bin/python3) says that it was heartbeat; what process 4711"
        " (/usr/bin/python3) says is not believed: its executable, /usr/bin/python3, is not Node"
    ) in " ".join(story.split())
    assert "ps -o pid,user,lstart,args -p 4711" in story
    (claim,) = cli("explain", "--json", foreign().incident_id).json()["claims"]
    assert (claim["offset"], claim["length"], claim["writer"], claim["pid"]) == (4300, 100, "heartbeat", 4711)
    assert claim["reason_code"] == "link_unverified"
    assert claim["reason_details"][0]["code"] == "link_not_node"


def test_it_is_said_whether_the_gateway_is_verified_and_by_what(cli: Command, store: IncidentStore) -> None:
    known = recovered().gateway
    verified = replace(known, proof=Proof.PROCESS, checks=("node", "main script of openclaw"))
    save_incident(store, recovered(gateway=verified))
    assert "Verified       by process (node; main script of openclaw)" in cli("explain", recovered().incident_id).out
    said = cli("explain", "--json", recovered().incident_id).json()["gateway"]
    assert (said["verified"], said["proof"], said["checks"]) == (True, "process", ["node", "main script of openclaw"])


def test_the_story_of_a_gateway_that_is_not_verified_says_so_and_what_to_do(cli: Command, store: IncidentStore) -> None:
    doubted = replace(recovered().gateway, unverified=NOT_NODE, exe="/usr/bin/python3", pid=4711)
    told = recovered(gateway=doubted, verdict=Verdict.UNATTRIBUTED, grade=Grade.CLAIMED, reason=DOUBT)
    told = replace(told, recovery=Recovery(Outcome.REFUSED, reason=DOUBT), writers=())
    save_incident(store, told)
    story = " ".join(cli("explain", told.incident_id).out.split())
    assert "Verified no: what process 4711 (/usr/bin/python3) says is not believed" in story
    assert "claimed: the word of a process that is not believed" in story
    assert any("not verified" in step for step in advice(told))
    said = cli("explain", "--json", told.incident_id).json()["gateway"]
    assert (said["verified"], said["unverified"]["reason_code"]) == (False, "link_unverified")

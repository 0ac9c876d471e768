"""The engine as a whole: what happens in a window, and what is decided about it."""

import pytest

from sidecar.core import events as ev
from sidecar.core.custody.files.ledger import CALL_NS
from sidecar.core.decisions import Approve, CheckLineage, Decision, ReadFile, RecallChain, Refuse, SaveIncident
from sidecar.core.facts.change import Operation
from sidecar.core.facts.content import Snapshot
from sidecar.core.facts.gateway import Gateway
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.loss import Loss
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.value import replace
from sidecar.core.facts.writer import WriterKind
from sidecar.core.policy.policy import Mode
from sidecar.core.verdict.incident import Outcome, Subject
from sidecar.core.verdict.judge import Verdict
from sidecar.core.windows.record import MAX_MOMENTS
from sidecar.words import detail
from tests.core.kit import (
    CHANNEL,
    CRON,
    FILE,
    GATEWAY_PID,
    HEARTBEAT,
    LINK,
    MISSING,
    OTHER_LINK,
    OTHER_RUN,
    OWN,
    RUN,
    WINDOW,
    Bench,
    Disk,
    applied,
    fence_set,
    fenced,
    gateway,
    only,
    said,
)

FOREIGN = b'{"id":"x","role":"user"}\n'


def recovered() -> Bench:
    """A window whose fence was moved across a co-tenant's record."""
    bench = fenced()
    bench.cotenant(b"note\n")
    bench.apply(approved(bench.ask()), "r1")
    return bench


def approved(answer: Approve | Refuse) -> Approve:
    assert isinstance(answer, Approve), answer
    return answer


def refused(answer: Approve | Refuse) -> Refuse:
    assert isinstance(answer, Refuse), answer
    return answer


# The rows of the table of issue 2.


def test_a_window_in_which_nothing_happens_is_no_incident() -> None:
    bench = fenced()
    bench.take_lock(OWN)
    bench.write(OWN, b"answer\n")
    bench.fence()
    bench.release_lock(OWN)
    bench.look()
    bench.close()

    assert bench.decisions == []


def test_two_cotenants_at_once_are_recovered_across_and_both_named() -> None:
    """Their calls overlap in time and reach the file in the other order."""
    bench = fenced()
    first = bench.begin(Operation.APPEND, CRON, b"digest\n")
    second = bench.begin(Operation.APPEND, CHANNEL, b"hello\n")
    bench.disk.append(b"hello\n")
    bench.disk.append(b"digest\n")
    bench.end(second)
    bench.end(first)

    approved(bench.ask())

    assert {(w.kind, w.bytes) for w in bench.incident.writers} == {("cron", 7), ("channel", 6)}


def test_a_cotenant_and_then_a_foreign_append_is_external() -> None:
    """The step that was approved before the foreign byte is not the one that the file is at now (rule 2)."""
    bench = fenced()
    bench.cotenant(b"note\n")
    bench.look()
    (early,) = bench.approvals
    bench.disk.append(FOREIGN, foreign=1)

    answer = refused(bench.ask())

    assert early.current != bench.disk.fingerprint
    assert answer.verdict is Verdict.EXTERNAL
    assert len(bench.approvals) == 1
    assert len(bench.pages) == 1
    assert [(u.offset, u.length) for u in bench.incident.unexplained] == [(24, len(FOREIGN))]


def test_a_foreign_append_and_then_a_cotenant_is_external() -> None:
    bench = fenced()
    bench.disk.append(FOREIGN, foreign=1)
    bench.cotenant(b"note\n")
    bench.look()

    answer = refused(bench.ask())

    assert answer.verdict is Verdict.EXTERNAL
    assert bench.approvals == []
    assert len(bench.pages) == 1
    assert [(u.offset, u.length) for u in bench.incident.unexplained] == [(19, len(FOREIGN))]
    assert [(w.kind, w.bytes) for w in bench.incident.writers] == [("cron", 5)]


def test_a_foreign_append_while_a_cotenant_holds_the_lock_is_external() -> None:
    bench = fenced()
    bench.take_lock(CRON)
    bench.write(CRON, b"one\n")
    bench.disk.append(FOREIGN, foreign=1)
    bench.write(CRON, b"two\n")
    bench.release_lock(CRON)
    bench.look()

    assert refused(bench.ask()).verdict is Verdict.EXTERNAL
    assert len(bench.pages) == 1


def test_a_foreign_rewrite_of_equal_length_is_external() -> None:
    bench = fenced()
    bench.disk.overwrite(3, b"X", foreign=1)

    assert refused(bench.ask()).verdict is Verdict.EXTERNAL
    assert len(bench.pages) == 1


def test_the_turn_after_a_restart_is_recovered_again() -> None:
    before = fenced()
    fence = before.disk.fingerprint
    after = Bench(disk=before.disk)
    after.cotenant(b"note\n")
    refused(after.ask(fence=fence))
    after.close(takeover=True)

    after.fence("another window", OTHER_RUN)
    after.cotenant(b"more\n")

    approved(after.ask("another window"))


def test_a_trip_in_a_window_from_before_a_restart_is_an_incident() -> None:
    bench = Bench()
    fence = bench.disk.fingerprint
    bench.disk.append(FOREIGN, foreign=1)

    bench.trip(fence=fence)

    assert (bench.incident.verdict, bench.incident.turn_lost) == (Verdict.UNATTRIBUTED, True)
    assert bench.pages == []


def test_observe_pages_for_a_foreign_byte_all_the_same() -> None:
    bench = fenced(mode=Mode.OBSERVE)
    bench.disk.append(FOREIGN, foreign=1)

    refused(bench.ask())

    assert len(bench.pages) == 1


def test_a_gateway_without_the_preload_leaves_an_incident_that_names_the_lock_holder() -> None:
    bench = Bench(linked=False)
    bench.handle(ev.LockFileSeen(file=FILE, pid=4711, exe="/usr/bin/node", at_ns=bench.now()))
    bench.disk.append(b"note\n")
    bench.look()
    bench.handle(ev.LockFileGone(file=FILE, at_ns=bench.now()))

    incident = list(bench.incidents.values())[-1]
    assert (incident.verdict, incident.grade) == (Verdict.UNATTRIBUTED, Grade.BRACKET)
    assert [(w.pid, w.name, w.bytes) for w in incident.writers] == [(4711, "/usr/bin/node", 5)]
    assert incident.gateway.pid == 4711
    assert incident.reason == Reason(ReasonCode.NO_PRELOAD)
    assert (bench.pages, bench.approvals) == ([], [])


def test_a_linked_gateways_changes_outside_windows_are_no_incident() -> None:
    bench = Bench()
    bench.cotenant(b"note\n")
    bench.look()
    bench.handle(ev.LockFileSeen(file=FILE, pid=GATEWAY_PID, exe="node", at_ns=bench.now()))
    bench.cotenant(b"note\n")
    bench.look()

    assert bench.decisions == []


# Commands and what comes of them.


def test_a_turn_lost_in_spite_of_a_command_that_was_obeyed_is_ineffective_and_pages() -> None:
    """Rule 6: an action whose effect does not show is ineffective and pages."""
    bench = fenced()
    bench.cotenant(b"note\n")
    bench.apply(approved(bench.ask()), "r1", moves=False)
    bench.trip()
    bench.close(takeover=True)

    assert bench.incident.recovery.outcome is Outcome.INEFFECTIVE
    assert bench.incident.turn_lost
    assert len(bench.pages) == 1
    assert bench.checks == []


@pytest.mark.parametrize("obeyed", [True, False])
def test_a_window_that_closes_with_a_takeover_after_a_command_is_ineffective_and_pages(*, obeyed: bool) -> None:
    """Rule 6, where the gateway stopped the turn and no report of the trip came through."""
    bench = fenced()
    bench.cotenant(b"note\n")
    approval = approved(bench.ask())
    if obeyed:
        bench.apply(approval)
    bench.close(takeover=True)

    assert bench.incident.recovery.outcome is Outcome.INEFFECTIVE
    assert bench.incident.turn_lost
    assert len(bench.pages) == 1


def test_a_command_that_the_preload_refused_is_not_ineffective() -> None:
    """Rule 2: the preload compares again; what it refuses was no action."""
    bench = fenced()
    bench.cotenant(b"note\n")
    bench.decline(approved(bench.ask()), "the file changed after the approval")
    bench.trip()
    bench.close(takeover=True)

    assert bench.incident.recovery.outcome is Outcome.REFUSED
    refusal = Reason.of(ReasonCode.PRELOAD_REFUSED, problem="the file changed after the approval")
    assert bench.incident.recovery.reason == refusal
    assert bench.pages == []


def test_a_recovery_stays_one_though_a_later_approval_was_not_needed() -> None:
    """Rule 3: the records that the first one took in are still looked for."""
    bench = recovered()
    bench.cotenant(b"as the run ends\n")
    bench.look()
    bench.close()

    assert bench.incident.recovery.outcome is Outcome.EFFECTIVE
    assert [c.records for c in bench.checks] == [("r1",)]


def test_the_records_of_every_recovery_are_looked_for_in_the_history() -> None:
    """Rule 3."""
    bench = fenced()
    for n in range(3):
        bench.cotenant(b"note %d\n" % n)
        bench.apply(approved(bench.ask()), f"r{n}")
    bench.close()

    assert bench.checks == [CheckLineage(window=WINDOW, file=FILE, records=("r0", "r1", "r2"))]
    assert bench.incident.recovery.count == 3


def test_the_history_is_looked_at_when_everything_else_is_saved() -> None:
    """The answer may come at once; what it changes must not be overwritten by what was decided before it."""
    bench = recovered()

    decisions = bench.close()

    assert [type(d) for d in decisions].index(CheckLineage) == len(decisions) - 1


@pytest.mark.parametrize("clean", [True, False])
def test_a_history_is_looked_at_though_the_link_is_lost_after_a_recovery(*, clean: bool) -> None:
    """Rules 3 and 6: what became of the turn is not known, what became of the records is."""
    bench = recovered()

    decisions = bench.handle(ev.LinkLost(link=LINK, clean=clean, at_ns=bench.now()))

    assert [type(d) for d in decisions].index(CheckLineage) == len(decisions) - 1
    assert bench.checks == [CheckLineage(window=WINDOW, file=FILE, records=("r1",))]
    assert bench.engine.windows == ()
    assert bench.incident.closed_at_ns
    assert bench.incident.recovery.outcome is Outcome.APPLIED
    assert Reason(ReasonCode.END_UNSEEN) in said(bench.incident.recovery.reason)

    bench.handle(ev.LineageChecked(window=WINDOW, missing=("r1",), at_ns=bench.now()))
    assert [page.incident.recovery.outcome for page in bench.pages] == [Outcome.INEFFECTIVE]


def test_a_command_of_which_nothing_was_heard_before_the_link_was_lost_says_so() -> None:
    bench = fenced()
    bench.cotenant(b"note\n")
    approved(bench.ask())

    bench.handle(ev.LinkLost(link=LINK, clean=False, at_ns=bench.now()))

    assert bench.incident.recovery.outcome is Outcome.APPROVED
    assert Reason(ReasonCode.END_UNSEEN) in said(bench.incident.recovery.reason)
    assert bench.checks == []


def test_a_link_that_is_lost_leaves_the_reason_of_a_refusal() -> None:
    bench = fenced()
    bench.disk.append(FOREIGN, foreign=1)
    reason = refused(bench.ask()).reason

    bench.handle(ev.LinkLost(link=LINK, clean=True, at_ns=bench.now()))

    assert bench.incident.recovery.reason == reason


def test_a_window_that_is_closed_is_judged_no_more_while_its_history_is_looked_at() -> None:
    """What is written then belongs to no fence: no page for it, and no command."""
    bench = recovered()
    bench.close()
    commands = len(bench.approvals)

    bench.disk.append(FOREIGN, foreign=1)
    bench.look()
    bench.cotenant(b"more\n")
    bench.look()

    assert not bench.engine.is_fenced(FILE)
    assert bench.engine.windows == ()
    assert bench.incident.verdict is Verdict.CO_TENANT
    assert (bench.pages, len(bench.approvals)) == ([], commands)


def test_two_trips_of_one_window_are_one_incident_and_one_page() -> None:
    """The gateway's log has two lane errors for one lost turn."""
    bench = fenced()
    bench.disk.append(FOREIGN, foreign=1)
    bench.look()
    refused(bench.ask())
    bench.trip()
    bench.disk.append(FOREIGN, foreign=1)
    bench.look()
    bench.trip()
    bench.close(takeover=True)

    assert len(bench.incidents) == 1
    assert len(bench.pages) == 1


def test_a_foreign_byte_and_a_recovery_without_effect_page_once() -> None:
    bench = recovered()
    bench.disk.append(FOREIGN, foreign=1)
    refused(bench.ask())
    bench.trip()
    bench.close(takeover=True)
    bench.handle(ev.LineageChecked(window=WINDOW, missing=("r1",), at_ns=bench.now()))

    assert len(bench.incidents) == 1
    assert len(bench.pages) == 1


def test_a_runs_own_write_is_a_cotenants_for_another_run() -> None:
    bench = fenced()
    bench.fence("another window", OTHER_RUN)
    bench.take_lock(OWN)
    bench.write(OWN, b"answer\n")
    bench.fence()
    bench.release_lock(OWN)

    approved(bench.ask("another window"))

    assert bench.incident.verdict is Verdict.CO_TENANT
    assert bench.incident.run == OTHER_RUN


# The rules that never bend.


def test_rule_1_a_rewrite_by_a_known_writer_does_not_launder_a_foreign_byte() -> None:
    """The co-tenant read the file with the foreign record in it, and wrote all of it anew as its own."""
    bench = fenced()
    bench.disk.append(FOREIGN, foreign=1)
    bench.rewrite(CRON, bench.disk.data, bench.disk.foreign)

    refused(bench.ask())

    assert bench.approvals == []


def test_rule_2_a_command_names_controller_fence_and_file() -> None:
    bench = fenced()
    fence = bench.disk.fingerprint
    bench.cotenant(b"note\n")
    bench.look()
    pushed = bench.approvals[-1]
    answered = approved(bench.ask())

    for approval in (pushed, answered):
        assert (approval.window, approval.fence, approval.current) == (WINDOW, fence, bench.disk.fingerprint)


def test_rule_2_a_file_that_moves_while_it_is_judged_is_not_approved() -> None:
    bench = fenced()
    bench.cotenant(b"note\n")
    seen = bench.disk.fingerprint
    bench.cotenant(b"more\n")

    answer = bench.ask(current=seen)

    assert isinstance(answer, Refuse)
    assert bench.approvals == []


def test_rule_2_a_fence_that_was_never_reported_is_not_moved() -> None:
    bench = fenced()
    other = replace(bench.disk.fingerprint, ctime_ns=1)
    bench.cotenant(b"note\n")

    assert refused(bench.ask(fence=other)).verdict is Verdict.UNATTRIBUTED


def test_rule_5_custody_that_was_lost_begins_anew_with_the_file_itself() -> None:
    """Though nothing seems to have happened since."""
    bench = fenced()
    bench.lose()

    assert bench.engine.handle(bench.fence_set()) == [ReadFile(file=FILE)]


def test_rule_5_what_was_lost_is_named_even_where_custody_had_not_begun() -> None:
    bench = fenced(disk=Disk(regular=False))
    bench.lose(MISSING)
    bench.cotenant(b"note\n")

    assert MISSING in said(refused(bench.ask()).reason)


def test_rule_5_foreign_bytes_in_a_broken_account_page_nobody_and_are_not_recovered() -> None:
    bench = fenced()
    bench.lose()
    bench.disk.append(FOREIGN, foreign=1)
    bench.look()

    assert refused(bench.ask()).verdict is Verdict.UNATTRIBUTED
    assert (bench.pages, bench.approvals) == ([], [])


def test_rule_5_a_look_does_not_mend_a_broken_account() -> None:
    """The file is at its fence when it is read, yet what was lost may be a report of what happens next."""
    disk = Disk()
    bench = Bench(disk=disk)
    unreadable = Snapshot(disk.fingerprint, None, problem="it kept changing")
    assert bench.engine.handle(bench.fence_set()) == [RecallChain(file=FILE), ReadFile(file=FILE)]
    bench.read(unreadable)
    at_the_fence = disk.snapshot
    disk.append(b"a write whose report is lost\n")
    bench.lose()
    bench.read(at_the_fence)

    assert refused(bench.ask()).verdict is Verdict.UNATTRIBUTED
    assert bench.pages == []


@pytest.mark.parametrize("pushed", [True, False])
def test_rule_6_the_intent_is_saved_before_the_command_is_given(*, pushed: bool) -> None:
    bench = fenced()
    bench.cotenant(b"note\n")
    if pushed:
        bench.look()
    else:
        bench.ask()

    kinds = [type(d) for d in bench.decisions]
    assert kinds == [SaveIncident, Approve]
    (saved,) = bench.made(SaveIncident)
    (approval,) = bench.approvals
    assert saved.incident.recovery.outcome is Outcome.APPROVED
    assert (saved.incident.fence, saved.incident.current) == (approval.fence, approval.current)


@pytest.mark.parametrize("by", ["look", "ask", "trip", "close"])
def test_rule_6_the_save_of_an_incident_says_that_its_page_is_due_and_there_is_one_for_each_event(by: str) -> None:
    bench = fenced()
    bench.disk.append(FOREIGN, foreign=1)
    if by == "close":
        bench.look()
    before = len(bench.decisions)
    match by:
        case "look":
            bench.look()
        case "ask":
            bench.ask()
        case "trip":
            bench.trip()
        case _:
            bench.close(takeover=True)

    [save] = [d for d in bench.decisions[before:] if isinstance(d, SaveIncident)]
    assert save.incident.paged_for == (Subject.TAKEOVER,)


def test_rule_7_no_decision_carries_text_of_the_session() -> None:
    secret = "the-launch-code"
    bench = fenced()
    bench.cotenant(secret.encode() + b" from a co-tenant\n")
    bench.look()
    bench.apply(approved(bench.ask()), "r1")
    bench.rewrite(CRON, secret.encode() + b" rewritten\n")
    bench.look()
    bench.disk.append(secret.encode() + b" from a stranger\n", foreign=1)
    bench.look()
    refused(bench.ask())
    bench.trip()
    bench.lose()
    bench.close(takeover=True)

    assert len(bench.decisions) > 8
    assert secret not in repr(bench.decisions)


# Custody between windows and processes.


def test_custody_at_a_fence_is_kept_without_reading_when_the_reports_lead_there() -> None:
    bench = fenced()
    bench.take_lock(OWN)
    bench.write(OWN, b"answer\n")

    assert bench.engine.handle(bench.fence_set()) == []
    assert bench.engine.windows[0].account.known


def test_a_gap_ahead_of_a_fence_has_the_file_read() -> None:
    bench = fenced()
    bench.write(OWN, b"answer\n")
    bench.disk.touch()

    assert bench.engine.handle(bench.fence_set()) == [ReadFile(file=FILE), ReadFile(file=FILE, settle=True)]


def test_bytes_that_slipped_in_beside_a_call_have_the_file_read() -> None:
    """Between the looks that a gateway takes around its own write."""
    bench = fenced()
    before = bench.disk.fingerprint
    bench.disk.append(b"answer\n")
    bench.disk.append(FOREIGN, foreign=1)
    bench.done(Operation.APPEND, OWN, b"answer\n", before=before)

    assert bench.engine.handle(bench.fence_set()) == [ReadFile(file=FILE), ReadFile(file=FILE, settle=True)]


def test_a_strangers_bytes_that_a_fence_took_in_are_external_and_paged_once() -> None:
    """The run writes, and its next fence is whatever the file is then: nobody had come to the check."""
    bench = fenced()
    before = len(bench.disk.data)
    bench.disk.append(FOREIGN, foreign=1)
    bench.write(OWN, b"answer\n")
    bench.fence()
    bench.look()
    bench.write(OWN, b"more\n")
    bench.fence()
    bench.look()

    incident = bench.incident
    assert (incident.verdict, incident.grade, incident.turn_lost) == (Verdict.EXTERNAL, Grade.BYTES, False)
    assert [(r.offset, r.length) for r in incident.unexplained] == [(before, len(FOREIGN))]
    assert Reason(ReasonCode.TAKEN_INTO_NEXT_FENCE) in said(incident.reason)
    assert len(bench.pages) == 1


def test_a_takeover_that_was_told_and_that_the_gateway_forgave_is_not_told_again_when_a_fence_takes_it_in() -> None:
    bench = fenced()
    bench.disk.append(FOREIGN, foreign=1)
    refused(bench.ask())
    bench.write(OWN, b"answer\n")
    bench.fence()
    bench.look()

    assert bench.incident.verdict is Verdict.EXTERNAL
    assert len(bench.pages) == 1


def test_what_a_fence_took_in_is_judged_with_the_reports_that_came_since() -> None:
    """A co-tenant of another process says late what it wrote: nobody is accused."""
    bench = fenced()
    bench.handle(ev.LinkOpened(gateway=gateway(OTHER_LINK, 200), at_ns=bench.now()))
    before = bench.disk.fingerprint
    bench.disk.append(b"theirs\n")
    theirs = bench.disk.fingerprint
    bench.write(OWN, b"answer\n")
    bench.fence()
    late = bench.begin(Operation.APPEND, CHANNEL, b"theirs\n", link=OTHER_LINK)
    late = replace(late, before=before, after=theirs, ended=late.began + 1)
    bench.handle(ev.FileChanged(file=FILE, change=late))
    bench.look()

    assert bench.incidents == {}


@pytest.mark.parametrize("loss", ["account", "link"])
def test_rule_5_what_a_fence_took_in_is_nobodys_where_reports_were_lost(loss: str) -> None:
    bench = fenced()
    bench.handle(ev.LinkOpened(gateway=gateway(OTHER_LINK, 200), at_ns=bench.now()))
    bench.disk.append(b"unreported\n")
    bench.write(OWN, b"answer\n")
    bench.fence()
    if loss == "account":
        bench.lose(MISSING, Loss.GAP)
    else:
        bench.handle(ev.LinkLost(link=OTHER_LINK, clean=False, at_ns=bench.now()))
    bench.look()

    assert bench.incidents == {}


def test_a_call_that_is_told_again_behind_a_loss_is_no_takeover_while_its_bytes_land() -> None:
    bench = fenced()
    bench.lose(MISSING, Loss.GAP)
    call = bench.begin(Operation.APPEND, CRON, b"note\n")
    bench.fence()
    bench.look()
    bench.disk.append(b"note\n")
    bench.look()
    bench.end(call)
    approved(bench.ask())

    assert bench.incident.verdict is Verdict.CO_TENANT
    assert bench.pages == []


def test_a_rewrite_inside_a_slow_call_has_the_file_read_at_the_next_fence() -> None:
    """The chain of fingerprints leads past the rewrite, so it does not tell what the file holds."""
    bench = fenced()
    call = bench.begin(Operation.APPEND, CHANNEL, b"hello\n")
    bench.rewrite(CRON, bench.disk.data.upper())
    bench.disk.append(b"hello\n")
    bench.end(call)
    bench.fence("another window", OTHER_RUN)
    bench.cotenant(b"note\n")

    approved(bench.ask("another window", run=OTHER_RUN))


def test_a_write_that_came_between_the_reading_of_a_fence_and_its_report_belongs_to_the_window() -> None:
    """The gateway reads the fingerprint without blocking, so an unlocked write of its own may be reported ahead."""
    bench = fenced()
    bench.write(OWN, b"answer\n")
    fence = bench.disk.fingerprint
    bench.write(CHANNEL, b"mirror\n")
    bench.handle(fence_set(fence, bench.now()))

    approved(bench.ask())

    assert [(w.kind, w.bytes) for w in bench.incident.writers] == [("channel", 7)]


def test_a_call_under_way_at_the_fence_makes_the_window_unattributed_not_external() -> None:
    """Its bytes may be in the file at the fence already, or come later."""
    bench = Bench()
    bench.fence("first")
    call = bench.begin(Operation.APPEND, CRON, b"note\n")
    bench.disk.append(b"no")
    bench.fence()
    bench.disk.append(b"te\n")
    bench.end(call)

    assert refused(bench.ask()).verdict is Verdict.UNATTRIBUTED
    assert bench.pages == []


def test_the_file_is_read_once_the_call_that_was_under_way_at_the_fence_has_returned() -> None:
    """Nothing was written behind the fence, so what is read is what was there at the fence."""
    bench = Bench()
    bench.fence("first")
    call = bench.begin(Operation.APPEND, CRON, b"note\n")
    bench.disk.append(b"note\n")
    bench.fence()
    bench.close("first")
    bench.end(call)
    bench.look()
    bench.write(CHANNEL, b"more\n")

    approved(bench.ask())

    assert bench.incident.verdict is Verdict.CO_TENANT
    assert {w.name: w.bytes for w in bench.incident.writers} == {CHANNEL.name: 5}


def test_a_reading_that_came_too_late_for_one_fence_does_not_cost_the_window_of_another() -> None:
    """Word of the first fence comes when the file has moved on; word of a later one, and of a call, is on its way."""
    bench = fenced()
    call = bench.begin(Operation.APPEND, HEARTBEAT, b"note\n")
    bench.disk.append(b"note\n")
    fence = bench.disk.fingerprint
    done = call.finish(ended=bench.seq(), length=call.length, sha256=call.sha256, after=fence)
    bench.disk.append(b"more\n")

    bench.handle(fence_set(fence, bench.now()))
    bench.handle(ev.FileChanged(file=FILE, change=done))
    bench.handle(fence_set(fence, bench.now(), window="second", run=OTHER_RUN))
    bench.done(Operation.APPEND, CRON, b"more\n", before=fence)

    approved(bench.ask("second", fence=fence, run=OTHER_RUN))
    assert bench.incident.verdict is Verdict.CO_TENANT


def test_a_call_that_went_on_behind_the_fence_leaves_custody_unknown() -> None:
    bench = Bench()
    bench.fence("first")
    call = bench.begin(Operation.APPEND, CRON, b"note\n")
    bench.disk.append(b"no")
    bench.fence()
    bench.disk.append(b"te\n")
    bench.end(call)
    assert bench.reads == []

    assert refused(bench.ask()).verdict is Verdict.UNATTRIBUTED


@pytest.mark.parametrize(("there", "placed"), [(0, True), (2, False), (5, False)])
def test_the_end_of_a_call_that_began_before_custody_was_lost_accuses_nobody(there: int, *, placed: bool) -> None:
    """Custody begins anew at a fence that the call's bytes may be ahead of, behind, or on both sides of."""
    record = b"note\n"
    bench = fenced()
    call = bench.begin(Operation.APPEND, CRON, record)
    if there:
        bench.disk.append(record[:there])
    bench.lose()
    bench.close()
    bench.fence("another window", OTHER_RUN)
    if there < len(record):
        bench.disk.append(record[there:])
    bench.end(call)
    bench.cotenant(b"more\n")

    answer = bench.ask("another window", run=OTHER_RUN)

    assert isinstance(answer, Approve) is placed
    assert bench.incident.verdict is (Verdict.CO_TENANT if placed else Verdict.UNATTRIBUTED)
    assert bench.pages == []


def test_a_call_that_began_before_custody_was_lost_accuses_nobody_while_it_is_under_way() -> None:
    bench = fenced()
    bench.begin(Operation.APPEND, CRON, b"note\n")
    bench.lose()
    bench.fence("another window", OTHER_RUN)
    bench.disk.append(b"no")
    bench.look()

    assert refused(bench.ask("another window", run=OTHER_RUN)).verdict is Verdict.UNATTRIBUTED
    assert bench.pages == []


def test_a_call_whose_end_was_lost_is_given_up_after_a_while() -> None:
    bench = fenced()
    bench.begin(Operation.APPEND, CRON, b"note\n")
    bench.disk.append(b"note\n")
    bench.lose()
    bench.pass_time(CALL_NS)
    bench.fence("another window", OTHER_RUN)
    bench.cotenant(b"more\n")

    approved(bench.ask("another window", run=OTHER_RUN))


def test_a_call_that_has_not_reached_the_file_does_not_keep_custody_from_being_established() -> None:
    bench = Bench()
    call = bench.begin(Operation.APPEND, CRON, b"note\n")
    bench.fence()
    bench.disk.append(b"note\n")
    bench.end(call)

    approved(bench.ask())

    assert [(w.kind, w.bytes) for w in bench.incident.writers] == [("cron", 5)]


def test_a_late_report_is_not_counted_among_what_came_after_the_next_fence() -> None:
    bench = Bench()
    bench.handle(ev.LinkOpened(gateway=gateway(OTHER_LINK, 200), at_ns=bench.now()))
    before = bench.disk.fingerprint
    bench.disk.append(b"theirs\n")
    bench.fence()
    bench.cotenant(b"note\n")
    late = bench.begin(Operation.APPEND, CHANNEL, b"theirs\n", link=OTHER_LINK)
    after = bench.engine.windows[0].fence
    bench.handle(ev.FileChanged(file=FILE, change=replace(late, before=before, after=after, ended=late.began)))
    bench.apply(approved(bench.ask()))
    bench.cotenant(b"more\n")

    approved(bench.ask())

    assert bench.pages == []


def test_a_report_of_another_process_that_comes_after_the_fence_it_led_to_accuses_nobody() -> None:
    """Links are not ordered among each other: the fence may be heard of before the write that it contains."""
    bench = Bench()
    bench.handle(ev.LinkOpened(gateway=gateway(OTHER_LINK, 200), at_ns=bench.now()))
    before = bench.disk.fingerprint
    bench.disk.append(b"from the other process\n")
    after = bench.disk.fingerprint
    bench.fence()
    late = bench.done(Operation.APPEND, CHANNEL, b"from the other process\n", before=before, link=OTHER_LINK)
    assert late.after == after
    bench.cotenant(b"note\n")
    bench.look()

    approved(bench.ask())

    assert [(w.kind, w.bytes) for w in bench.incident.writers] == [("cron", 5)]


def test_a_reading_that_could_not_wait_for_other_processes_accuses_nobody() -> None:
    """A second fence has the file read at once, while the report of what another process wrote is on its way."""
    bench = fenced()
    bench.handle(ev.LinkOpened(gateway=gateway(OTHER_LINK, 200), at_ns=bench.now()))
    before = bench.disk.fingerprint
    bench.disk.append(b"theirs\n")
    bench.fence("another window", OTHER_RUN)
    bench.done(Operation.APPEND, CHANNEL, b"theirs\n", before=before, link=OTHER_LINK)

    approved(bench.ask())

    assert bench.pages == []


def test_a_report_of_another_process_from_well_before_the_fence_accuses_nobody() -> None:
    bench = Bench()
    bench.handle(ev.LinkOpened(gateway=gateway(OTHER_LINK, 200), at_ns=bench.now()))
    before = bench.disk.fingerprint
    bench.disk.append(b"theirs\n")
    theirs = bench.disk.fingerprint
    bench.write(OWN, b"answer\n")
    bench.fence()
    fence = bench.disk.fingerprint
    late = bench.begin(Operation.APPEND, CHANNEL, b"theirs\n", link=OTHER_LINK)
    bench.handle(
        ev.FileChanged(
            file=FILE,
            change=replace(late, before=before, after=theirs, ended=late.began),
        )
    )
    bench.cotenant(b"note\n")

    answer = approved(bench.ask())

    assert answer.fence == fence


@pytest.mark.parametrize("clean", [True, False])
def test_a_call_that_never_returned_does_not_hold_up_custody_for_ever(*, clean: bool) -> None:
    bench = Bench()
    bench.handle(ev.LinkOpened(gateway=gateway(OTHER_LINK, 200), at_ns=bench.now()))
    bench.fence()
    bench.begin(Operation.APPEND, CHANNEL, b"theirs\n", link=OTHER_LINK)
    bench.handle(ev.LinkLost(link=OTHER_LINK, clean=clean, at_ns=bench.now()))

    assert refused(bench.ask()).verdict is Verdict.UNATTRIBUTED

    bench.disk.touch()
    bench.fence()
    bench.cotenant(b"note\n")
    approved(bench.ask())


def test_a_link_that_is_lost_ends_its_windows_and_all_custody() -> None:
    bench = fenced()
    bench.handle(ev.LinkOpened(gateway=gateway(OTHER_LINK, 200), at_ns=bench.now()))
    bench.fence("theirs", OTHER_RUN, OTHER_LINK)
    bench.cotenant(b"note\n")
    bench.look()
    bench.handle(ev.LinkLost(link=OTHER_LINK, clean=False, at_ns=bench.now()))

    assert [w.window_id for w in bench.engine.windows] == [WINDOW]
    assert [g.link for g in bench.engine.gateways] == [LINK]
    assert [i.closed_at_ns > 0 for i in bench.incidents.values() if i.window == "theirs"] == [True]
    assert refused(bench.ask()).verdict is Verdict.UNATTRIBUTED


@pytest.mark.parametrize("told_by", ["fence", "trip"])
def test_a_window_that_another_link_tells_of_is_that_links(told_by: str) -> None:
    """A gateway links anew before the end of its old link was noticed: that end is not the window's."""
    bench = fenced()
    bench.handle(ev.LinkOpened(gateway=gateway(OTHER_LINK), at_ns=bench.now()))
    if told_by == "fence":
        bench.fence(link=OTHER_LINK)
    else:
        bench.disk.touch()
        bench.trip(link=OTHER_LINK)
    bench.handle(ev.LinkLost(link=LINK, clean=True, at_ns=bench.now()))

    [window] = bench.engine.windows
    assert window.gateway.link == OTHER_LINK
    bench.disk.append(FOREIGN, foreign=1)
    assert refused(bench.ask(link=OTHER_LINK)).verdict is Verdict.EXTERNAL
    assert len(bench.pages) == 1
    bench.handle(ev.LinkLost(link=OTHER_LINK, clean=True, at_ns=bench.now()))
    assert bench.engine.windows == ()


def test_rule_5_a_window_that_another_link_tells_of_loses_custody_with_the_old_link() -> None:
    bench = fenced()
    bench.handle(ev.LinkOpened(gateway=gateway(OTHER_LINK), at_ns=bench.now()))
    bench.fence(link=OTHER_LINK)
    bench.handle(ev.LinkLost(link=LINK, clean=False, at_ns=bench.now()))
    bench.disk.append(FOREIGN, foreign=1)

    assert refused(bench.ask(link=OTHER_LINK)).verdict is Verdict.UNATTRIBUTED
    assert bench.pages == []


def test_a_gateway_that_said_goodbye_leaves_custody_of_the_others_intact() -> None:
    bench = fenced()
    bench.handle(ev.LinkOpened(gateway=gateway(OTHER_LINK, 200), at_ns=bench.now()))
    bench.write(CHANNEL, b"theirs\n", link=OTHER_LINK)
    bench.handle(ev.LinkLost(link=OTHER_LINK, clean=True, at_ns=bench.now()))

    approved(bench.ask())


def test_a_step_that_could_not_be_explained_does_not_condemn_the_next_one() -> None:
    """The gateway's own fence forgave the change and moved on; from there on the account is whole again."""
    bench = fenced()
    bench.lose()
    bench.disk.touch()
    assert refused(bench.ask()).verdict is Verdict.UNATTRIBUTED
    bench.fence()
    bench.cotenant(b"note\n")

    answer = bench.ask()

    approved(answer)
    assert bench.incident.verdict is Verdict.UNATTRIBUTED, "the gravest verdict of the window stays"


def test_the_answer_names_the_verdict_that_its_reason_is_about() -> None:
    bench = fenced(can_reload=False)
    bench.remove(CRON)
    bench.look()
    assert bench.incident.verdict is Verdict.RESET
    bench.rewrite(CRON, b"anew\n")

    answer = refused(bench.ask())

    assert answer.verdict is Verdict.CO_TENANT
    assert Reason(ReasonCode.NO_RELOAD) in said(answer.reason)


def test_what_the_adapter_can_do_may_be_told_after_the_fence_was_set() -> None:
    bench = fenced(can_reload=False)
    bench.rewrite(CRON, b"compacted\n")
    refused(bench.ask())
    bench.handle(ev.LinkOpened(gateway=gateway(can_reload=True), at_ns=bench.now()))

    approved(bench.ask())


def test_the_gateways_own_reset_is_neither_recovered_nor_paged() -> None:
    bench = fenced()
    bench.remove(CRON)
    bench.look()

    answer = refused(bench.ask())

    assert answer.verdict is Verdict.RESET
    assert (bench.pages, bench.approvals) == ([], [])


def test_a_policy_without_the_writer_refuses_it() -> None:
    bench = fenced(policy=only(WriterKind.HEARTBEAT))
    bench.cotenant(b"note\n")

    answer = refused(bench.ask())

    assert (answer.verdict, bench.pages) == (Verdict.UNATTRIBUTED, [])
    forbidden = Reason.of(ReasonCode.DEFAULT_FORBIDS, writer="cron daily-digest", may="nothing", did="append")
    assert answer.reason == forbidden


def test_a_symbolic_link_that_was_there_at_the_fence_is_no_takeover() -> None:
    """Custody of what is no regular file is never established, so nothing is proven about it either."""
    bench = fenced(disk=Disk(regular=False))
    bench.cotenant(b"note\n")
    bench.look()

    assert refused(bench.ask()).verdict is Verdict.UNATTRIBUTED
    assert bench.pages == []


def test_an_unlinked_lock_holder_is_named_beside_the_bytes_that_nobody_reported() -> None:
    bench = fenced()
    bench.handle(ev.LockFileSeen(file=FILE, pid=4711, exe="/usr/bin/python3", at_ns=bench.now()))
    bench.disk.append(FOREIGN, foreign=1)
    bench.look()

    (unexplained,) = bench.incident.unexplained
    assert (unexplained.pid, unexplained.exe) == (4711, "/usr/bin/python3")


@pytest.mark.parametrize(("linked", "accused"), [(200, 0), (300, 200)])
def test_a_lock_holder_that_links_speaks_for_itself_and_is_accused_no_more(linked: int, accused: int) -> None:
    """Its lock file was seen before its hello was read. Another process that links clears nobody but itself."""
    bench = fenced()
    bench.handle(ev.LockFileSeen(file=FILE, pid=200, exe="/usr/bin/node", at_ns=bench.now()))
    bench.handle(ev.LinkOpened(gateway=gateway(OTHER_LINK, linked), at_ns=bench.now()))
    bench.disk.append(FOREIGN, foreign=1)

    assert refused(bench.ask()).verdict is Verdict.EXTERNAL
    assert [u.pid for u in bench.incident.unexplained] == [accused]


def test_a_lock_holder_from_before_the_window_is_not_accused() -> None:
    bench = Bench()
    bench.handle(ev.LockFileSeen(file=FILE, pid=4711, exe="/usr/bin/python3", at_ns=bench.now()))
    bench.fence()
    bench.disk.append(FOREIGN, foreign=1)
    bench.look()

    assert [u.pid for u in bench.incident.unexplained] == [0]


# The timeline.


def test_the_timeline_tells_the_story_in_order() -> None:
    bench = fenced()
    bench.handle(
        ev.TimelineNote(file="", run_id=RUN.run_id, what="model.call.started", detail="mock/slow", at_ns=bench.now())
    )
    bench.handle(ev.TimelineNote(file="", run_id="another", what="model.call.started", detail="no", at_ns=bench.now()))
    bench.cotenant(b"note\n")
    bench.look()
    bench.apply(bench.approvals[-1], "r1")
    bench.close()

    told = [(m.what, detail(m)) for m in bench.incident.timeline]
    assert told == [
        ("fence set", "at 19 bytes"),
        ("model.call.started", "mock/slow"),
        ("lock taken", "by cron daily-digest after 2.0 ms"),
        ("write", "append 5 bytes at 19 by cron daily-digest"),
        ("lock released", "by cron daily-digest after 3.0 ms"),
        ("verdict", "co_tenant: every byte is the run's own or was written by cron daily-digest"),
        ("recovery applied", "ahead of the check"),
        ("fence moved", "to 24 bytes"),
        ("window closed", ""),
    ]
    times = [m.at_ns for m in bench.incident.timeline]
    assert times == sorted(times)


def test_a_long_timeline_keeps_its_beginning_and_its_end() -> None:
    bench = fenced()
    for _ in range(MAX_MOMENTS):
        bench.cotenant(b"n\n")
    bench.look()
    bench.close()

    timeline = bench.incident.timeline
    assert len(timeline) <= MAX_MOMENTS
    assert timeline[0].what == "fence set"
    assert timeline[-1].what == "window closed"


def test_what_earlier_fences_left_behind_stays_in_the_incident() -> None:
    bench = recovered()
    bench.cotenant(b"hello\n", HEARTBEAT)
    bench.apply(approved(bench.ask()), "r2")
    bench.close()

    assert [(w.kind, w.bytes) for w in bench.incident.writers] == [("cron", 5), ("heartbeat", 6)]


def test_events_of_windows_that_are_not_known_are_borne() -> None:
    """They may come from before a restart."""
    bench = Bench()
    fingerprint = bench.disk.fingerprint
    strangers: list[ev.Event] = [
        ev.FenceClosed(window="unknown", takeover=True, at_ns=1),
        ev.LineageChecked(window="unknown", missing=("r1",), at_ns=1),
        ev.LinkLost(link="unknown", clean=True, at_ns=1),
        ev.LockFileGone(file=FILE, at_ns=1),
        applied(Approve(link=LINK, window="unknown", file=FILE, fence=fingerprint, current=fingerprint), 1),
    ]
    decisions: list[Decision] = []
    for event in strangers:
        decisions += bench.handle(event)

    assert decisions == []


def test_a_fence_on_a_link_that_is_not_known_is_followed_all_the_same() -> None:
    bench = Bench(linked=False)
    bench.fence()

    assert bench.engine.windows[0].gateway == Gateway(LINK, 0)


def test_custody_of_a_file_that_is_not_there_needs_no_reading() -> None:
    """However soon a co-tenant writes after the fence of a first turn, it costs nothing."""
    bench = Bench(disk=Disk(data=b"", exists=False))
    absent = bench.disk.fingerprint

    made = bench.engine.handle(bench.fence_set())
    bench.cotenant(b'{"type":"session"}\n')

    assert made == [RecallChain(file=FILE)]
    assert isinstance(bench.ask(fence=absent), Approve)


def born() -> Bench:
    """The run's first turn made the file, and no reading of it was needed so far."""
    bench = fenced(disk=Disk(b"", exists=False))
    bench.write(OWN, b"hello\n")
    return bench


def test_the_owner_of_a_file_that_was_never_read_is_that_at_the_fence() -> None:
    """A copy of another owner in its place has the same bytes, and is no unchanged file."""
    bench = born()
    bench.fence()
    bench.disk.uid = 4711
    bench.disk.rename_copy()

    answer = bench.ask()

    assert isinstance(answer, Refuse)
    assert answer.verdict is Verdict.EXTERNAL
    assert answer.reason == Reason.of(ReasonCode.OWNER_CHANGED, before=1000, after=4711)
    assert len(bench.pages) == 1


def test_an_owner_that_was_looked_up_is_not_looked_up_again() -> None:
    bench = born()
    bench.fence()
    bench.write(OWN, b"more\n")
    bench.at_read.append(lambda: pytest.fail("the file is read once more"))
    bench.fence()
    bench.disk.touch()

    assert isinstance(bench.ask(), Approve)


def test_an_owner_that_could_not_be_looked_up_at_the_fence_makes_no_file_unchanged() -> None:
    """Another co-tenant was faster, and what it did is not told yet: that reading says nothing of the fence."""
    bench = born()
    bench.at_read.append(bench.disk.touch)
    bench.fence()

    answer = bench.ask()
    assert isinstance(answer, Refuse)
    assert answer.verdict is Verdict.UNATTRIBUTED
    assert Reason(ReasonCode.OWNER_AT_FENCE_UNKNOWN) in said(answer.reason)
    assert bench.pages == []

    bench.fence()
    bench.disk.touch()
    assert isinstance(bench.ask(), Approve), "the next fence is not touched by it"


@pytest.mark.parametrize(("owner", "verdict"), [(1000, "unchanged"), (0, "unattributed")])
def test_an_owner_that_nobody_looked_up_is_the_gateways_user(owner: int, verdict: str) -> None:
    """The file is born in a report of the gateway and changed at once, ahead of any reading."""
    bench = born()
    bench.handle(ev.LinkOpened(gateway=replace(gateway(), uid=1000), at_ns=bench.now()))
    bench.at_read.append(bench.disk.rename_copy)
    bench.disk.uid = owner
    bench.fence()

    answer = bench.ask()

    assert isinstance(answer, Approve) == (verdict == "unchanged")
    assert bench.incident.verdict == verdict
    assert bench.pages == []


def test_the_look_at_an_owner_concludes_nothing_from_bytes_whose_report_may_be_on_its_way() -> None:
    bench = born()
    bench.at_read.append(lambda: bench.disk.append(b"note\n"))
    before = bench.disk.fingerprint
    bench.fence()
    assert bench.incidents == {}
    bench.done(Operation.APPEND, CRON, b"note\n", before=before)

    assert isinstance(bench.ask(), Approve)
    bench.fence()
    chain = bench.engine.files.chain(FILE, bench.disk.snapshot, bench.now())
    assert [r.writer for r in chain.ranges] == [OWN, CRON]


def test_a_file_that_a_stranger_makes_in_a_first_turn_is_a_takeover() -> None:
    """Rule 1, where there was no file at the fence."""
    bench = Bench(disk=Disk(data=b"", exists=False))

    bench.fence()
    bench.disk.append(FOREIGN, foreign=1)

    answer = bench.ask()
    assert isinstance(answer, Refuse)
    assert answer.verdict is Verdict.EXTERNAL


# What is lost is about the files that are touched


def test_a_file_that_is_as_it_was_at_its_fence_is_untouched_and_one_that_met_anything_is_not() -> None:
    bench = fenced()
    assert bench.engine.files.is_untouched(FILE, bench.disk.fingerprint)
    before = bench.disk.fingerprint
    bench.write(CRON, b"note\n")
    assert not bench.engine.files.is_untouched(FILE, bench.disk.fingerprint)
    assert not bench.engine.files.is_untouched(FILE, before)


def test_a_file_that_changed_and_of_which_nothing_was_told_is_touched() -> None:
    bench = fenced()
    bench.disk.append(FOREIGN, foreign=1)
    assert not bench.engine.files.is_untouched(FILE, bench.disk.fingerprint)

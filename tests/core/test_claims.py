"""A link that is not believed changes no verdict on anybody else: what it says is a claim, and names the liar."""

from typing import Final

import pytest

from sidecar.core import events as ev
from sidecar.core.custody.claims import MAX_CLAIMS, MAX_DIGESTED, Claim, Claims, claimed
from sidecar.core.custody.finding import Absence, Finding
from sidecar.core.decisions import Approve, Decision, ReadFile, Refuse, SaveIncident
from sidecar.core.doubted import MAX_APART, MAX_WINDOWS
from sidecar.core.facts.change import Change, Operation
from sidecar.core.facts.content import BytesContent, Snapshot
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.gateway import Gateway, Run
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.span import Span
from sidecar.core.facts.turn_loss import LossCause, TurnLoss
from sidecar.core.facts.value import replace
from sidecar.core.facts.window_name import apart, as_told, link_of
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.outcomes import CustodyLost
from sidecar.core.verdict.incident import Incident, Outcome
from sidecar.core.verdict.judge import Verdict
from tests.core.kit import (
    CRON,
    FILE,
    LINK,
    RUN,
    WINDOW,
    Bench,
    asked,
    digest,
    fence_set,
    fenced,
    reported,
    said,
    timed_out,
    tripped,
)
from tests.core.test_rows import TRANSCRIPT, Database, row

LIAR: Final = "link-9"
LIAR_PID: Final = 4711
NOT_NODE: Final = Reason.of(ReasonCode.LINK_NOT_NODE, exe="/usr/bin/python3")
DOUBT: Final = Reason.of(ReasonCode.LINK_UNVERIFIED, NOT_NODE, pid=LIAR_PID, exe="/usr/bin/python3")
DOUBTED: Final = Gateway(LIAR, LIAR_PID, "2026.7.35", unverified=NOT_NODE, exe="/usr/bin/python3", uid=1000)
LIE: Final = Writer(WriterKind.HEARTBEAT, "", LIAR_PID)
ITS_RUN: Final = Run(run_id="run-9", kind="user_turn", session=RUN.session)
ITS_WINDOW: Final = apart("w9", LIAR)
FORGED: Final = b'{"type":"message","forged":true}\n'


def doubt(bench: Bench, gateway: Gateway = DOUBTED) -> None:
    """A process links that is not believed."""
    bench.handle(ev.LinkOpened(gateway=gateway, at_ns=bench.now()))


def lie(bench: Bench, data: bytes = FORGED) -> None:
    """It appends, and reports it as a heartbeat's."""
    bench.write(LIE, data, link=LIAR)


def its_fence(bench: Bench) -> list[Decision]:
    """It says that a run of its own has a fence."""
    set_now = fence_set(bench.disk.fingerprint, bench.now(), window=ITS_WINDOW, run=ITS_RUN)
    made = bench.handle(replace(set_now, link=LIAR))
    bench.look()
    return made


def its_question(bench: Bench) -> Refuse:
    """Its run stands at its check."""
    fence = {w.window_id: w.fence for w in bench.engine.windows}[ITS_WINDOW]
    event = asked(fence, bench.disk.snapshot, bench.now(), window=ITS_WINDOW, run=ITS_RUN)
    (answer,) = [d for d in bench.handle(replace(event, link=LIAR)) if isinstance(d, Refuse)]
    return answer


def of(bench: Bench, window: str) -> Incident:
    """The incident of a window as it was saved last."""
    return [d.incident for d in bench.made(SaveIncident) if d.incident.window == window][-1]


# The believed gateway's window


def test_bytes_that_only_a_claim_covers_are_a_takeover_and_the_liar_is_named() -> None:
    bench = fenced()
    doubt(bench)
    fence_size = len(bench.disk.data)
    lie(bench)
    answer = bench.ask()
    assert isinstance(answer, Refuse)
    assert answer.verdict is Verdict.EXTERNAL
    incident = bench.incident
    assert (incident.verdict, incident.grade, incident.recovery.outcome) == (
        Verdict.EXTERNAL,
        Grade.BYTES,
        Outcome.REFUSED,
    )
    assert incident.writers == ()
    (claim,) = incident.claims
    assert (claim.span, claim.writer, claim.pid, claim.exe) == (
        Span(fence_size, len(FORGED)),
        "heartbeat",
        LIAR_PID,
        "/usr/bin/python3",
    )
    named = Reason.of(ReasonCode.CLAIMED_BY, NOT_NODE, pid=LIAR_PID, exe="/usr/bin/python3", writers=("heartbeat",))
    assert named in incident.reason.details
    assert bench.pages


def test_a_liar_that_is_gone_is_named_all_the_same() -> None:
    bench = fenced()
    doubt(bench)
    lie(bench)
    bench.handle(ev.LinkLost(link=LIAR, clean=True, at_ns=bench.now()))
    assert isinstance(bench.ask(), Refuse)
    assert [claim.pid for claim in bench.incident.claims] == [LIAR_PID]


def test_a_claim_of_what_the_gateway_wrote_itself_names_nobody() -> None:
    bench = fenced()
    doubt(bench)
    before = bench.disk.fingerprint
    bench.cotenant(b"digest\n")
    bench.done(Operation.APPEND, LIE, b"digest\n", before=before, link=LIAR)
    assert isinstance(bench.ask(), Approve)
    assert bench.incident.claims == ()
    assert [w.kind for w in bench.incident.writers] == ["cron"]


def test_a_process_that_is_not_believed_costs_no_custody_when_its_link_is_lost() -> None:
    bench = fenced()
    doubt(bench)
    bench.begin(Operation.APPEND, LIE, FORGED, link=LIAR)
    bench.handle(ev.LinkLost(link=LIAR, clean=False, at_ns=bench.now()))
    bench.cotenant(b"digest\n")
    assert isinstance(bench.ask(), Approve)


def test_its_locks_and_claims_of_sessions_are_heard_by_nobody() -> None:
    bench = fenced()
    doubt(bench)
    bench.take_lock(LIE, link=LIAR)
    bench.handle(
        ev.WriterClaimed(
            link=LIAR, session=RUN.session, run_id="run-9", previous=RUN.run_id, superseded=True, at_ns=bench.now()
        )
    )
    (window,) = bench.engine.windows
    assert [moment.what for moment in window.moments] == ["fence set"]
    assert bench.engine.last_holder(FILE) is None
    assert bench.engine.open_holds(bench.now()) == []


def test_a_lock_file_that_names_it_is_a_strangers() -> None:
    bench = fenced()
    doubt(bench)
    bench.take_lock(LIE, link=LIAR)
    bench.handle(ev.LockFileSeen(file=FILE, pid=LIAR_PID, exe="/usr/bin/python3", at_ns=bench.now()))
    bench.time_out(LIAR_PID)
    assert ReasonCode.LOCK_HOLDER_STRANGER in {reason.code for reason in said(bench.incident.reason)}


def test_its_word_of_the_gateways_own_window_is_heard_by_nobody() -> None:
    """The intake sets its windows apart; even unaltered, such a name reaches none but its own."""
    bench = fenced()
    doubt(bench)
    bench.handle(replace(bench.fence_set(), link=LIAR))
    bench.handle(ev.FenceClosed(window=apart(WINDOW, LIAR), takeover=True, at_ns=bench.now()))
    bench.cotenant(b"digest\n")
    answer = bench.ask()
    assert isinstance(answer, Approve)
    assert answer.link == LINK


def test_a_lost_turn_that_it_tells_does_not_make_a_strangers_claim_a_known_one() -> None:
    database = Database()
    database.begin()
    liar = replace(DOUBTED, link=LIAR)
    database.tell(ev.LinkOpened(gateway=liar, at_ns=0))
    stranger = Run(run_id="run-of-a-stranger", session=RUN.session)
    fence = ev.FenceSet(
        link=LIAR, window=ITS_WINDOW, file=TRANSCRIPT, fence=database.version, run=stranger, at_ns=database.clock
    )
    database.tell(fence)
    loss = TurnLoss(LossCause.REBOUND, other_run="run-of-a-stranger")
    database.tell(ev.TurnLost(link=LINK, window=WINDOW, file=TRANSCRIPT, run=RUN, loss=loss, at_ns=database.clock))
    database.tell(ev.FenceClosed(window=WINDOW, takeover=False, at_ns=database.clock))
    assert database.incident.verdict is Verdict.EXTERNAL


# Its own window


def test_what_only_its_own_word_explains_is_unattributed_in_its_own_window() -> None:
    bench = Bench()
    doubt(bench)
    its_fence(bench)
    lie(bench)
    answer = its_question(bench)
    assert (answer.verdict, answer.reason) == (Verdict.UNATTRIBUTED, DOUBT)
    incident = of(bench, ITS_WINDOW)
    assert (incident.verdict, incident.grade, incident.reason) == (Verdict.UNATTRIBUTED, Grade.CLAIMED, DOUBT)
    assert (incident.recovery.outcome, incident.writers) == (Outcome.REFUSED, ())
    assert [claim.span.length for claim in incident.claims] == [len(FORGED)]
    assert not bench.pages


@pytest.mark.parametrize("act", ["own", "touched", "removed", "cotenant"])
def test_its_own_window_is_never_recovered(act: str) -> None:
    bench = Bench()
    doubt(bench)
    its_fence(bench)
    if act == "own":
        bench.write(replace(LIE, run_id=ITS_RUN.run_id), FORGED, link=LIAR)
    elif act == "touched":
        bench.disk.touch()
    elif act == "cotenant":
        bench.write(CRON, FORGED)
    else:
        before = bench.disk.fingerprint
        bench.disk.remove()
        bench.done(Operation.REMOVE, LIE, b"", before=before, link=LIAR)
    answer = its_question(bench)
    assert answer.verdict is Verdict.UNATTRIBUTED
    assert of(bench, ITS_WINDOW).grade is Grade.CLAIMED
    assert not bench.approvals


def test_what_not_even_its_word_explains_is_a_takeover() -> None:
    bench = Bench()
    doubt(bench)
    its_fence(bench)
    lie(bench)
    bench.disk.append(b"and more\n")
    answer = its_question(bench)
    assert answer.verdict is Verdict.EXTERNAL
    assert ReasonCode.LINK_UNVERIFIED in {reason.code for reason in said(answer.reason)}
    assert bench.pages


def test_of_two_liars_neither_explains_what_the_other_wrote() -> None:
    bench = Bench()
    doubt(bench)
    other = replace(DOUBTED, link="link-8", pid=4712)
    doubt(bench, other)
    its_fence(bench)
    bench.write(LIE, FORGED, link="link-8")
    assert its_question(bench).verdict is Verdict.EXTERNAL
    assert [claim.pid for claim in of(bench, ITS_WINDOW).claims] == [4712]


def test_a_second_link_of_the_same_process_speaks_for_it() -> None:
    bench = Bench()
    doubt(bench)
    doubt(bench, replace(DOUBTED, link="link-8"))
    its_fence(bench)
    bench.write(LIE, FORGED, link="link-8")
    assert its_question(bench).verdict is Verdict.UNATTRIBUTED


def test_a_turn_that_its_fence_stopped_is_told_and_nobody_is_paged() -> None:
    bench = Bench()
    doubt(bench)
    its_fence(bench)
    fence = bench.disk.fingerprint
    lie(bench)
    stopped = tripped(fence, bench.disk.snapshot, bench.now(), window=ITS_WINDOW, run=ITS_RUN)
    bench.handle(replace(stopped, link=LIAR))
    incident = of(bench, ITS_WINDOW)
    assert (incident.verdict, incident.turn_lost, incident.paged_for) == (Verdict.UNATTRIBUTED, True, ())
    assert incident.reason.has(ReasonCode.LINK_UNVERIFIED)


def test_a_run_of_its_own_is_not_let_wait_for_the_lock() -> None:
    bench = Bench()
    doubt(bench)
    its_fence(bench)
    event = timed_out(bench.disk.fingerprint, bench.disk.snapshot, bench.now(), window=ITS_WINDOW)
    made = bench.handle(replace(event, link=LIAR))
    assert [d.granted for d in made if hasattr(d, "granted")] == [False]
    assert of(bench, ITS_WINDOW).verdict is Verdict.UNATTRIBUTED


def test_a_strangers_claim_is_no_takeover_on_its_word_alone() -> None:
    database = Database()
    database.begin()
    database.tell(ev.LinkOpened(gateway=DOUBTED, at_ns=0))
    loss = TurnLoss(LossCause.REBOUND, other_run="run-of-a-stranger")
    lost = ev.TurnLost(link=LIAR, window="", file=TRANSCRIPT, run=ITS_RUN, loss=loss, at_ns=1)
    (saved,) = {d.incident.incident_id: d for d in database.tell(lost) if isinstance(d, SaveIncident)}.values()
    incident = saved.incident
    assert (incident.verdict, incident.turn_lost, incident.paged_for) == (Verdict.UNATTRIBUTED, True, ())


def test_a_recovery_that_it_says_it_obeyed_is_none() -> None:
    bench = Bench()
    doubt(bench)
    its_fence(bench)
    lie(bench)
    its_question(bench)
    fingerprint = bench.disk.fingerprint
    obeyed = ev.RecoveryApplied(
        window=ITS_WINDOW,
        applied=True,
        fence=fingerprint,
        current=fingerprint,
        pushed=False,
        latency_ns=1,
        reason="",
        records=("r1",),
        at_ns=bench.now(),
    )
    bench.handle(obeyed)
    bench.handle(ev.FenceClosed(window=ITS_WINDOW, takeover=False, at_ns=bench.now()))
    assert of(bench, ITS_WINDOW).recovery.outcome is Outcome.REFUSED


def test_its_windows_are_bounded_and_its_questions_answered_with_no() -> None:
    bench = Bench()
    doubt(bench)
    for number in range(MAX_WINDOWS + 1):
        event = fence_set(bench.disk.fingerprint, bench.now(), window=apart(f"w{number}", LIAR), run=ITS_RUN)
        bench.handle(replace(event, link=LIAR))
    assert len(bench.engine.windows) == MAX_WINDOWS
    question = asked(bench.disk.fingerprint, bench.disk.snapshot, bench.now(), window=apart("more", LIAR))
    (answer,) = bench.handle(replace(question, link=LIAR))
    assert isinstance(answer, Refuse)
    assert answer.reason == DOUBT


def test_so_are_the_processes_whose_windows_are_looked_after() -> None:
    bench = Bench()
    for number in range(MAX_APART + 1):
        link = f"liar-{number}"
        doubt(bench, replace(DOUBTED, link=link, pid=LIAR_PID + number))
        bench.handle(
            replace(fence_set(bench.disk.fingerprint, bench.now(), window=apart("w", link), run=ITS_RUN), link=link)
        )
    assert len(bench.engine.windows) == MAX_APART


# Believed later, or no more


def test_a_link_is_believed_from_the_moment_that_it_is_verified_and_not_before() -> None:
    bench = fenced()
    doubt(bench)
    lie(bench)
    bench.handle(ev.LinkOpened(gateway=replace(DOUBTED, unverified=None), at_ns=bench.now()))
    answer = bench.ask()
    assert isinstance(answer, Refuse)
    assert answer.verdict is Verdict.EXTERNAL
    bench.trip()
    bench.close(takeover=True)
    bench.fence("w2")
    bench.write(LIE, b"honest\n", link=LIAR)
    assert isinstance(bench.ask("w2"), Approve)


def test_its_windows_of_before_are_over_then() -> None:
    bench = Bench()
    doubt(bench)
    its_fence(bench)
    lie(bench)
    its_question(bench)
    bench.handle(ev.LinkOpened(gateway=replace(DOUBTED, unverified=None), at_ns=bench.now()))
    assert bench.engine.windows == ()
    assert of(bench, ITS_WINDOW).closed_at_ns


def test_a_link_that_is_believed_no_more_is_one_that_was_lost() -> None:
    bench = fenced()
    bench.handle(ev.LinkOpened(gateway=replace(DOUBTED, unverified=None), at_ns=bench.now()))
    doubt(bench)
    bench.cotenant(b"digest\n")
    answer = bench.ask()
    assert isinstance(answer, Refuse)
    assert ReasonCode.LINK_LOST in {reason.code for reason in said(answer.reason)}


def test_a_question_that_it_asked_before_is_not_taken_for_one_of_a_believed_window() -> None:
    bench = Bench()
    doubt(bench)
    its_fence(bench)
    fence = bench.disk.fingerprint
    lie(bench)
    bench.handle(ev.LinkOpened(gateway=replace(DOUBTED, unverified=None), at_ns=bench.now()))
    stopped = tripped(fence, bench.disk.snapshot, bench.now(), window=ITS_WINDOW, run=ITS_RUN)
    assert bench.handle(replace(stopped, link=LIAR)) == []
    assert bench.engine.windows == ()


def test_custody_that_its_own_windows_lose_is_not_told_as_a_loss() -> None:
    bench = Bench()
    doubt(bench)
    its_fence(bench)
    bench.lose()
    assert [type(outcome) for outcome in bench.engine.outcomes] == [CustodyLost]
    bench.handle(ev.LinkLost(link=LIAR, clean=False, at_ns=bench.now()))
    assert CustodyLost not in {type(outcome) for outcome in bench.engine.outcomes}


# Readings


def test_nothing_is_read_at_once_for_it() -> None:
    bench = Bench()
    doubt(bench)
    event = replace(fence_set(bench.disk.fingerprint, bench.now(), window=ITS_WINDOW), link=LIAR)
    assert bench.engine.handle(event) == [ReadFile(file=FILE, settle=True)]


def test_it_is_waited_for_only_where_it_alone_has_a_window() -> None:
    bench = Bench()
    doubt(bench)
    assert not bench.engine.believes(LIAR)
    assert not bench.engine.is_alone(LIAR, FILE)
    its_fence(bench)
    assert bench.engine.is_alone(LIAR, FILE)
    bench.fence()
    assert not bench.engine.is_alone(LIAR, FILE)
    assert not bench.engine.is_alone(LINK, FILE)


# Rows


def test_rows_that_only_a_claim_covers_are_a_takeover_and_the_liar_is_named() -> None:
    database = Database()
    database.begin()
    database.tell(ev.LinkOpened(gateway=DOUBTED, at_ns=0))
    database.commit(LIE, row(3, "forged", role="assistant"), row(4, "too", role="user"), link=LIAR)
    database.tick()
    incident = database.incident
    assert (incident.verdict, incident.window) == (Verdict.EXTERNAL, WINDOW)
    assert [(claim.span, claim.pid) for claim in incident.claims] == [(Span(3, 2), LIAR_PID)]
    assert incident.reason.has(ReasonCode.CLAIMED_BY)
    assert database.approvals == []


def test_rows_of_its_own_window_are_unattributed() -> None:
    database = Database()
    database.begin()
    database.tell(ev.LinkOpened(gateway=DOUBTED, at_ns=0))
    fence = ev.FenceSet(
        link=LIAR, window=ITS_WINDOW, file=TRANSCRIPT, fence=database.version, run=ITS_RUN, at_ns=database.clock
    )
    database.tell(fence)
    before = database.version
    database.commit(LIE, row(3, "forged", role="assistant"), link=LIAR)
    stopped = ev.TurnTripped(
        link=LIAR,
        window=ITS_WINDOW,
        file=TRANSCRIPT,
        fence=before,
        run=ITS_RUN,
        snapshot=database.snapshot(),
        at_ns=database.clock,
    )
    database.tell(stopped)
    its = [d.incident for d in database.decisions if isinstance(d, SaveIncident) and d.incident.window == ITS_WINDOW]
    assert (its[-1].verdict, its[-1].grade) == (Verdict.UNATTRIBUTED, Grade.CLAIMED)


# The book


def claim_of(data: bytes, *, offset: int = -1, operation: Operation = Operation.APPEND, number: int = 1) -> Claim:
    change = reported(operation, LIE, data, change_id=f"c{number}", span=(number, number), offset=offset, link=LIAR)
    return Claim(DOUBTED, DOUBT, change)


@pytest.mark.parametrize(
    ("claims", "found"),
    [
        ([claim_of(b"BBBB")], [(2, 4)]),
        ([claim_of(b"BB", number=1), claim_of(b"BB", number=2)], [(2, 2), (4, 2)]),
        ([claim_of(b"BBC")], []),
        ([claim_of(b"BB")], [(2, 2)]),
        ([claim_of(b"B", offset=5)], [(2, 1)]),
        ([claim_of(b"BBB", offset=3)], [(2, 3)]),
        ([claim_of(b"AABBBBAA", operation=Operation.REWRITE)], [(2, 4)]),
        ([claim_of(b"AABBBBAB", operation=Operation.REWRITE)], []),
        ([claim_of(b"")], []),
        ([], []),
    ],
)
def test_claims_are_matched_by_length_digest_and_order(claims: list[Claim], found: list[tuple[int, int]]) -> None:
    snapshot = Snapshot(
        Fingerprint(exists=True, dev=1, ino=1, size=8, mtime_ns=1, ctime_ns=1), BytesContent(b"AABBBBAA")
    )
    finding = Finding(compared=True, unexplained=(Span(2, 4),))
    spans = [(claim.span.offset, claim.span.length) for claim in claimed(finding, snapshot, claims)]
    assert spans == found


def test_a_claim_behind_something_else_is_found_where_it_says_or_at_the_end() -> None:
    snapshot = Snapshot(
        Fingerprint(exists=True, dev=1, ino=1, size=8, mtime_ns=1, ctime_ns=1), BytesContent(b"AAxxBByCC")
    )
    finding = Finding(compared=True, unexplained=(Span(2, 7),))
    claims = [claim_of(b"BB", offset=4, number=1), claim_of(b"CC", number=2)]
    spans = [(c.span.offset, c.span.length) for c in claimed(finding, snapshot, claims)]
    assert spans == [(4, 2), (7, 2)]


def test_a_liar_does_not_keep_the_sidecar_busy_with_its_claims() -> None:
    """Each claim would have to be looked for at each of many places."""

    class Counted:
        size = 8 << 20
        digested = 0

        def digest(self, _offset: int, length: int) -> str:
            self.digested += length
            return ""

    content = Counted()
    finding = Finding(compared=True, unexplained=(Span(0, content.size),))
    claims = [
        Claim(
            DOUBTED,
            DOUBT,
            reported(Operation.APPEND, LIE, b"x", change_id=f"c{n}", span=(n, n), offset=n, length=(4 << 20) + n),
        )
        for n in range(MAX_CLAIMS)
    ]
    snapshot = Snapshot(Fingerprint(exists=True, dev=1, ino=1, size=content.size, mtime_ns=1, ctime_ns=1), content)
    assert claimed(finding, snapshot, claims) == ()
    assert content.digested <= MAX_DIGESTED


def test_a_removal_and_a_cut_are_named_too() -> None:
    gone = Finding(absent=Absence.TAKEN_AWAY)
    removal = claim_of(b"", operation=Operation.REMOVE)
    assert [c.pid for c in claimed(gone, Snapshot(Fingerprint.absent()), [removal])] == [LIAR_PID]
    cut = Claim(DOUBTED, DOUBT, reported(Operation.TRUNCATE, LIE, change_id="c", span=(1, 1), length=2, link=LIAR))
    snapshot = Snapshot(Fingerprint(exists=True, dev=1, ino=1, size=2, mtime_ns=1, ctime_ns=1), BytesContent(b"AA"))
    missing = Finding(compared=True, unexplained=(Span(2, 0),))
    assert [c.span for c in claimed(missing, snapshot, [cut])] == [Span(2, 0)]


def test_the_book_is_bounded_and_keeps_the_end_of_a_call() -> None:
    book = Claims()
    for number in range(MAX_CLAIMS + 5):
        book.add(FILE, claim_of(b"x", number=number))
    begun = book.of(FILE)[-1]
    assert isinstance(begun.change, Change)
    ended = Claim(DOUBTED, DOUBT, begun.change.finish(ended=99, length=1, sha256=digest(b"x"), after=None))
    book.add(FILE, ended)
    assert len(book.of(FILE)) == MAX_CLAIMS
    assert book.of(FILE)[-1] == ended
    assert book.of("/other") == ()


def test_a_window_that_is_set_apart_has_a_name_that_leads_back() -> None:
    name = apart("100.1.1!link-1", LIAR)
    assert link_of(name) == LIAR
    assert as_told(name, LIAR) == "100.1.1!link-1"
    assert link_of(WINDOW) == ""
    assert as_told(WINDOW, LIAR) == WINDOW

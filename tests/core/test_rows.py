"""Transcripts that are rows of a database: what the core makes of reports, fences and readings of them."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from sidecar.core import events as ev
from sidecar.core.custody.kernel_log import LATE_NS
from sidecar.core.custody.rows.chain import KeptRows
from sidecar.core.custody.rows.ledger import IDLE_NS
from sidecar.core.decisions import Approve, CheckLineage, Decision, ReadFile, RecallChain, SaveIncident, Withdraw
from sidecar.core.engine import Engine
from sidecar.core.errors import FingerprintError
from sidecar.core.facts.change import Operation
from sidecar.core.facts.database import DatabaseHold, LockKind
from sidecar.core.facts.gateway import Adapter, Gateway
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.loss import Loss
from sidecar.core.facts.process import Act, Process
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.rows import (
    Row,
    RowChange,
    RowSnapshot,
    RowVersion,
    digest_of_span,
    is_of_rows,
    parts_of,
)
from sidecar.core.facts.value import replace
from sidecar.core.facts.version import parse_version
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.policy.policy import Mode, Policy
from sidecar.core.policy.rules import Permission, Rule
from sidecar.core.verdict.incident import Incident, Outcome, Subject
from sidecar.core.verdict.judge import Verdict
from tests.core.kit import CHANNEL, GATEWAY_PID, LINK, OTHER_LINK, OWN, RUN, WINDOW, said

TRANSCRIPT = "/state/agents/main/agent/openclaw-agent.sqlite#9b7150a5-18b9-4b71-8714-cd7fec91d896"
HELP = Writer(WriterKind.COMMAND, "help", GATEWAY_PID)
INJECT = Writer(WriterKind.INJECT, "cron", GATEWAY_PID)


def row(
    seq: int, text: str, *, role: str = "", parent: str | None = None, injected: bool = False, key: str = ""
) -> Row:
    """A message; it follows the one before unless another parent is named."""
    above = f"e{seq - 1}" if seq else ""
    digest = hashlib.sha256(f"{seq} {text}".encode()).hexdigest()
    parent_id = above if parent is None else parent
    return Row(seq, digest, len(text), f"e{seq}", parent_id, "message", role, injected, key)


@dataclass
class Database:
    """A database with one transcript, its gateway and the core."""

    policy: Policy = field(default_factory=Policy)
    mode: Mode = Mode.RECOVER
    adapter: Adapter = Adapter.REBASE
    rows: dict[int, Row] = field(default_factory=dict)
    generation: str = "g1"
    decisions: list[Decision] = field(default_factory=list)
    clock: int = 0
    kept: KeptRows | None = None

    def __post_init__(self) -> None:
        self.engine = Engine(self.policy, self.mode)
        self.tell(ev.LinkOpened(gateway=Gateway(LINK, GATEWAY_PID, "2026.9.6", self.adapter), at_ns=0))

    @property
    def version(self) -> RowVersion:
        if not self.rows:
            return RowVersion.absent()
        last = self.rows[max(self.rows)]
        return RowVersion(exists=True, generation=self.generation, seq=last.seq, digest=last.digest)

    def handle(self, event: ev.Event) -> list[Decision]:
        """Tell the core and do nothing else."""
        return self.engine.handle(event)

    def tell(self, event: ev.Event) -> list[Decision]:
        """Tell the core; what it wants read is read at once, as it is now, and so is what was kept."""
        made = self.handle(event)
        self.decisions += made
        for decision in made:
            if isinstance(decision, ReadFile):
                self.read()
            elif isinstance(decision, RecallChain) and self.kept is not None:
                unwatched = Reason(ReasonCode.UNWATCHED)
                self.tell(ev.ChainRecalled(chain=self.kept, reason=unwatched, at_ns=self.clock))
        return made

    def read(self) -> None:
        """A synchronised reading."""
        self.clock += 1
        self.tell(ev.SnapshotTaken(file=TRANSCRIPT, snapshot=self.snapshot(), at_ns=self.clock))

    def snapshot(self) -> RowSnapshot:
        """All rows as they are now."""
        return RowSnapshot(self.version, tuple(self.rows[seq] for seq in sorted(self.rows)) or None, uid=0)

    def store(self, *rows: Row) -> None:
        """Somebody commits these rows and says nothing."""
        self.rows |= {row.seq: row for row in rows}

    def commit(self, writer: Writer, *rows: Row, link: str = LINK) -> None:
        """A linked process commits these rows and reports them."""
        before = set(self.rows)
        self.store(*rows)
        new = all(row.seq not in before for row in rows)
        self.report(writer, *rows, operation=Operation.APPEND if new else Operation.REWRITE, link=link)

    def report(self, writer: Writer, *rows: Row, operation: Operation = Operation.APPEND, link: str = LINK) -> None:
        self.clock += 1
        change = RowChange(f"r{self.clock}", operation, writer, self.clock, self.version, rows, link=link)
        self.tell(ev.FileChanged(file=TRANSCRIPT, change=change))

    def begin(self) -> None:
        """A session with two earlier rows; the run's admitted input is its fence."""
        self.store(row(0, "earlier", role="user"), row(1, "answer", role="assistant"))
        self.commit(OWN, row(2, "question", role="user"))
        self.fence()

    def fence(self) -> None:
        self.clock += 1
        fence = ev.FenceSet(link=LINK, window=WINDOW, file=TRANSCRIPT, fence=self.version, run=RUN, at_ns=self.clock)
        self.tell(fence)

    def tick(self) -> None:
        """The watch saw that somebody changed the database."""
        self.clock += 1
        self.tell(ev.DatabaseChanged(database=parts_of(TRANSCRIPT)[0], at_ns=self.clock))

    def command(self, seq: int) -> None:
        """A typed command: the user's input and the gateway's reply, in two transactions."""
        self.commit(HELP, row(seq, "/help", role="user", key="k1"))
        self.commit(HELP, row(seq + 1, "reply", role="assistant", injected=True, key="k1"))

    def applied(self, *records: str) -> None:
        """The preload has taken in what was approved last, with these records."""
        approval = self.approvals[-1]
        self.tell(
            ev.RecoveryApplied(
                window=WINDOW,
                applied=True,
                fence=approval.fence,
                current=approval.current,
                pushed=True,
                latency_ns=1,
                reason="",
                records=records,
                at_ns=self.clock,
            )
        )

    @property
    def incident(self) -> Incident:
        """As it was saved last."""
        return [d.incident for d in self.decisions if isinstance(d, SaveIncident)][-1]

    @property
    def approvals(self) -> list[Approve]:
        return [d for d in self.decisions if isinstance(d, Approve)]


@pytest.fixture
def database() -> Database:
    opened = Database()
    opened.begin()
    return opened


def test_a_typed_command_is_approved_ahead_with_the_digest_of_exactly_its_rows(database: Database) -> None:
    fence = database.version
    database.command(3)
    [approval] = database.approvals
    assert (approval.fence, approval.current, approval.ask) == (fence, database.version, "")
    assert approval.span == digest_of_span([database.rows[3], database.rows[4]])
    incident = database.incident
    assert (incident.verdict, incident.recovery.outcome) == (Verdict.CO_TENANT, Outcome.APPROVED)
    assert [(w.kind, w.name) for w in incident.writers] == [("command", "help")]


def test_a_second_command_is_approved_with_the_first(database: Database) -> None:
    database.command(3)
    database.command(5)
    assert database.approvals[-1].span == digest_of_span(database.rows[seq] for seq in (3, 4, 5, 6))


def test_input_that_nothing_has_answered_is_not_approved_by_default(database: Database) -> None:
    database.commit(CHANNEL, row(3, "hello", role="user", key="k1"))
    assert database.approvals == []
    incident = database.incident
    assert (incident.verdict, incident.recovery.outcome) == (Verdict.CO_TENANT, Outcome.REFUSED)
    assert ReasonCode.INPUT_UNANSWERED in {r.code for r in said(incident.recovery.reason)}
    assert incident.paged_for == ()


def test_a_rule_may_allow_input_that_nothing_has_answered() -> None:
    rule = Rule(name="telegram", kinds=frozenset({WriterKind.CHANNEL}), may=Permission.APPEND, unanswered=True)
    database = Database(Policy(rules=(rule,)))
    database.begin()
    database.commit(CHANNEL, row(3, "hello", role="user"))
    assert len(database.approvals) == 1


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(row(4, "reply", role="assistant", key="k1"), id="not the gateway's own"),
        pytest.param(row(4, "reply", role="assistant", injected=True, key="k2"), id="to another input"),
        pytest.param(row(4, "reply", role="assistant", injected=True, key="k1", parent="e1"), id="elsewhere"),
        pytest.param(row(4, "reply", role="user", injected=True, key="k1"), id="of a user"),
    ],
)
def test_only_the_gateways_own_reply_behind_it_answers_an_input(database: Database, reply: Row) -> None:
    database.commit(HELP, row(3, "/help", role="user", key="k1"))
    database.commit(HELP, reply)
    assert database.approvals == []


def test_a_note_of_the_gateway_alone_is_approved(database: Database) -> None:
    database.commit(INJECT, row(3, "note", role="assistant", injected=True))
    assert len(database.approvals) == 1


def test_a_release_that_asks_nothing_is_sent_nothing_and_its_changes_are_attributed() -> None:
    database = Database(adapter=Adapter.WATCH)
    database.begin()
    database.command(3)
    assert database.approvals == []
    incident = database.incident
    assert (incident.verdict, incident.recovery.outcome) == (Verdict.CO_TENANT, Outcome.NONE)
    assert incident.paged_for == ()


def test_an_answer_that_comes_before_the_approval_is_late_and_pages_nobody(database: Database) -> None:
    fence = database.version
    database.command(3)
    snapshot = RowSnapshot(database.version, tuple(database.rows[seq] for seq in sorted(database.rows)), uid=0)
    database.tell(
        ev.TurnTripped(
            link=LINK, window=WINDOW, file=TRANSCRIPT, fence=fence, run=RUN, snapshot=snapshot, at_ns=90, heard_ns=90
        )
    )
    database.tell(ev.FenceClosed(window=WINDOW, takeover=True, at_ns=99))
    incident = database.incident
    assert (incident.verdict, incident.recovery.outcome) == (Verdict.CO_TENANT, Outcome.LATE)
    assert incident.turn_lost
    assert incident.paged_for == ()


def test_rows_that_are_not_one_line_are_not_approved(database: Database) -> None:
    database.commit(INJECT, row(3, "note", role="assistant", injected=True, parent="e1"))
    assert database.approvals == []
    assert ReasonCode.NOT_ONE_LINE in {r.code for r in said(database.incident.recovery.reason)}


def _insert(database: Database) -> None:
    database.store(row(3, "foreign", role="user"))


def _rewrite(database: Database) -> None:
    database.store(row(0, "forged", role="user"))


def _delete(database: Database) -> None:
    del database.rows[1]


def _delete_all(database: Database) -> None:
    database.rows.clear()


def _renew(database: Database) -> None:
    database.generation = "g2"


@pytest.mark.parametrize("deed", [_insert, _rewrite, _delete, _delete_all, _renew])
def test_rule_1_what_no_linked_process_reported_is_external_and_paged(
    database: Database, deed: Callable[[Database], None]
) -> None:
    deed(database)
    database.tick()
    assert database.approvals == []
    assert (database.incident.verdict, database.incident.recovery.outcome) == (Verdict.EXTERNAL, Outcome.REFUSED)
    assert database.incident.paged_for == (Subject.TAKEOVER,)


@pytest.mark.parametrize("first", ["command", "stranger"])
def test_rule_1_a_command_beside_a_strangers_row_is_not_approved(database: Database, first: str) -> None:
    if first == "command":
        database.command(3)
        database.store(row(5, "foreign", role="assistant"))
        database.tick()
        assert any(isinstance(d, Withdraw) for d in database.decisions)
    else:
        database.store(row(3, "foreign", role="assistant"))
        database.command(4)
        assert database.approvals == []
    assert database.incident.verdict is Verdict.EXTERNAL


def test_a_changed_row_of_a_command_takes_its_approval_back(database: Database) -> None:
    database.command(3)
    database.store(replace(database.rows[4], digest="0" * 64))
    database.tick()
    assert isinstance(database.decisions[-1], Withdraw | SaveIncident)
    assert database.incident.verdict is Verdict.EXTERNAL


def test_nothing_is_said_of_a_database_that_only_the_run_wrote_to(database: Database) -> None:
    database.tick()
    database.commit(OWN, row(3, "answer", role="assistant"))
    database.fence()
    database.tick()
    assert not [d for d in database.decisions if isinstance(d, SaveIncident)]


def test_a_strangers_row_that_the_runs_next_fence_leaves_behind_is_told(database: Database) -> None:
    database.store(row(3, "foreign", role="assistant"))
    database.commit(OWN, row(4, "answer", role="assistant"))
    database.fence()
    assert database.incident.verdict is Verdict.EXTERNAL
    assert database.incident.paged_for == (Subject.TAKEOVER,)


def test_reports_of_two_links_come_in_any_order(database: Database) -> None:
    first, second = row(3, "one", role="assistant", injected=True), row(4, "two", role="assistant", injected=True)
    database.store(first, second)
    for link, told in ((OTHER_LINK, second), (LINK, first)):
        change = RowChange(link, Operation.APPEND, INJECT, 50, database.version, (told,), link=link)
        database.engine.handle(ev.FileChanged(file=TRANSCRIPT, change=change))
    database.read()
    assert len(database.approvals) == 1


def test_a_late_report_of_rows_that_were_there_at_the_fence_changes_nothing(database: Database) -> None:
    database.report(INJECT, database.rows[1], link=OTHER_LINK)
    database.tick()
    assert not [d for d in database.decisions if isinstance(d, SaveIncident)]


def test_a_window_that_begins_before_custody_is_known_recovers_nothing() -> None:
    database = Database()
    database.store(row(0, "earlier", role="user"))
    engine = database.engine
    engine.handle(ev.FenceSet(link=LINK, window=WINDOW, file=TRANSCRIPT, fence=database.version, run=RUN, at_ns=1))
    database.store(row(1, "note", role="assistant", injected=True))  # ahead of the reading
    database.report(INJECT, database.rows[1])
    assert database.approvals == []


def test_a_report_of_more_deleted_rows_than_anybody_can_count_holds_nobody_up(database: Database) -> None:
    del database.rows[1]
    change = RowChange("r", Operation.REWRITE, INJECT, 50, database.version, (), ((5, 9), (1, 1), (3, 1 << 53)), LINK)
    database.tell(ev.FileChanged(file=TRANSCRIPT, change=change))
    assert not [d for d in database.decisions if isinstance(d, SaveIncident)]
    assert database.engine.rows.chain(TRANSCRIPT, database.snapshot(), database.clock).differences == ()


def test_history_is_searched_for_the_rows_that_a_recovery_took_in(database: Database) -> None:
    database.command(3)
    database.applied("e3", "e4")
    database.commit(OWN, row(5, "answer", role="assistant"))
    database.fence()
    ended = database.tell(ev.FenceClosed(window=WINDOW, takeover=False, at_ns=99))
    assert [d.records for d in ended if isinstance(d, CheckLineage)] == [("e3", "e4")]
    assert database.incident.recovery.outcome is Outcome.EFFECTIVE


def test_a_version_is_read_back_as_it_was_written() -> None:
    version = RowVersion(exists=True, generation="g1", seq=7, digest="ab" * 32)
    assert parse_version(TRANSCRIPT, version.encode()) == version
    assert parse_version(TRANSCRIPT, "absent") == RowVersion.absent()
    assert version.size == 8


@pytest.mark.parametrize(
    "text", ["rows:", "rows:g:-1:" + "a" * 64, "rows:g:1:" + "A" * 64, "rows:g:1:" + "a" * 63, "1:2:3:4:5"]
)
def test_a_version_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(FingerprintError):
        parse_version(TRANSCRIPT, text)


def test_a_file_has_no_version_of_rows() -> None:
    with pytest.raises(FingerprintError):
        parse_version("/state/agents/main/sessions/5e55.jsonl", RowVersion(exists=True, digest="a" * 64).encode())


def test_an_id_names_database_and_session() -> None:
    assert parts_of("/state/agents/a#b/agent/openclaw-agent.sqlite#5e#55") == (
        "/state/agents/a#b/agent/openclaw-agent.sqlite",
        "5e#55",
    )
    assert is_of_rows("/state/agents/a#b/agent/openclaw-agent.sqlite#5e55")


@pytest.mark.parametrize("name", ["5e55.jsonl", "5e#55.jsonl", "x.sqlite#5e55.jsonl"])
def test_a_session_file_is_none_whatever_its_name(name: str) -> None:
    assert not is_of_rows(f"/state/agents/a#b/sessions/{name}")


def test_rule_1_a_turn_that_is_stopped_over_a_transcript_without_rows_is_a_takeover(database: Database) -> None:
    fence = database.version
    database.rows.clear()
    database.tell(
        ev.TurnTripped(
            link=LINK,
            window=WINDOW,
            file=TRANSCRIPT,
            fence=fence,
            run=RUN,
            snapshot=RowSnapshot(RowVersion.absent(), uid=0),
            at_ns=90,
            heard_ns=90,
        )
    )
    assert database.incident.verdict is Verdict.EXTERNAL
    assert database.incident.paged_for == (Subject.TAKEOVER,)


def test_accounts_that_nobody_speaks_of_are_put_away() -> None:
    database = Database()
    database.commit(OWN, row(0, "question", role="user"))
    assert TRANSCRIPT in database.engine.rows.ledgers
    database.tell(ev.TimePassed(at_ns=IDLE_NS * 2))
    assert TRANSCRIPT not in database.engine.rows.ledgers


def stranger(database: Database, kind: LockKind, since_ns: int, until_ns: int = 0, pid: int = 4711) -> None:
    """A process without a link was seen with the database."""
    hold = DatabaseHold(Process(pid, 1, "/usr/bin/python3"), "python3", kind, since_ns, until_ns)
    database.tell(ev.DatabaseHeld(database=parts_of(TRANSCRIPT)[0], hold=hold, at_ns=since_ns))


def named(database: Database) -> set[tuple[int, str]]:
    return {(found.pid, found.exe) for found in database.incident.unexplained}


def test_the_process_that_had_the_database_open_for_writing_is_named_beside_a_strangers_row(
    database: Database,
) -> None:
    stranger(database, LockKind.OPEN, 1)
    _rewrite(database)
    database.tick()
    assert named(database) == {(4711, "/usr/bin/python3")}


def test_a_transcript_whose_rows_are_all_taken_away_names_them_and_the_process(database: Database) -> None:
    stranger(database, LockKind.OPEN, 1)
    _delete_all(database)
    database.tick()
    assert [(found.offset, found.length) for found in database.incident.unexplained] == [(0, 3)]
    assert named(database) == {(4711, "/usr/bin/python3")}


def test_one_that_held_the_write_lock_is_named_ahead_of_one_that_had_it_open(database: Database) -> None:
    stranger(database, LockKind.WRITE, database.clock, database.clock, pid=4712)
    stranger(database, LockKind.OPEN, database.clock + 1)
    _insert(database)
    database.tick()
    assert {pid for pid, _exe in named(database)} == {4712}


@pytest.mark.parametrize("kind", [LockKind.READ_MARK, LockKind.CHECKPOINT])
def test_a_reader_is_not_named(database: Database, kind: LockKind) -> None:
    stranger(database, kind, database.clock)
    _insert(database)
    database.tick()
    assert named(database) == {(0, "")}


def test_one_that_was_gone_before_the_window_is_not_named() -> None:
    database = Database(clock=100)
    stranger(database, LockKind.WRITE, 50, 60)
    database.begin()
    _insert(database)
    database.tick()
    assert named(database) == {(0, "")}


def _seen(database: Database, process: Process) -> None:
    """The kernel saw a process write to the database."""
    database.clock += 1
    place = parts_of(TRANSCRIPT)[0]
    database.tell(ev.KernelAccess(file=place, process=process, act=Act.WRITE, at_ns=database.clock))
    database.tell(ev.KernelDrained(at_ns=database.clock))


@pytest.fixture
def heard() -> Database:
    """A database that the kernel is listened to for, and has been for long."""
    database = Database(clock=10 * LATE_NS)
    database.tell(ev.KernelListening(directory=parts_of(TRANSCRIPT)[0].rpartition("/")[0], at_ns=1))
    database.tell(ev.KernelDrained(at_ns=database.clock))
    database.begin()
    database.fence()
    return database


def test_a_process_that_the_kernel_saw_at_the_database_is_named_in_a_takeover_with_grade_kernel(
    heard: Database,
) -> None:
    _seen(heard, Process(4711, 1, "/usr/bin/python3"))
    _rewrite(heard)
    heard.tick()
    assert (heard.incident.verdict, heard.incident.grade) == (Verdict.EXTERNAL, Grade.KERNEL)
    assert named(heard) == {(4711, "/usr/bin/python3")}
    assert heard.incident.unexplained[0].processes == (Process(4711, 1, "/usr/bin/python3"),)


def test_a_strangers_write_to_the_database_proves_nothing_of_rows_that_are_explained(heard: Database) -> None:
    _seen(heard, Process(4711, 1, "/usr/bin/python3"))
    heard.command(3)
    assert (heard.incident.verdict, heard.incident.grade) == (Verdict.CO_TENANT, Grade.BYTES)


def test_rows_of_a_process_that_the_kernel_saw_alone_have_grade_kernel(heard: Database) -> None:
    _seen(heard, Process(GATEWAY_PID))
    heard.command(3)
    assert (heard.incident.verdict, heard.incident.grade) == (Verdict.CO_TENANT, Grade.KERNEL)
    found = heard.engine.rows.chain(TRANSCRIPT, heard.snapshot(), heard.clock)
    assert [r.grade for r in found.ranges if r.offset >= 3] == [Grade.KERNEL, Grade.KERNEL]


def test_a_strangers_write_to_the_database_makes_no_takeover_where_custody_is_unknown(heard: Database) -> None:
    missing = Reason.of(ReasonCode.REPORTS_MISSING, count=1, pid=GATEWAY_PID)
    heard.tell(ev.AccountBroken(loss=Loss.GAP, reason=missing, at_ns=heard.clock))
    _seen(heard, Process(4711, 1, "/usr/bin/python3"))
    heard.command(3)
    assert not [d for d in heard.decisions if isinstance(d, SaveIncident)]

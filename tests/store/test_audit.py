"""The chain of the records: whatever somebody else changes in the file is found, and the right record is named."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from sidecar.core.facts.value import replace
from sidecar.core.verdict.incident import Outcome, Recovery, Subject
from sidecar.store import audit
from sidecar.store.audit import ABSENT, Entry, Head, HeadError, State, Step, digest
from sidecar.store.errors import StoreCorruptError, StoreWriteError
from sidecar.store.incidents import DATABASE_NAME, IncidentStore
from sidecar.store.stored import PageKey
from sidecar.store.verify import Finding, Tampering, Verification
from tests.store.samples import NOON, SECOND, Clock, foreign, recovered, save_incident

TABLES = ("incidents", "incident_events", "pages", "page_deliveries", "audit")
OLD = tuple(f"20260401T120000Z-0000000{number}" for number in range(3))
COVERED = "20260601T130001Z-0c0c0c0c"


def verified(path: Path, head: Head | None = None) -> Verification:
    with closing(Verification(path, head)) as verification:
        verification.run()
    return verification


def sql(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)


def fill(store: IncidentStore, clock: Clock) -> None:
    """Incidents of every fate: changed, forgotten, with pages that were sent, covered, given up and are due."""
    for name in OLD:
        save_incident(store, recovered(name, opened_at_ns=1, session_file=f"/s/{name}.jsonl"))
    store.forget_before(2)
    for number in range(3):
        approved = recovered(f"i{number}", closed_at_ns=0, recovery=Recovery(Outcome.APPROVED))
        save_incident(store, approved)
        clock.now_ns += SECOND
        save_incident(store, recovered(f"i{number}"))
    save_incident(store, foreign())
    save_incident(store, foreign(COVERED))
    key = PageKey(foreign().incident_id, Subject.TAKEOVER)
    store.page_delivered(key, "d1", clock.now_ns)
    store.page_attempted(key, clock.now_ns, None)
    save_incident(store, recovered("older", opened_at_ns=1))
    store.forget_before(2)
    other = foreign("20260601T140000Z-0e0e0e0e", session_file="/s/other.jsonl")
    save_incident(store, other)
    store.page_attempted(PageKey(other.incident_id, Subject.TAKEOVER), clock.now_ns, "refused")
    store.page_gave_up(PageKey(other.incident_id, Subject.TAKEOVER), clock.now_ns, "given up")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audit") / DATABASE_NAME
    clock = Clock()
    with IncidentStore(path, clock) as store:
        fill(store, clock)
    return path


@pytest.fixture
def filled(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(template, tmp_path / DATABASE_NAME))


def test_what_a_sidecar_saves_is_good(template: Path) -> None:
    verification = verified(template)
    assert verification.findings == []
    assert (verification.incidents, verification.forgotten) == (7, 1)
    assert verification.entries == verification.head.seq - verification.first + 1
    assert verification.total == verification.entries + verification.incidents


# One change by SQL


class Changed(NamedTuple):
    """What a change has touched: incidents by id, and entries of the chain by number."""

    incidents: set[str]
    entries: set[int]


def columns(database: sqlite3.Connection, table: str) -> list[tuple[str, str]]:
    return [(row[1], row[2]) for row in database.execute(f"PRAGMA table_info({table})")]


def touched(table: str, *rows: dict[str, Any]) -> Changed:
    if table == "audit":
        return Changed({row["subject"] for row in rows}, {row["seq"] for row in rows})
    return Changed({row["id" if table == "incidents" else "incident_id"] for row in rows}, set())


def other_value(draw: st.DrawFn, kind: str, old: object, others: list[object]) -> object:
    texts = st.text(st.characters(codec="utf-8"), max_size=8)
    new = {
        "INTEGER": st.integers(-(1 << 63), (1 << 63) - 1),
        "TEXT": texts | st.sampled_from(["own", "external", "saved", "forgotten", "begins", "found"]),
        "BLOB": st.binary(max_size=40),
    }[kind]
    value = draw(st.sampled_from(others) | new)
    assume(value != old)
    return value


@st.composite
def one_change(draw: st.DrawFn, path: Path) -> Changed:
    """Make it, and say what it touches."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.row_factory = sqlite3.Row
        table = draw(st.sampled_from(TABLES))
        rows = [dict(row) for row in database.execute(f"SELECT * FROM {table}")]
        row = draw(st.sampled_from(rows))
        where = " AND ".join(f"{name} IS ?" for name in row)
        how = draw(st.sampled_from(["update", "delete", "insert", "swap"]))
        if how == "delete":
            database.execute(f"DELETE FROM {table} WHERE {where}", tuple(row.values()))
            return touched(table, row)
        name, kind = draw(st.sampled_from(columns(database, table)))
        if how == "swap":
            other = draw(st.sampled_from(rows))
            assume(other[name] != row[name])
            given_, taken = {**row, name: other[name]}, {**other, name: row[name]}
            database.execute(f"DELETE FROM {table} WHERE {where}", tuple(row.values()))
            database.execute(f"DELETE FROM {table} WHERE {where}", tuple(other.values()))
            insert(database, table, given_)
            insert(database, table, taken)
            assume({tuple(r.items()) for r in (row, other)} != {tuple(r.items()) for r in (given_, taken)})
            return touched(table, row, other)
        changed = {**row, name: other_value(draw, kind, row[name], [r[name] for r in rows])}
        if how == "update":
            database.execute(f"DELETE FROM {table} WHERE {where}", tuple(row.values()))
            insert(database, table, changed)
            return touched(table, row, changed)
        insert(database, table, changed)
        return touched(table, changed)


def insert(database: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    try:
        database.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", tuple(row.values()))
    except sqlite3.IntegrityError:
        assume(False)  # noqa: FBT003 - as hypothesis has it


@given(st.data())
@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much])
def test_any_one_change_by_sql_is_found_and_the_right_record_named(
    template: Path, tmp_path: Path, data: st.DataObject
) -> None:
    path = Path(shutil.copy(template, tmp_path / DATABASE_NAME))
    changed = data.draw(one_change(path))
    findings = verified(path).findings
    assert findings, changed
    named = Changed(
        {f.incident for f in findings if f.incident is not None}, {f.entry for f in findings if f.entry is not None}
    )
    assert named.incidents & changed.incidents or named.entries & changed.entries, findings
    assert named.incidents <= changed.incidents, findings
    if not changed.entries:
        assert {f.incident for f in findings} <= changed.incidents, findings


@pytest.mark.parametrize(
    ("statement", "incident", "kind"),
    [
        ("UPDATE incidents SET verdict = 'own' WHERE id = 'i1'", "i1", Tampering.EDITED),
        ("UPDATE incidents SET body = replace(body, 'co_tenant', 'own') WHERE id = 'i1'", "i1", Tampering.EDITED),
        ("UPDATE incidents SET body = CAST(x'ff' AS TEXT) WHERE id = 'i1'", "i1", Tampering.EDITED),
        ("DELETE FROM incidents WHERE id = 'i1'", "i1", Tampering.MISSING),
        ("UPDATE incident_events SET outcome = 'none' WHERE incident_id = 'i1'", "i1", Tampering.EDITED),
        ("UPDATE incident_events SET seq = seq + 1000 WHERE incident_id = 'i1'", "i1", Tampering.EDITED),
        (f"UPDATE pages SET sent_at_ns = 1 WHERE incident_id = '{COVERED}'", COVERED, Tampering.EDITED),
        (f"DELETE FROM pages WHERE incident_id = '{COVERED}'", COVERED, Tampering.EDITED),
        ("INSERT INTO pages (incident_id, about, due_at_ns) VALUES ('x', 'takeover', 1)", "x", Tampering.ADDED),
    ],
)
def test_a_change_is_told_with_its_incident_and_kind(
    filled: Path, statement: str, incident: str, kind: Tampering
) -> None:
    sql(filled, statement)
    assert [(f.incident, f.kind) for f in verified(filled).findings] == [(incident, kind)]


def test_two_records_that_changed_places_are_both_named(filled: Path) -> None:
    sql(
        filled,
        "UPDATE incidents SET id = 'x' WHERE id = 'i0'",
        "UPDATE incidents SET id = 'i0' WHERE id = 'i1'",
        "UPDATE incidents SET id = 'i1' WHERE id = 'x'",
    )
    assert {f.incident for f in verified(filled).findings} == {"i0", "i1"}


def test_a_trigger_is_found(filled: Path) -> None:
    sql(filled, "CREATE TRIGGER t AFTER INSERT ON incidents BEGIN UPDATE incidents SET verdict = 'own'; END")
    assert [(f.kind, "the database has t" in f.what) for f in verified(filled).findings] == [(Tampering.ADDED, True)]


def test_a_table_that_is_gone_is_told_as_damage(filled: Path) -> None:
    sql(filled, "DROP TABLE pages", "CREATE TABLE pages (incident_id)")
    with pytest.raises((StoreCorruptError, OSError)):
        verified(filled)


# The chain itself


def entries(path: Path) -> list[Entry]:
    with closing(sqlite3.connect(path)) as database:
        return [Entry(*row) for row in database.execute(f"{audit.ENTRIES} ORDER BY seq")]


def forge(entry: Entry, **other: Any) -> Entry:  # noqa: ANN401 - any field
    """As one who knows how hashes are made would change it."""
    changed = entry._replace(**other)
    return changed._replace(hash=digest([changed[:-1]]))


def put_entry(path: Path, entry: Entry) -> None:
    row = (*entry[:2], entry.step.decode(), entry.subject.decode(), *entry[4:])
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("INSERT OR REPLACE INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def test_a_replaced_entry_that_is_sound_by_itself_is_named(filled: Path) -> None:
    target = entries(filled)[3]
    put_entry(filled, forge(target, at_ns=target.at_ns + 1))
    finding = verified(filled).findings[0]
    assert (finding.kind, finding.entry) == (Tampering.REPLACED, target.seq)


def test_an_entry_put_in_behind_the_last_is_named_though_it_is_sound(filled: Path) -> None:
    last = entries(filled)[-1]
    put_entry(filled, forge(last, seq=last.seq + 1, previous=last.hash))
    assert [(f.kind, f.entry) for f in verified(filled).findings] == [(Tampering.ADDED, last.seq + 1)]


def test_entries_cut_from_the_end_are_missed_by_their_incident(filled: Path) -> None:
    last = entries(filled)[-1]
    sql(filled, f"DELETE FROM audit WHERE seq = {last.seq}")
    assert [f.incident for f in verified(filled).findings] == [last.subject.decode()]


def test_an_incident_said_to_be_forgotten_that_is_there_is_named(filled: Path) -> None:
    last = entries(filled)[-1]
    state = next(e for e in reversed(entries(filled)) if e.subject == b"i1").state
    put_entry(
        filled,
        forge(last, seq=last.seq + 1, previous=last.hash, step=b"forgotten", subject=b"i1", **state._asdict()),
    )
    assert [(f.kind, f.incident) for f in verified(filled).findings] == [(Tampering.ADDED, "i1")]


def make_anew(path: Path) -> None:
    """What one can do who may write the file and knows everything: a chain that fits what he has made of it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("DELETE FROM audit")
        trail = audit.Trail(lambda: NOON)
        trail.begin(database)
        for (name,) in database.execute("SELECT id FROM incidents").fetchall():
            trail._append(database, Step.SAVED, name, audit.state_of(database, name))


def test_a_chain_made_anew_is_found_by_a_head_that_has_left_the_machine_and_by_nothing_else(filled: Path) -> None:
    seen = verified(filled).head
    sql(filled, "UPDATE incidents SET verdict = 'own', body = replace(body, 'external', 'own')")
    make_anew(filled)
    assert verified(filled).findings == []
    assert verified(filled, Head.parse(str(seen))).findings != []


def test_a_head_of_before_is_found_in_a_chain_that_went_on(filled: Path, clock: Clock) -> None:
    seen = verified(filled).head
    with IncidentStore(filled, clock) as store:
        save_incident(store, recovered("later"))
    assert verified(filled, Head.parse(str(seen))).findings == []
    other = Head(seen.seq, bytes(8))
    assert [(f.kind, f.entry) for f in verified(filled, other).findings] == [(Tampering.REPLACED, seen.seq)]


def test_a_store_put_in_the_place_of_another_is_found_by_the_head(tmp_path: Path, filled: Path, clock: Clock) -> None:
    seen = verified(filled).head
    fresh = tmp_path / "fresh" / DATABASE_NAME
    IncidentStore(fresh, clock).close()
    assert [(f.kind, f.entry) for f in verified(fresh, seen).findings] == [(Tampering.MISSING, seen.seq)]


def test_a_head_that_was_removed_for_its_age_cannot_be_compared(template: Path) -> None:
    assert verified(template, Head(1, bytes(8))).too_old


@pytest.mark.parametrize(
    "text", ["", "12", "12:", "x:0123456789abcdef", "1:0123", "1:0123456789abcdeg", "-1:" + "0" * 16]
)
def test_a_text_that_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(HeadError):
        Head.parse(text)


# Going on


def test_a_changed_record_is_not_made_good_by_saving_it_again(filled: Path, clock: Clock) -> None:
    sql(filled, "UPDATE incident_events SET verdict = 'own' WHERE incident_id = 'i1'")
    with IncidentStore(filled, clock) as store:
        save_incident(store, recovered("i1", turn_lost=True))
        assert store.found_changed == 1
        save_incident(store, recovered("later"))
    assert [(f.kind, f.incident) for f in verified(filled).findings] == [(Tampering.EDITED, "i1")]
    assert entries(filled)[-1].subject == b"later"


def test_a_record_removed_by_somebody_else_is_not_made_good_by_saving_it_again(filled: Path, clock: Clock) -> None:
    sql(filled, "DELETE FROM incidents WHERE id = 'i1'", "DELETE FROM incident_events WHERE incident_id = 'i1'")
    with IncidentStore(filled, clock) as store:
        save_incident(store, recovered("i1"))
    assert {f.incident for f in verified(filled).findings} == {"i1"}


def test_an_entry_put_in_beside_a_running_sidecar_does_not_stop_it_and_is_found(filled: Path, clock: Clock) -> None:
    with IncidentStore(filled, clock) as store:
        last = entries(filled)[-1]
        strange = State(b"1" * 32, ABSENT.history, ABSENT.pages)
        put_entry(filled, forge(last, seq=last.seq + 1, previous=last.hash, subject=b"x", **strange._asdict()))
        save_incident(store, recovered("later"))
    findings = verified(filled).findings
    assert (Tampering.REPLACED, last.seq + 1) in [(f.kind, f.entry) for f in findings]
    assert (Tampering.MISSING, "x") in [(f.kind, f.incident) for f in findings]


def test_a_chain_made_anew_beside_a_running_sidecar_does_not_fit_what_it_saves_next(filled: Path, clock: Clock) -> None:
    with IncidentStore(filled, clock) as store:
        make_anew(filled)
        save_incident(store, recovered("later"))
    assert verified(filled).findings != []


def test_an_entry_with_the_highest_number_there_can_be_does_not_end_the_chain(filled: Path, clock: Clock) -> None:
    last = entries(filled)[-1]
    put_entry(filled, forge(last, seq=(1 << 63) - 1))
    with IncidentStore(filled, clock) as store:
        save_incident(store, recovered("later"))
        assert store.head.seq == last.seq + 1


def test_a_save_that_changes_nothing_adds_no_entry(store: IncidentStore) -> None:
    save_incident(store, foreign())
    head = store.head
    save_incident(store, foreign())
    assert store.head == head


def test_what_could_not_be_saved_has_no_entry(store: IncidentStore) -> None:
    save_incident(store, recovered())
    head = store.head
    with pytest.raises(StoreWriteError), store.writing() as database:  # noqa: PT012 - a transaction that fails
        store.put(database, foreign())
        database.execute("INSERT INTO nothing VALUES (1)")
    assert store.head == head
    save_incident(store, foreign())
    assert verified(store.path).findings == []


# Retention


def forgotten_one_by_one(store: IncidentStore, clock: Clock, count: int) -> Iterator[int]:
    for number in range(count):
        clock.now_ns += SECOND
        save_incident(store, replace(recovered(f"i{number}"), opened_at_ns=clock.now_ns))
        store.forget_before(clock.now_ns - 5 * SECOND, most=2)
        yield number


def test_the_chain_stays_whole_and_short_while_incidents_are_forgotten(store: IncidentStore, clock: Clock) -> None:
    for _ in forgotten_one_by_one(store, clock, 40):
        assert verified(store.path).findings == []
    verification = verified(store.path)
    assert verification.entries < 40
    assert store.head == verification.head


def test_a_record_that_somebody_else_removed_keeps_its_entries(store: IncidentStore, clock: Clock) -> None:
    for number in forgotten_one_by_one(store, clock, 40):
        if number == 7:
            sql(
                store.path,
                "DELETE FROM incident_events WHERE incident_id = 'i7'",
                "DELETE FROM incidents WHERE id = 'i7'",
            )
    assert [(f.kind, f.incident) for f in verified(store.path).findings] == [(Tampering.MISSING, "i7")]


def test_an_entry_that_was_edited_is_not_removed_for_its_age(store: IncidentStore, clock: Clock) -> None:
    for number in forgotten_one_by_one(store, clock, 40):
        if number == 7:
            edited = entries(store.path)[-1].seq
            sql(store.path, f"UPDATE audit SET at_ns = 1 WHERE seq = {edited}")
    assert (Tampering.EDITED, edited) in [(f.kind, f.entry) for f in verified(store.path).findings]


def test_findings_are_bounded(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.store.verify.MAX_FINDINGS", 2)
    sql(filled, "UPDATE incidents SET verdict = 'own'")
    verification = verified(filled)
    assert (len(verification.findings), verification.more) == (2, 4)
    assert isinstance(verification.findings[0], Finding)

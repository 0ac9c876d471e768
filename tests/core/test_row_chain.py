"""The chain of custody of rows: who wrote which, what differs from the reports, what outlives a loss or a restart."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core import events as ev
from sidecar.core.custody.rows.chain import Deed, KeptRows, RowChain, RowDifference, examine_chain
from sidecar.core.decisions import KeepChains, RecallChain
from sidecar.core.facts.change import Operation
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.loss import Loss
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.rows import Row, RowChange, RowSnapshot, digest_of_span
from sidecar.core.facts.value import replace
from tests.core.kit import LINK, OTHER_LINK, OWN
from tests.core.test_rows import HELP, INJECT, TRANSCRIPT, Database, row


def chain(database: Database) -> RowChain:
    return database.engine.rows.chain(TRANSCRIPT, database.snapshot(), database.clock)


def ranges(found: RowChain) -> list[tuple[int, int, str, Grade]]:
    return [(r.offset, r.length, r.writer.label() if r.writer else "", r.grade) for r in found.ranges]


def kept(database: Database) -> list[KeptRows]:
    made = database.tell(ev.TimePassed(at_ns=database.clock))
    return [k for d in made if isinstance(d, KeepChains) for k in d.chains if isinstance(k, KeptRows)]


@pytest.fixture
def database() -> Database:
    """Two rows from before the link; the run's input, and a command with its reply, are reported."""
    opened = Database()
    opened.begin()
    opened.command(3)
    return opened


def test_each_row_has_its_writer_and_those_from_before_the_link_have_none(database: Database) -> None:
    found = chain(database)
    assert ranges(found) == [
        (0, 2, "", Grade.NONE),
        (2, 1, OWN.label(), Grade.BYTES),
        (3, 1, "command help", Grade.BYTES),
        (4, 1, "command help", Grade.BYTES),
    ]
    assert found.ranges[0].sha256 == digest_of_span([database.rows[0], database.rows[1]])
    assert found.differences == ()


def test_custody_begins_with_the_first_word_of_a_transcript_and_not_with_its_first_fence() -> None:
    database = Database()
    database.store(row(0, "earlier", role="user"))
    database.commit(INJECT, row(1, "note", role="assistant"))
    database.store(row(2, "foreign", role="user"))
    assert ranges(chain(database))[:2] == [(0, 1, "", Grade.NONE), (1, 1, INJECT.label(), Grade.BYTES)]
    assert chain(database).differences == (RowDifference(2, 1, Deed.INSERTED),)


def test_a_transcript_of_which_nothing_was_heard_has_no_known_writer_and_no_difference() -> None:
    database = Database()
    database.store(row(0, "earlier", role="user"))
    assert ranges(chain(database)) == [(0, 1, "", Grade.NONE)]
    assert chain(database).differences == ()


def _edit(database: Database) -> None:
    database.store(replace(database.rows[0], digest="0" * 64))


def _delete(database: Database) -> None:
    del database.rows[1]


def _insert(database: Database) -> None:
    database.store(row(5, "foreign"))


def _clear(database: Database) -> None:
    database.rows.clear()


def _renew(database: Database) -> None:
    database.generation = "g2"


DEEDS = [
    pytest.param(_edit, RowDifference(0, 1, Deed.EDITED), id="edited"),
    pytest.param(_delete, RowDifference(1, 1, Deed.DELETED), id="deleted"),
    pytest.param(_insert, RowDifference(5, 1, Deed.INSERTED), id="inserted"),
    pytest.param(_clear, RowDifference(0, 5, Deed.DELETED), id="all deleted"),
    pytest.param(_renew, RowDifference(0, 0, Deed.RENEWED), id="another generation"),
]


@pytest.mark.parametrize(("deed", "difference"), DEEDS)
def test_what_a_stranger_did_is_named_and_to_look_changes_nothing(
    database: Database, deed: Callable[[Database], None], difference: RowDifference
) -> None:
    deed(database)
    assert [chain(database).differences for _ in range(2)] == [(difference,)] * 2


@pytest.mark.parametrize(("deed", "difference"), DEEDS)
def test_it_is_named_for_as_long_as_it_is_there_whatever_looked_at_it_or_was_written_behind_it(
    database: Database, deed: Callable[[Database], None], difference: RowDifference
) -> None:
    deed(database)
    database.tick()
    database.commit(OWN, row(6, "answer", role="assistant"))
    database.fence()
    database.tick()
    if difference.deed is not Deed.RENEWED:
        assert chain(database).differences == (difference,)
    # Of another generation with the same rows the gateway's own next report makes nothing strange any more.


def test_a_strangers_row_that_a_known_writer_replaces_is_as_it_should_be_again(database: Database) -> None:
    _edit(database)
    database.tick()
    database.commit(OWN, row(0, "rewritten", role="user"))
    assert chain(database).differences == ()
    assert ranges(chain(database))[0] == (0, 1, OWN.label(), Grade.BYTES)


def test_rows_that_a_known_writer_deletes_are_not_missing(database: Database) -> None:
    database.generation = "g2"
    del database.rows[3], database.rows[4]
    change = RowChange("x", Operation.REWRITE, OWN, 50, database.version, (), ((3, 4),), LINK)
    database.tell(ev.FileChanged(file=TRANSCRIPT, change=change))
    assert chain(database).differences == ()


def test_rows_that_a_stranger_deleted_are_missing_also_where_the_gateway_begins_anew(database: Database) -> None:
    _clear(database)
    database.tick()
    database.fence()
    database.commit(OWN, row(0, "question", role="user"))
    database.fence()
    assert chain(database).differences == (RowDifference(1, 4, Deed.DELETED),)


def test_between_links_no_order_is_known_so_either_report_of_a_row_explains_it(database: Database) -> None:
    first, second = row(5, "one"), row(5, "two")
    database.store(first)
    for link, told in ((OTHER_LINK, first), (LINK, second)):
        change = RowChange(link, Operation.REWRITE, INJECT, 50, database.version, (told,), link=link)
        database.engine.handle(ev.FileChanged(file=TRANSCRIPT, change=change))
    assert chain(database).differences == ()


def test_a_row_that_is_put_back_by_a_stranger_is_a_difference(database: Database) -> None:
    before = row(5, "note")
    database.commit(INJECT, before)
    database.commit(INJECT, row(5, "another note"))
    database.store(before)
    assert chain(database).differences == (RowDifference(5, 1, Deed.EDITED),)


def test_reports_that_were_lost_leave_writers_of_rows_that_are_still_there_and_a_gap(database: Database) -> None:
    lost = Reason.of(ReasonCode.REPORTS_MISSING, count=1, pid=1)
    database.tell(ev.AccountBroken(loss=Loss.GAP, reason=lost, at_ns=60))
    _edit(database)
    database.store(row(5, "of whom nobody spoke"))
    database.clock = 70
    database.tick()
    found = chain(database)
    assert found.differences == ()
    assert ranges(found)[1:] == [
        (2, 1, OWN.label(), Grade.BYTES),
        (3, 1, "command help", Grade.BYTES),
        (4, 1, "command help", Grade.BYTES),
        (5, 1, "", Grade.NONE),
    ]
    [gap] = found.gaps
    assert (gap.from_ns, gap.reason) == (60, lost)
    assert gap.to_ns > 60


def test_the_first_word_asks_for_what_was_kept_once() -> None:
    database = Database()
    database.begin()
    database.command(3)
    assert [d for d in database.decisions if isinstance(d, RecallChain)] == [RecallChain(file=TRANSCRIPT)]


def test_what_has_changed_is_kept_once_and_only_where_a_writer_is_known(database: Database) -> None:
    [found] = kept(database)
    assert [row.seq for row in found.rows] == [0, 1, 2, 3, 4]
    assert kept(database) == []
    assert not database.engine.unsaved
    nobody = Database()
    nobody.store(row(0, "earlier"))
    nobody.fence()
    assert kept(nobody) == []


def test_a_kept_chain_names_the_writers_of_rows_that_are_still_as_they_were(database: Database) -> None:
    [found] = kept(database)
    later = Database(rows=dict(database.rows), kept=found)
    _edit(later)
    later.store(row(5, "while nobody watched"))
    later.commit(HELP, row(6, "/help", role="user"))
    after = chain(later)
    assert [(r.offset, r.length) for r in after.ranges if r.writer is None] == [(0, 2), (5, 1)]
    assert after.since_ns == found.since_ns
    assert [gap.from_ns for gap in after.gaps] == [found.watched_ns]


def test_without_a_sidecar_the_rows_are_held_against_what_was_kept(database: Database) -> None:
    [found] = kept(database)
    _edit(database)
    _insert(database)
    assert examine_chain(found, (), database.snapshot()).differences == (
        RowDifference(0, 1, Deed.EDITED),
        RowDifference(5, 1, Deed.INSERTED),
    )


def test_a_transcript_that_can_not_be_read_has_a_problem_and_no_difference(database: Database) -> None:
    unread = RowSnapshot(database.version, None, problem="the database can't be read: no")
    found = database.engine.rows.chain(TRANSCRIPT, unread, 9)
    assert (found.problem, found.ranges, found.differences) == (unread.problem, (), ())


ACTS = st.lists(st.tuples(st.sampled_from(["commit", "rewrite", "edit", "insert", "delete"]), st.integers(0, 9)))


def _act(database: Database, told: dict[int, str], number: int, act: str, seq: int) -> None:
    """One act; ``told`` is what was reported of each row last, or was there before."""
    new: Row = row(max([*database.rows, *told], default=-1) + 1 if act == "commit" else seq, f"{act} {number}")
    if act == "rewrite":
        if seq not in database.rows:
            return  # a gateway rewrites only what is there
        database.generation = f"g{number}"
    if act in {"commit", "rewrite"}:
        database.commit(INJECT, new)
        told[new.seq] = new.digest
    elif act == "delete":
        database.rows.pop(seq, None)
    else:
        database.store(new)


@given(ACTS)
def test_rule_1_verify_names_exactly_the_rows_that_are_not_as_they_were_reported(acts: list[tuple[str, int]]) -> None:
    """A plain account of what was done stands against the chain; readings and fences come at any time."""
    database = Database()
    database.begin()
    told: dict[int, str] = {seq: found.digest for seq, found in database.rows.items()}
    for number, (act, seq) in enumerate(acts):
        _act(database, told, number, act, seq)
        if number % 3 == 0:
            database.tick()
        if number % 4 == 0 and database.rows:
            database.fence()
    now = {seq: found.digest for seq, found in database.rows.items()}
    expected = {
        seq: Deed.INSERTED if seq not in told else Deed.DELETED if seq not in now else Deed.EDITED
        for seq in told.keys() | now.keys()
        if told.get(seq) != now.get(seq)
    }
    assert {d.offset + n: d.deed for d in chain(database).differences for n in range(d.length)} == expected

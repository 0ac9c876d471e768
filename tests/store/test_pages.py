from pathlib import Path

import pytest

from sidecar.core.facts.value import replace
from sidecar.core.verdict.incident import Incident, Subject
from sidecar.core.verdict.judge import Verdict
from sidecar.store.incidents import COVERS_NS, IncidentStore
from sidecar.store.stored import PageKey, PageRecord
from tests.store.samples import NOON, SECOND, Clock, foreign, recovered, save_incident

ID = foreign().incident_id
KEY = PageKey(ID, Subject.TAKEOVER)


def page(store: IncidentStore) -> PageRecord:
    stored = store.get(ID)
    assert stored is not None
    return stored.page


def test_an_incident_without_a_page_has_none_due(store: IncidentStore) -> None:
    save_incident(store, recovered())
    stored = store.get(recovered().incident_id)
    assert stored is not None
    assert stored.page == PageRecord()
    assert store.pending_pages() == []


def test_the_page_is_due_in_the_commit_that_asks_for_it(store: IncidentStore) -> None:
    save_incident(store, foreign())
    assert page(store) == PageRecord(Subject.TAKEOVER, due_at_ns=NOON)


def test_a_page_falls_due_once_however_often_its_incident_is_saved(store: IncidentStore, clock: Clock) -> None:
    save_incident(store, foreign())
    clock.now_ns += SECOND
    save_incident(store, foreign())
    assert page(store) == PageRecord(Subject.TAKEOVER, due_at_ns=NOON)


def test_a_failed_attempt_leaves_the_page_pending(store: IncidentStore) -> None:
    save_incident(store, foreign())
    store.page_attempted(KEY, NOON + 1, "destination 1: connection refused")
    assert page(store) == PageRecord(
        Subject.TAKEOVER, attempts=1, last_error="destination 1: connection refused", due_at_ns=NOON
    )
    assert [s.key.incident_id for s in store.pending_pages()] == [ID]


def test_an_attempt_without_an_error_ends_it(store: IncidentStore) -> None:
    save_incident(store, foreign())
    store.page_attempted(KEY, NOON + 1, "no")
    store.page_attempted(KEY, NOON + 2, None)
    assert page(store) == PageRecord(Subject.TAKEOVER, attempts=2, due_at_ns=NOON, sent_at_ns=NOON + 2)
    assert store.pending_pages() == []


def test_giving_up_ends_it_with_the_reason(store: IncidentStore) -> None:
    save_incident(store, foreign())
    store.page_attempted(KEY, NOON + 1, "no")
    store.page_gave_up(KEY, NOON + 2, "no answer after 6 attempts")
    record = page(store)
    assert record.gave_up
    assert not record.sent
    assert record.last_error == "no answer after 6 attempts"
    assert store.pending_pages() == []


def test_a_page_that_was_sent_is_not_given_up(store: IncidentStore) -> None:
    save_incident(store, foreign())
    store.page_attempted(KEY, NOON + 1, None)
    store.page_gave_up(KEY, NOON + 2, "late")
    assert page(store).sent
    assert not page(store).gave_up


def test_pending_pages_and_deliveries_survive_a_restart(path: Path, store: IncidentStore, clock: Clock) -> None:
    save_incident(store, foreign())
    store.page_delivered(KEY, "abc", NOON)
    store.page_delivered(KEY, "abc", NOON)
    store.page_attempted(KEY, NOON + 1, "destination 2: no")
    store.close()
    with IncidentStore(path, clock) as reopened:
        [pending] = reopened.pending_pages()
        assert pending.page.attempts == 1
        assert reopened.deliveries(KEY) == {"abc"}


def test_pending_pages_come_oldest_first(store: IncidentStore, clock: Clock) -> None:
    save_incident(store, foreign("b"))
    clock.now_ns += 1
    save_incident(store, foreign("a", session_file="/s/another.jsonl"))
    assert [s.key.incident_id for s in store.pending_pages()] == ["b", "a"]


def test_any_error_text_is_kept(store: IncidentStore) -> None:
    save_incident(store, foreign())
    store.page_attempted(KEY, NOON, "no \udcff")
    assert page(store).last_error == "no \\xff"


SAME_SESSION = foreign("20260101T120500Z-00000002")


def test_a_further_takeover_of_a_session_is_covered_by_the_page_of_the_first(
    store: IncidentStore, clock: Clock
) -> None:
    save_incident(store, foreign())
    clock.now_ns += COVERS_NS
    save_incident(store, SAME_SESSION)
    stored = store.get(SAME_SESSION.incident_id)
    assert stored is not None
    assert stored.page == PageRecord(Subject.TAKEOVER, due_at_ns=clock.now_ns, covered_by=ID)
    assert [p.key.incident_id for p in store.pending_pages()] == [ID]


@pytest.mark.parametrize(
    "other",
    [
        replace(SAME_SESSION, session_file="/state/agents/main/sessions/another.jsonl"),
        replace(SAME_SESSION, verdict=Verdict.CO_TENANT),
    ],
    ids=["another session", "another verdict"],
)
def test_a_page_covers_only_takeovers_of_its_own_session(store: IncidentStore, other: Incident) -> None:
    save_incident(store, foreign())
    save_incident(store, other)
    assert len(store.pending_pages()) == 2


def test_the_page_of_a_storm_covers_no_takeover(store: IncidentStore) -> None:
    """A person who was told that many sessions changed has not been told that one was taken over."""
    told = foreign(paged_for=(Subject.STORM,))
    save_incident(store, told)
    save_incident(store, SAME_SESSION)
    assert [due.key for due in store.pending_pages()] == [
        (SAME_SESSION.incident_id, Subject.TAKEOVER),
        (ID, Subject.STORM),
    ]


def test_the_end_of_one_page_of_an_incident_is_not_that_of_the_other(store: IncidentStore) -> None:
    save_incident(store, foreign(paged_for=(Subject.STORM, Subject.TAKEOVER)))
    save_incident(store, SAME_SESSION)
    store.page_delivered(PageKey(ID, Subject.STORM), "abc", NOON)
    store.page_attempted(PageKey(ID, Subject.STORM), NOON, None)
    assert page(store) == PageRecord(Subject.TAKEOVER, due_at_ns=NOON)
    assert store.deliveries(PageKey(ID, Subject.STORM)) == {"abc"}
    assert store.deliveries(KEY) == frozenset()
    assert store.page_gave_up(PageKey(ID, Subject.STORM), NOON, "no") == ()
    assert [due.key for due in store.pending_pages()] == [KEY]


def test_an_incident_with_one_page_sent_and_one_due_is_not_forgotten(store: IncidentStore) -> None:
    save_incident(store, foreign(paged_for=(Subject.STORM, Subject.TAKEOVER)))
    store.page_attempted(PageKey(ID, Subject.STORM), NOON, None)
    assert store.forget_before(NOON * 2) == 0
    store.page_attempted(KEY, NOON, None)
    assert store.forget_before(NOON * 2) == 1
    assert store.pending_pages() == []


def test_a_page_covers_for_a_quarter_of_an_hour(store: IncidentStore, clock: Clock) -> None:
    save_incident(store, foreign())
    clock.now_ns += COVERS_NS + 1
    save_incident(store, SAME_SESSION)
    assert len(store.pending_pages()) == 2


def test_a_page_that_nobody_took_covers_nothing(store: IncidentStore, clock: Clock) -> None:
    save_incident(store, foreign())
    save_incident(store, SAME_SESSION)
    assert store.page_gave_up(KEY, clock.now_ns, "no") == (PageKey(SAME_SESSION.incident_id, Subject.TAKEOVER),)
    assert [p.key.incident_id for p in store.pending_pages()] == [SAME_SESSION.incident_id]

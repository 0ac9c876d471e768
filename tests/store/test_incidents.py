import stat
import threading
from pathlib import Path

import pytest

from sidecar.core.facts.value import replace
from sidecar.core.policy.blocked import BlockReason
from sidecar.core.policy.budget import BudgetUse, Scope, Spent
from sidecar.core.verdict.incident import Incident, Outcome, Recovery, Subject, WriterShare
from sidecar.core.verdict.judge import Verdict
from sidecar.store.errors import StoreMissingError
from sidecar.store.incidents import STOPPED, IncidentStore
from sidecar.store.public import incident_json
from sidecar.store.reader import IncidentReader, session_hash
from sidecar.store.stored import PageKey, StoredIncident
from tests.store.samples import KNOWN, NOON, SECOND, SESSION_FILE, Clock, foreign, recovered, save_incident


def ids(found: list[StoredIncident]) -> list[str]:
    return [f.incident.incident_id for f in found]


@pytest.mark.parametrize("incident", [recovered(), foreign()], ids=["recovered", "foreign"])
def test_an_incident_comes_back_as_it_was_saved(store: IncidentStore, incident: Incident) -> None:
    save_incident(store, incident)
    stored = store.get(incident.incident_id)
    assert stored is not None
    assert stored.incident == incident


def test_a_saved_incident_survives_closing_and_opening(path: Path, store: IncidentStore, clock: Clock) -> None:
    save_incident(store, recovered())
    store.close()
    with IncidentStore(path, clock) as reopened:
        found = reopened.get(recovered().incident_id)
    assert found is not None
    assert found.incident == recovered()


def test_closing_twice_is_harmless(store: IncidentStore) -> None:
    store.close()
    store.close()


def test_an_unknown_id_is_none(store: IncidentStore) -> None:
    assert store.get("20260601T120000Z-ffffffff") is None
    assert store.get("\udcff") is None


def test_saving_again_replaces_the_incident_and_keeps_its_history(store: IncidentStore, clock: Clock) -> None:
    intent = recovered(recovery=Recovery(Outcome.APPROVED, reason=KNOWN), closed_at_ns=0)
    save_incident(store, intent)
    clock.now_ns += SECOND
    save_incident(store, replace(intent, recovery=Recovery(Outcome.APPLIED, reason=KNOWN, count=1)))
    clock.now_ns += SECOND
    save_incident(store, recovered())

    stored = store.get(intent.incident_id)
    assert stored is not None
    assert stored.incident == recovered()
    assert [(h.at_ns, h.outcome, h.count) for h in stored.history] == [
        (NOON, Outcome.APPROVED, 0),
        (NOON + SECOND, Outcome.APPLIED, 1),
        (NOON + 2 * SECOND, Outcome.EFFECTIVE, 1),
    ]


def test_saving_without_a_change_of_outcome_adds_nothing_to_the_history(store: IncidentStore) -> None:
    for closed_at_ns in (0, 0, NOON):
        save_incident(store, recovered(closed_at_ns=closed_at_ns))
    stored = store.get(recovered().incident_id)
    assert stored is not None
    assert len(stored.history) == 1


def test_incidents_are_found_newest_first_and_up_to_the_limit(store: IncidentStore) -> None:
    for number in (2, 3, 1):
        save_incident(store, recovered(f"i{number}", opened_at_ns=NOON + number))
    assert ids(store.find(limit=2)) == ["i3", "i2"]


@pytest.mark.parametrize(
    "session",
    [SESSION_FILE, "3f2a8c1e-0001.jsonl", "3f2a8c1e-0001", session_hash("agent:main:main"), "agent:main:main"],
    ids=["path", "name", "uuid", "hash", "key"],
)
def test_a_session_is_found_by_each_of_its_names(store: IncidentStore, session: str) -> None:
    wanted = recovered("wanted")
    save_incident(store, replace(wanted, run=replace(wanted.run, session=session_hash("agent:main:main"))))
    save_incident(store, recovered("other", session_file="/state/agents/main/sessions/other.jsonl"))
    assert ids(store.find(session=session)) == ["wanted"]


def test_the_session_hash_is_the_one_of_the_preload() -> None:
    assert session_hash("agent:main:main") == "6d9217fe77c7f11d"


def test_time_and_verdict_narrow_the_search(store: IncidentStore) -> None:
    save_incident(store, recovered())
    save_incident(store, foreign())
    assert ids(store.find(since_ns=NOON + 1)) == [foreign().incident_id]
    assert ids(store.find(since_ns=NOON)) == [foreign().incident_id, recovered().incident_id]
    assert ids(store.find(verdict=Verdict.CO_TENANT)) == [recovered().incident_id]
    assert store.find(verdict=Verdict.RESET) == []
    assert store.counts_by_verdict() == {"co_tenant": 1, "external": 1}


@pytest.mark.parametrize("name", ["a\nb.jsonl", "\udcff\udcfe.jsonl", "\ud800.jsonl", "nul\0.jsonl", "☃'\".jsonl"])
def test_any_file_name_is_kept_and_found(store: IncidentStore, name: str) -> None:
    file = f"/state/agents/main/sessions/{name}"
    save_incident(store, recovered(session_file=file))
    for session in (file, name, name.removesuffix(".jsonl")):
        [found] = store.find(session=session)
        assert found.incident.session_file == file


def test_files_are_for_their_owner_only(path: Path, store: IncidentStore) -> None:
    save_incident(store, recovered())
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}
    assert {"sidecar.db", "sidecar.db-wal"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def test_the_store_is_read_by_others_while_it_is_written(path: Path, store: IncidentStore) -> None:
    save_incident(store, recovered())
    with IncidentReader(path) as reader:
        assert ids(reader.find()) == [recovered().incident_id]
        save_incident(store, foreign())
        assert ids(reader.find()) == [foreign().incident_id, recovered().incident_id]


def test_a_reader_makes_no_store(path: Path) -> None:
    with pytest.raises(StoreMissingError, match="does not exist"):
        IncidentReader(path)
    assert not path.parent.exists()


def test_threads_may_share_the_store(store: IncidentStore) -> None:
    def work(thread: int) -> None:
        for number in range(20):
            save_incident(store, recovered(f"t{thread}-{number}"))
            assert store.get(f"t{thread}-{number}") is not None

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.counts_by_verdict() == {"co_tenant": 80}


@pytest.mark.parametrize("outcome", [Outcome.APPROVED, Outcome.APPLIED])
def test_an_incident_left_open_is_closed_and_its_outcome_is_not_guessed(
    path: Path, store: IncidentStore, clock: Clock, outcome: Outcome
) -> None:
    save_incident(store, recovered(closed_at_ns=0, recovery=Recovery(outcome, reason=KNOWN, count=1)))
    store.close()
    clock.now_ns += 60 * SECOND
    with IncidentStore(path, clock) as reopened:
        assert reopened.left_open == 1
        stored = reopened.get(recovered().incident_id)
    assert stored is not None
    assert stored.incident.closed_at_ns == clock.now_ns
    assert stored.incident.recovery == Recovery(outcome, reason=STOPPED, count=1)
    assert [h.reason for h in stored.history] == [KNOWN, STOPPED]
    assert stored.incident.timeline[-1].what == "sidecar started"


def test_an_incident_left_open_that_was_refused_stays_so(path: Path, store: IncidentStore, clock: Clock) -> None:
    save_incident(store, foreign(closed_at_ns=0))
    store.close()
    with IncidentStore(path, clock) as reopened:
        stored = reopened.get(foreign().incident_id)
    assert stored is not None
    assert stored.incident.recovery == foreign().recovery
    assert stored.incident.closed_at_ns == clock.now_ns


def test_old_incidents_are_forgotten_unless_something_is_still_to_be_done(store: IncidentStore) -> None:
    save_incident(store, recovered("old", opened_at_ns=NOON - 2))
    save_incident(store, foreign("old-told", opened_at_ns=NOON - 2))
    told = PageKey("old-told", Subject.TAKEOVER)
    store.page_delivered(told, "d", NOON)
    store.page_attempted(told, NOON, None)
    save_incident(store, foreign("old-untold", opened_at_ns=NOON - 2, session_file="/s/untold.jsonl"))
    save_incident(store, recovered("old-open", opened_at_ns=NOON - 2, closed_at_ns=0))
    save_incident(store, recovered("new", opened_at_ns=NOON))
    assert store.forget_before(NOON - 1) == 2
    assert {s.incident.incident_id for s in store.find()} == {"old-untold", "old-open", "new"}
    assert store.forget_before(NOON - 1) == 0


def test_many_old_incidents_are_forgotten_a_part_at_a_time(store: IncidentStore) -> None:
    """A gateway may be waiting for an answer meanwhile."""
    for number in range(5):
        save_incident(store, recovered(f"old{number}", opened_at_ns=NOON - 2))
    assert [store.forget_before(NOON, most=2) for _ in range(4)] == [2, 2, 1, 0]
    assert store.find() == []


def test_recoveries_are_counted_in_the_same_commit_and_over_restarts(
    path: Path, store: IncidentStore, clock: Clock
) -> None:
    save_incident(store, recovered("i1"), NOON)
    save_incident(store, recovered("i1"))
    save_incident(store, recovered("i2", session_file="/s/\udcff.jsonl"), NOON + SECOND)
    store.close()
    with IncidentStore(path, clock) as reopened:
        assert reopened.recoveries_since(0) == [Spent(NOON, SESSION_FILE), Spent(NOON + SECOND, "/s/\udcff.jsonl")]
        reopened.forget_before(NOON + 10 * SECOND)
        assert len(reopened.recoveries_since(NOON + SECOND)) == 1
        assert reopened.recoveries_since(0) == [Spent(NOON + SECOND, "/s/\udcff.jsonl")]


def test_what_a_policy_decided_comes_back(store: IncidentStore) -> None:
    budget_use = BudgetUse(Scope.SESSION, 3, 3600 * SECOND, 3, NOON)
    held = Recovery(Outcome.NOT_ATTEMPTED, hold=BlockReason.SESSION_BUDGET, budget_use=budget_use)
    writer = WriterShare("cron", "x", 1, 5, did="append", may="nothing", rule="r", exe="/usr/bin/node", uid=0)
    incident = recovered(recovery=held, writers=(writer,), rule="r", policy="0a1b2c3d4e5f")
    save_incident(store, incident)
    stored = store.get(incident.incident_id)
    assert stored is not None
    assert stored.incident == incident
    public = incident_json(stored)
    assert (public["rule"], public["policy"], public["recovery"]["hold"]) == ("r", "0a1b2c3d4e5f", "session_budget")
    assert public["recovery"]["budget"] == {
        "scope": "session",
        "limit": 3,
        "period_seconds": 3600.0,
        "used": 3,
        "free_at": "2026-06-01T12:00:00.000000Z",
    }

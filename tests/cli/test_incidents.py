from pathlib import Path

import pytest

from sidecar.core.verdict.incident import Subject
from sidecar.store.incidents import IncidentStore
from sidecar.store.public import incident_json
from sidecar.store.stored import PageKey
from tests.cli.conftest import Command, Result
from tests.store.samples import NOON, SECOND, SESSION_FILE, foreign, recovered, save_incident


def ids(result: Result) -> list[str]:
    assert (result.code, result.err) == (0, "")
    return [i["id"] for i in result.json()["incidents"]]


def test_incidents_are_listed_one_a_line_newest_first(cli: Command, store: IncidentStore) -> None:
    save_incident(store, recovered())
    save_incident(store, foreign())
    lines = cli("incidents").out.splitlines()
    assert [line.split() for line in lines] == [
        ["INCIDENT", "VERDICT", "RECOVERY", "TURN", "PAGE", "SESSION"],
        [foreign().incident_id, "external", "refused", "lost", "due", "3f2a8c1e-0001.jsonl"],
        [recovered().incident_id, "co_tenant", "effective", "kept", "-", "3f2a8c1e-0001.jsonl"],
    ]
    assert all(line == line.rstrip() for line in lines)


def test_json_is_the_public_form(cli: Command, store: IncidentStore) -> None:
    save_incident(store, foreign())
    stored = store.get(foreign().incident_id)
    assert stored is not None
    assert cli("incidents", "--json").json() == {"incidents": [incident_json(stored)]}
    assert cli("explain", foreign().incident_id, "--json").json() == incident_json(stored)


def test_conditions_narrow_the_list(cli: Command, store: IncidentStore) -> None:
    save_incident(store, recovered())
    save_incident(store, foreign(session_file="/elsewhere/x.jsonl"))
    assert ids(cli("incidents", "--json", "--session", SESSION_FILE)) == [recovered().incident_id]
    assert ids(cli("incidents", "--json", "--session", "x.jsonl")) == [foreign().incident_id]
    assert ids(cli("incidents", "--json", "--since", "2026-06-01T12:30:00Z")) == [foreign().incident_id]
    assert ids(cli("incidents", "--json", "--verdict", "external")) == [foreign().incident_id]
    assert ids(cli("incidents", "--json", "--limit", "1")) == [foreign().incident_id]
    assert ids(cli("incidents", "--json", "--verdict", "reset")) == []


def test_a_session_is_found_by_a_path_that_leads_there(
    cli: Command, store: IncidentStore, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = home / "real" / "sessions"
    sessions.mkdir(parents=True)
    (home / "link").symlink_to(home / "real")
    save_incident(store, recovered(session_file=str(sessions / "s.jsonl")))
    monkeypatch.chdir(home)
    for path in ("link/sessions/s.jsonl", "./real/sessions/s.jsonl", f"{home}/link/sessions/s.jsonl", "s"):
        assert ids(cli("incidents", "--json", "--session", path)) == [recovered().incident_id]


def test_incidents_of_a_running_sidecar_are_seen_at_once(cli: Command, store: IncidentStore) -> None:
    assert ids(cli("incidents", "--json")) == []
    save_incident(store, recovered())
    assert ids(cli("incidents", "--json")) == [recovered().incident_id]


def test_no_store_is_no_incidents_and_says_where_it_looked(cli: Command, data_dir: Path) -> None:
    result = cli("incidents", "--json")
    assert (result.code, result.json()) == (0, {"incidents": []})
    assert f"{data_dir}/sidecar.db: does not exist" in result.err
    assert not data_dir.exists()


def test_the_store_is_found_by_the_state_directory(cli: Command, home: Path) -> None:
    assert f"{home}/.local/state/openclaw-sidecar/" in cli("incidents").err


def test_a_store_that_cannot_be_read_is_one_line_and_exit_code_3(cli: Command, data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "sidecar.db").write_text("no database, but long enough to look like one" * 20)
    for arguments in (["incidents"], ["explain", "x"]):
        result = cli(*arguments)
        assert result.code == 3
        assert result.err.count("\n") == 1
        assert "nothing in it was changed" in result.err


def test_an_unknown_incident_is_a_finding(cli: Command, store: IncidentStore, data_dir: Path) -> None:
    result = cli("explain", "20260601T120000Z-ffffffff\n\x1b[2J")
    assert result.code == 1
    assert result.out == ""
    assert result.err.count("\n") == 1
    assert "no incident 20260601T120000Z-ffffffff\\x0a\\x1b[2J in" in result.err


def test_an_incident_is_not_explained_without_a_store(cli: Command, data_dir: Path) -> None:
    assert cli("explain", "x").code == 1


def test_hostile_names_do_not_reach_the_terminal(cli: Command, store: IncidentStore) -> None:
    name = "a\nb\x1b[2J\udcff\u202e.jsonl"
    save_incident(store, foreign(session_file=f"/s/{name}"))
    listing, story = cli("incidents"), cli("explain", foreign().incident_id)
    assert "a\\x0ab\\x1b[2J\\xff\\u202e.jsonl" in listing.out
    assert "a\\x0ab\\x1b[2J\\xff\\u202e.jsonl" in story.out
    assert "\x1b" not in listing.out + story.out
    assert "tail -c" not in story.out
    assert cli("incidents", "--json").json()["incidents"][0]["session_file"] == "/s/a\nb\x1b[2J\\xff\u202e.jsonl"


def test_listing_shows_what_is_open_and_what_became_of_pages(cli: Command, store: IncidentStore) -> None:
    save_incident(store, recovered("a", closed_at_ns=0))
    save_incident(store, foreign("b", opened_at_ns=NOON + SECOND))
    store.page_attempted(PageKey("b", Subject.TAKEOVER), NOON, None)
    save_incident(store, foreign("c", opened_at_ns=NOON + 2 * SECOND, session_file="/s/c.jsonl"))
    store.page_gave_up(PageKey("c", Subject.TAKEOVER), NOON, "no")
    save_incident(store, foreign("d", opened_at_ns=NOON + 3 * SECOND))
    columns = [line.split()[3:5] for line in cli("incidents").out.splitlines()[1:]]
    assert columns == [["lost", "covered"], ["lost", "failed"], ["lost", "sent"], ["open", "-"]]
    assert "told by the page of b" in cli("explain", "d").out

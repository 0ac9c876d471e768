import sqlite3
from pathlib import Path
from urllib.parse import quote

import pytest

from sidecar.store.incidents import IncidentStore
from sidecar.store.public import incident_json
from tests.store.samples import NOON, SECOND, SESSION_FILE, Clock, foreign, recovered, save_incident
from tests.web.conftest import Answer, Api, Service


def ids(answer: Answer) -> list[str]:
    assert answer.status == 200
    return [i["id"] for i in answer.json()["incidents"]]


def test_the_status_is_complete(api: Api, service: Service) -> None:
    service.ail()
    body = api("/v1/status").json()
    assert body["gateways"][0]["adapter"] == "swap"
    assert body["started_at"] == "2026-06-01T12:00:00.000000Z"
    assert body["incidents"] == {"co_tenant": 2}
    assert body["problems"] == [
        {"code": "preload_missing", "what": "gateway 7 has no preload", "remedy": "openclaw-sidecar hook"}
    ]
    assert body["pages"].keys() == {"destinations", "sent", "failed", "pending", "last_error"}


def test_a_status_with_strange_names_is_still_json(api: Api, service: Service) -> None:
    service.ail(state_dir="/a\udcff\n")
    assert api("/v1/status").json()["state_dir"] == "/a\\xff\n"


def test_incidents_are_listed_newest_first_in_their_public_form(api: Api, store: IncidentStore) -> None:
    save_incident(store, recovered())
    save_incident(store, foreign())
    answer = api("/v1/incidents")
    assert ids(answer) == [foreign().incident_id, recovered().incident_id]
    stored = store.get(foreign().incident_id)
    assert stored is not None
    assert answer.json()["incidents"][0] == incident_json(stored)


def test_conditions_narrow_the_list(api: Api, store: IncidentStore, clock: Clock) -> None:
    save_incident(store, recovered())
    save_incident(store, foreign(session_file="/elsewhere/x.jsonl"))
    clock.now_ns = NOON + 3700 * SECOND
    assert ids(api(f"/v1/incidents?session={quote(SESSION_FILE)}")) == [recovered().incident_id]
    assert ids(api("/v1/incidents?session=x")) == [foreign().incident_id]
    assert ids(api("/v1/incidents?since=30m")) == [foreign().incident_id]
    assert len(ids(api("/v1/incidents?since=2026-06-01T12:00:00Z"))) == 2
    assert ids(api("/v1/incidents?verdict=external")) == [foreign().incident_id]
    assert ids(api("/v1/incidents?limit=1")) == [foreign().incident_id]
    assert ids(api("/v1/incidents?verdict=reset")) == []


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("verdict=foreign", "verdict: Input should be 'own', 'co_tenant'"),
        ("limit=0", "limit: Input should be greater than or equal to 1"),
        ("limit=1001", "limit: Input should be less than or equal to 1000"),
        ("limit=x", "limit: Input should be a valid integer"),
        ("since=yesterday", "since: 'yesterday' is no time"),
        ("sesion=x", "sesion: Extra inputs are not permitted"),
    ],
)
def test_a_condition_that_is_none_is_refused_with_the_reason(api: Api, query: str, detail: str) -> None:
    answer = api(f"/v1/incidents?{query}")
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].startswith(detail)


def test_one_incident_is_given_by_its_id(api: Api, store: IncidentStore) -> None:
    save_incident(store, recovered(session_file="/s/\udcff\n.jsonl"))
    answer = api(f"/v1/incidents/{recovered().incident_id}")
    assert answer.status == 200
    assert answer.json()["session_file"] == "/s/\\xff\n.jsonl"


@pytest.mark.parametrize(
    "address", ["/v1/incidents/20260601T120000Z-ffffffff", "/v1/incidents/%ff%00%0a", "/nowhere", "/"]
)
def test_what_is_not_there_is_a_problem_in_json(api: Api, address: str) -> None:
    answer = api(address)
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 404


def test_nothing_can_be_changed(api: Api) -> None:
    answer = api("/v1/incidents", "POST")
    assert answer.status == 405
    assert answer.headers["allow"] == "GET"
    assert answer.json()["title"] == "Method Not Allowed"


def test_a_store_that_fails_is_a_problem_and_not_a_traceback(api: Api, store: IncidentStore, path: Path) -> None:
    save_incident(store, recovered())
    with sqlite3.connect(path) as database:
        database.execute("UPDATE incidents SET body = '{}'")
    database.close()
    answer = api("/v1/incidents")
    assert answer.status == 503
    assert recovered().incident_id in answer.json()["detail"]
    assert api("/v1/status").status == 200


def test_no_text_of_an_answer_can_work_on_a_terminal(api: Api, service: Service) -> None:
    service.ail(state_dir="/\x1b]0;owned\x07/\x9b31m/\u202egpj.exe")
    body = api("/v1/status").body
    assert body.isascii()
    assert not any(byte < 0x20 or byte == 0x7F for byte in body)


def test_the_schema_of_the_api_is_served(api: Api) -> None:
    paths = api("/openapi.json").json()["paths"]
    assert paths.keys() >= {"/v1/status", "/v1/incidents", "/v1/incidents/{incident_id}"}

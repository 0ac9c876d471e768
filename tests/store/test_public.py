import json

import pytest

from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.process import Ancestor, Process, Tool
from sidecar.core.facts.value import replace
from sidecar.core.verdict.incident import Incident, Subject, UnexplainedRange
from sidecar.store.codec import decode, encode
from sidecar.store.public import incident_json, iso_utc
from sidecar.store.stored import PageRecord, StoredIncident
from tests.store.samples import NOON, SECOND, SESSION_FILE, foreign, held, recovered


def test_who_held_the_database_of_a_lost_turn_is_told() -> None:
    body = incident_json(StoredIncident(decode(Incident, encode(held())), ()))
    assert body["lost"]["reason_code"] == "lost_to_holder"
    assert body["lost"]["holder"] == {
        "pid": 777,
        "started_at": "2026-06-01T11:59:59.000000Z",
        "exe": "/usr/bin/python3.11",
        "command": "python3 /opt/backup.py",
        "cgroup": "",
        "container": "ab" * 32,
        "uid": 1000,
        "tool": None,
        "lock": "write",
        "since": "2026-06-01T12:00:00.000000Z",
        "until": None,
    }


def test_the_public_form_has_everything_that_is_promised() -> None:
    page = PageRecord(Subject.TAKEOVER, attempts=2, due_at_ns=NOON, sent_at_ns=NOON + SECOND)
    body = incident_json(StoredIncident(foreign(), (page,)))
    assert body["id"] == foreign().incident_id
    assert body["session_file"] == SESSION_FILE
    assert body["opened_at"] == "2026-06-01T13:00:00.000000Z"
    assert body["closed_at"] == "2026-06-01T13:00:09.000000Z"
    assert body["verdict"] == "external"
    assert body["evidence"] == "bytes"
    assert body["turn_lost"] is True
    assert body["writers"][1] == {
        "kind": "cron",
        "name": "daily-digest",
        "pid": 4242,
        "bytes": 300,
        "own": False,
        "run_id": "",
        "did": "",
        "may": "",
        "rule": "",
        "exe": "",
        "uid": None,
        "token": False,
    }
    assert body["unexplained"] == [
        {"offset": 4300, "length": 100, "pid": 777, "exe": "/usr/bin/python3.11", "processes": [], "unit": "bytes"}
    ]
    assert body["fence"] == {
        "exists": True,
        "dev": 66,
        "ino": 4711,
        "size": 4000,
        "mtime_ns": NOON,
        "ctime_ns": NOON,
    }
    assert body["current"]["size"] == 4400
    assert body["recovery"]["outcome"] == "refused"
    assert body["recovery"].keys() >= {"outcome", "mode", "latency_ms", "reason", "count", "pushed"}
    assert body["pages"] == [body["page"]]
    assert body["page"] == {
        "about": "takeover",
        "due": True,
        "sent": True,
        "attempts": 2,
        "last_error": "",
        "due_at": "2026-06-01T12:00:00.000000Z",
        "sent_at": "2026-06-01T12:00:01.000000Z",
        "gave_up": False,
        "covered_by": "",
    }
    assert (body["run_id"], body["trace_id"], body["session"]) == ("run-1", "1" * 32, "0123456789abcdef")
    told = {
        "version": "2026.5.18",
        "adapter": "swap",
        "pid": 4242,
        "exe": "",
        "verified": True,
        "proof": "",
        "checks": [],
    }
    assert body["gateway"].items() >= told.items()
    assert body["gateway"]["unverified"]["reason_code"] == ""
    assert body["claims"] == []
    assert body["timeline"][0] == {
        "at": "2026-06-01T11:59:59.000000Z",
        "what": "fence set",
        "detail": "at 4000 bytes",
    }


def test_a_window_that_is_open_has_no_end() -> None:
    assert incident_json(StoredIncident(recovered(closed_at_ns=0)))["closed_at"] is None


def test_a_file_that_is_gone_has_an_absent_fingerprint() -> None:
    body = incident_json(StoredIncident(recovered(current=Fingerprint.absent())))
    assert body["current"] == {"exists": False, "dev": 0, "ino": 0, "size": 0, "mtime_ns": 0, "ctime_ns": 0}


@pytest.mark.parametrize(
    ("name", "shown"), [("a\udcff.jsonl", "a\\xff.jsonl"), ("a\ud800", "a\\ud800"), ("ä\n", "ä\n")]
)
def test_any_file_name_gives_json_that_every_program_reads(name: str, shown: str) -> None:
    body = incident_json(StoredIncident(recovered(session_file=name)))
    assert json.loads(json.dumps(body, ensure_ascii=False).encode("utf-8"))["session_file"] == shown


def test_times_keep_their_microseconds() -> None:
    assert iso_utc(NOON + 123_456_789) == "2026-06-01T12:00:00.123456Z"
    assert iso_utc(0) is None


def test_what_the_kernel_saw_comes_through_the_store_and_is_public() -> None:
    tool = Tool("vim notes", (Ancestor(776, "sh"), Ancestor(4242, "node openclaw")), 4242, "run-9", "5e55", "exec")
    seen = Process(777, NOON, "/usr/bin/vim", "/system.slice/docker-x.scope", "ab" * 32, 1000, tool)
    incident = replace(foreign(), unexplained=(UnexplainedRange(10, 5, 777, seen.exe, (seen, Process(778))),))
    assert decode(Incident, encode(incident)) == incident
    (found,) = incident_json(StoredIncident(incident))["unexplained"]
    assert found["processes"] == [
        {
            "pid": 777,
            "started_at": "2026-06-01T12:00:00.000000Z",
            "exe": "/usr/bin/vim",
            "cgroup": "/system.slice/docker-x.scope",
            "container": "ab" * 32,
            "uid": 1000,
            "tool": {
                "command": "vim notes",
                "parents": [{"pid": 776, "command": "sh"}, {"pid": 4242, "command": "node openclaw"}],
                "gateway": 4242,
                "run_id": "run-9",
                "session": "5e55",
                "call": "exec",
            },
        },
        {"pid": 778, "started_at": None, "exe": "", "cgroup": "", "container": "", "uid": -1, "tool": None},
    ]

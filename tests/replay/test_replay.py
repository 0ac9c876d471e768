"""What operators have reported upstream, judged again from files; and files that are none, or were tampered with."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.cli import main
from sidecar.core import events as ev
from sidecar.core.content import BytesContent
from sidecar.core.decisions import Refuse
from sidecar.core.fingerprint import Fingerprint
from sidecar.core.glob import Glob
from sidecar.core.hold import Hold, Pause
from sidecar.core.incident import Outcome, Subject
from sidecar.core.policy import Mode, Policy
from sidecar.core.recording import MAX_EVENTS, NotRecordedError, RecordedContent, Recording
from sidecar.core.rules import May, Rule
from sidecar.core.verdict import Verdict
from sidecar.store.incidents import IncidentStore
from sidecar.store.reader import IncidentReader
from sidecar.store.recordings import RecordingStore, exported
from sidecar.store.tapes import decode, encode, pack, unpack
from tests.core.kit import CRON, FILE, OWN, WINDOW
from tests.replay.stories import ASKED, HERE, NOTE, REPLY, Taped, fenced, text_of, written
from tests.store.samples import NOON, Clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EXPECTED = {
    "channel_in_a_shared_session": ("co_tenant", "effective", False),
    "cli_in_its_own_process": ("co_tenant", "effective", False),
    "compaction_with_a_reload": ("co_tenant", "effective", False),
    "compaction_without_a_reload": ("co_tenant", "refused", False),
    "cron_announce": ("co_tenant", "effective", False),
    "cron_run_is_fenced": ("co_tenant", "effective", False),
    "ctime_drift": ("unchanged", "effective", False),
    "cut_and_grown_again": ("co_tenant", "effective", False),
    "delivery_mirror": ("co_tenant", "effective", False),
    "events_lost_in_the_window": ("unattributed", "refused", False),
    "hard_links": ("unchanged", "effective", False),
    "heartbeats_in_one_window": ("co_tenant", "effective", False),
    "inode_of_a_share": ("unchanged", "effective", False),
    "lock_held_too_long_by_a_cotenant": ("co_tenant", "effective", False),
    "lock_held_by_a_stranger": ("external", "refused", True),
    "message_off_the_path": ("co_tenant", "ineffective", True),
    "metadata_record": ("co_tenant", "effective", False),
    "older_copy_put_back": ("external", "refused", True),
    "one_trip_told_twice": ("co_tenant", "not_attempted", False),
    "own_write_of_a_long_turn": ("own", "effective", False),
    "plugin_write": ("co_tenant", "effective", False),
    "sessions_send": ("co_tenant", "effective", False),
    "sidecar_started_in_the_window": ("unattributed", "refused", False),
    "taken_in_by_the_next_fence": ("external", "refused", True),
    "takeover_beside_a_cotenant": ("external", "refused", True),
    "two_runs_fenced_at_once": ("co_tenant", "effective", False),
}
"""Verdict, outcome and page, by hand: a file that is written anew must still say this."""


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    return found


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_there_is_a_file_for_each_case_and_none_besides() -> None:
    assert {path.stem for path in HERE.glob("*.json")} == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_shape_of_an_upstream_report_is_judged_as_expected(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    body = load(name)
    facts = body["expected"]
    assert (facts["verdict"], facts["outcome"], facts["paged"]) == EXPECTED[name]
    assert body["about"]

    code, out, err = run(capsys, "replay", "--json", str(HERE / f"{name}.json"))
    assert (code, err) == (0, "")
    assert json.loads(out) == {"same": True, "verdict": EXPECTED[name][0], "differences": []}


def test_the_files_are_what_the_stories_write_today() -> None:
    assert {name: text_of(body) for name, body in written()} == {
        name: (HERE / f"{name}.json").read_text(encoding="utf-8") for name in EXPECTED
    }


def reword(body: dict[str, Any]) -> None:
    body["expected"]["verdict"] = "external"


def unreport(body: dict[str, Any]) -> None:
    """Take the co-tenant's report away: then its bytes are a stranger's."""
    body["recording"]["events"] = [e for e in body["recording"]["events"] if e["event"] != "FileChanged"]


def observe(body: dict[str, Any]) -> None:
    body["recording"]["mode"] = "observe"
    body["recording"]["events"] = [e for e in body["recording"]["events"] if e["event"] != "RecoveryApplied"]


def unsay(body: dict[str, Any]) -> None:
    """The window meets nothing at all."""
    body["recording"]["events"] = body["recording"]["events"][:2]


def redigest(body: dict[str, Any]) -> None:
    for event in body["recording"]["events"]:
        if event["event"] == "FileChanged":
            event["change"]["sha256"] = "0" * 64


@pytest.mark.parametrize(
    ("tamper", "name", "now"),
    [
        (reword, "verdict", "co_tenant"),
        (unreport, "verdict", "external"),
        (observe, "outcome", "not_attempted"),
        (unsay, "verdict", "None"),
        (redigest, "verdict", "external"),
    ],
)
def test_what_differs_is_named(
    tamper: Callable[[dict[str, Any]], None],
    name: str,
    now: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    body = load("cron_announce")
    tamper(body)
    path = tmp_path / "case.json"
    path.write_text(json.dumps(body), encoding="utf-8")

    code, out, _err = run(capsys, "replay", str(path))
    assert code == 1
    assert any(line.split()[0] == name and now in line for line in out.splitlines() if line.strip())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("not json", "no JSON"),
        ("[]", "does not say"),
        ('{"format": "openclaw-sidecar incident 1"}', "expected"),
        ('{"format": "openclaw-sidecar incident 1", "expected": {}, "recording": null}', "nothing was recorded"),
        ('{"format": "openclaw-sidecar incident 1", "expected": {}, "recording": {"window": "w"}}', "policy"),
        ('{"format": "openclaw-sidecar incident 1", "expected": {}, "recording": 7}', "recording"),
    ],
)
def test_a_file_that_is_no_exported_incident_is_bad_usage(
    text: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "case.json"
    path.write_text(text, encoding="utf-8")

    code, out, err = run(capsys, "replay", str(path))
    assert (code, out) == (2, "")
    assert "case.json" in err
    assert reason in err


def test_a_file_that_is_not_there_is_bad_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _out, err = run(capsys, "replay", str(tmp_path / "none.json"))
    assert code == 2
    assert "none.json" in err


def test_an_event_that_does_not_fit_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = load("cron_announce")
    body["recording"]["events"][0]["event"] = "Thunder"
    path = tmp_path / "case.json"
    path.write_text(json.dumps(body), encoding="utf-8")
    code, _out, err = run(capsys, "replay", str(path))
    assert (code, "events[0]" in err, "Thunder" in err) == (2, True, True)


# The way from a running window to a file.


def test_an_export_holds_no_text_no_path_and_no_key() -> None:
    """Rule 7: digests in place of bytes, hashes in place of names."""
    for name in EXPECTED:
        text = (HERE / f"{name}.json").read_text(encoding="utf-8")
        for secret in (FILE, "/state", "/sessions", "/opt/tools", "0a1b.jsonl", "parentId"):
            assert secret not in text, name


@pytest.mark.parametrize("about", [(), (Subject.STORM,)], ids=["untold", "told"])
def test_a_window_in_which_a_storm_took_an_approval_back_replays(about: tuple[Subject, ...]) -> None:
    """What other sessions met is not in its recording."""
    bench = fenced()
    bench.cotenant(NOTE, CRON)
    bench.recovers()
    kept = bench.kept[-1]
    stormy = replace(kept.incident.recovery, outcome=Outcome.NOT_ATTEMPTED, hold=Hold.STORM, reason="storm")
    assert exported(replace(kept.incident, recovery=stormy, paged_for=about), kept.recording)["replays"]
    taken = replace(kept.incident, recovery=stormy, paged_for=(*about, Subject.TAKEOVER))
    assert not exported(taken, kept.recording)["replays"]


def test_a_window_of_a_gateway_whose_clock_is_off_replays_with_the_pause_it_met() -> None:
    bench = fenced()
    now_ns = bench.now()
    bench.handle(ev.PauseChanged(pause=Pause("upgrade", now_ns, now_ns + 1_800_000_000_000), at_ns=now_ns))
    bench.cotenant(NOTE, CRON)
    assert isinstance(bench.ask(ahead_ns=3_600_000_000_000), Refuse)
    bench.close(takeover=True)
    kept = bench.kept[-1]
    assert kept.incident.recovery.hold is Hold.PAUSE
    assert exported(kept.incident, kept.recording)["replays"]


def test_with_paths_the_names_stay() -> None:
    bench = fenced()
    bench.cotenant(NOTE, CRON)
    bench.recovers()
    kept = bench.kept[-1]
    assert FILE not in json.dumps(exported(kept.incident, kept.recording))
    body = exported(kept.incident, kept.recording, paths=True)
    assert FILE in json.dumps(body)
    assert body["replays"]


@pytest.mark.parametrize(("pattern", "replays"), [("*.jsonl", True), ("/state/agents/*/sessions/*", False)])
def test_a_window_under_a_policy_with_patterns_is_kept_and_its_export_names_no_path(
    pattern: str, *, replays: bool
) -> None:
    """A policy that knows files by their paths can't be asked about hashes."""
    bench = Taped()
    rule = Rule(name="r", agents=(Glob("ma*"),), files=(Glob(pattern, path=True),), may=May.APPEND)
    bench.custodian.policy = Policy(rules=(rule,), default=May.NOTHING)
    bench.fence()
    bench.cotenant(NOTE, CRON)
    bench.recovers()
    kept = bench.kept[-1]
    assert decode(json.loads(json.dumps(encode(kept.recording)))) == kept.recording
    assert exported(kept.incident, kept.recording, paths=True)["replays"]
    body = exported(kept.incident, kept.recording)
    assert "/state" not in json.dumps(body)
    if not replays:
        assert "names paths" in body["why_not"]


def test_bytes_that_slipped_in_are_left_out() -> None:
    """Only content that the recorder has listened to may be written down."""
    bench = fenced()
    bench.cotenant(NOTE, CRON)
    bench.recovers()
    for event in bench.kept[-1].recording.events:
        snapshot = getattr(event, "snapshot", None)
        assert snapshot is None or isinstance(snapshot.content, RecordedContent)
        assert not isinstance(getattr(snapshot, "content", None), BytesContent)


def test_a_recording_comes_back_from_the_store_as_it_was_and_goes_with_its_incident(tmp_path: Path) -> None:
    bench = fenced()
    bench.cotenant(NOTE, CRON)
    bench.recovers()
    kept = bench.kept[-1]
    assert decode(encode(kept.recording)) == kept.recording
    store = IncidentStore(tmp_path / "sidecar.db", Clock(NOON))
    try:
        store.save(kept.incident)
        for _ in range(2):
            RecordingStore(store).keep(kept.incident, kept.recording)
        with IncidentReader(store.path) as reader:
            assert reader.recording(kept.incident.incident_id) == kept.recording
            assert reader.recording("another") is None
        store.forget_before(kept.incident.opened_at_ns + 1)
        assert store.recording(kept.incident.incident_id) is None
    finally:
        store.close()


def test_names_that_are_no_utf8_come_back_from_a_recording() -> None:
    odd = ev.FileMoved(file="/caf\udce9.jsonl", before=Fingerprint.absent(), fingerprint=Fingerprint.absent(), at_ns=1)
    recording = Recording(WINDOW, Policy(), Mode.RECOVER, (odd,))
    assert unpack(pack(recording)) == recording


def test_a_window_with_too_many_events_is_exported_without_them() -> None:
    bench = fenced()
    for n in range(MAX_EVENTS):
        bench.cotenant(b"%d\n" % n, CRON)
    bench.recovers()
    kept = bench.kept[-1]
    assert kept.recording.events == ()
    body = exported(kept.incident, kept.recording)
    assert not body["replays"]
    assert "more events" in body["why_not"]


def test_an_incident_without_a_recording_says_that_it_can_not_be_replayed() -> None:
    bench = fenced()
    bench.cotenant(NOTE, CRON)
    bench.recovers()
    body = exported(bench.kept[-1].incident, None)
    assert not body["replays"]
    assert "nothing was recorded" in body["why_not"]


def test_a_digest_that_is_not_on_record_is_no_guess() -> None:
    with pytest.raises(NotRecordedError, match=r"3\.\.7"):
        RecordedContent(10, {"0+3": "aa"}).digest(3, 4)


def test_what_a_fence_took_in_and_what_the_window_met_then_are_two_incidents_and_each_replays() -> None:
    bench = fenced()
    bench.disk.append(NOTE, foreign=1)
    bench.write(OWN, REPLY)
    bench.fence()
    bench.look()
    bench.cotenant(ASKED, CRON)
    bench.recovers()
    assert {(k.incident.verdict, k.incident.taken_in) for k in bench.kept} == {
        (Verdict.EXTERNAL, True),
        (Verdict.CO_TENANT, False),
    }
    assert {k.incident.controller for k in bench.kept} == {WINDOW}
    for kept in bench.kept:
        assert exported(kept.incident, kept.recording)["replays"]


def test_windows_that_met_nothing_leave_nothing_behind() -> None:
    bench = fenced()
    bench.write(CRON, NOTE)
    bench.fence()
    bench.close(WINDOW)
    assert bench.kept == []
    assert bench.custodian.policy == Policy()
    assert bench.custodian.mode is Mode.RECOVER

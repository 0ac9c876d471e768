"""Exported incidents, judged again: the one in the documentation, tampered ones, what is no export at all.

That each kind of story replays is seen in tests/transcripts.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.cli import main
from sidecar.core import events as ev
from sidecar.core.decisions import Approve, CheckLineage, Decision, KeepRecording, Refuse
from sidecar.core.facts.change import Operation
from sidecar.core.facts.content import BytesContent
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.value import replace
from sidecar.core.policy.blocked import BlockReason, Pause
from sidecar.core.policy.glob import Glob
from sidecar.core.policy.policy import Mode, Policy
from sidecar.core.policy.rules import Permission, Rule
from sidecar.core.replay.recorder import Recorder
from sidecar.core.replay.recording import MAX_EVENTS, NotRecordedError, RecordedContent, Recording
from sidecar.core.verdict.incident import Outcome, Subject
from sidecar.core.verdict.judge import Verdict
from sidecar.store.incidents import IncidentStore
from sidecar.store.reader import IncidentReader
from sidecar.store.recordings import exported, put_recording
from sidecar.store.tapes import decode, encode, pack, unpack
from tests.core.kit import CRON, FILE, OWN, WINDOW, Bench
from tests.core.test_claims import (
    DOUBTED,
    FORGED,
    ITS_WINDOW,
    LIAR,
    LIAR_PID,
    LIE,
    doubt,
    its_fence,
    its_question,
    lie,
)
from tests.store.samples import NOON, Clock, save_incident

DOCUMENTED: Final = Path(__file__).parent / "cron_announce.json"
NOTE: Final = b'{"type":"message","id":"n1","parentId":"m1","message":{"role":"assistant"}}\n'
REPLY: Final = b'{"type":"message","id":"r1","parentId":"n1","message":{"role":"assistant"}}\n'


class Taped(Bench):
    """A bench whose windows are recorded."""

    def __init__(self) -> None:
        self.kept: list[KeepRecording] = []
        self._recorder: Recorder | None = None
        super().__init__()

    def tell(self, event: ev.Event) -> list[Decision]:
        """By way of the recorder, which sees everything from the first link on."""
        if self._recorder is None:
            self._recorder = Recorder(self.engine)
        made = self._recorder.handle(event)
        self.kept += [d for d in made if isinstance(d, KeepRecording)]
        return [d for d in made if not isinstance(d, KeepRecording)]

    def recovers(self) -> None:
        """The run asks, is allowed to go on, and writes its answer."""
        answer = self.ask()
        assert isinstance(answer, Approve), answer
        self.apply(answer, "n1")
        self.write(OWN, REPLY)
        self.fence()
        self.ends()

    def ends(self) -> None:
        """The window is over, and its history is one line."""
        for check in [d for d in self.close() if isinstance(d, CheckLineage)]:
            self.handle(ev.LineageChecked(window=check.window, missing=(), at_ns=self.now()))


def fenced() -> Taped:
    """A run waits for its model."""
    bench = Taped()
    bench.fence()
    return bench


def announced() -> Taped:
    """A cron job announced into the session, and the turn went on."""
    bench = fenced()
    bench.cotenant(NOTE, CRON)
    bench.recovers()
    return bench


def exported_now() -> dict[str, Any]:
    """The export of what `announced` plays."""
    (kept,) = announced().kept
    return exported(kept.incident, kept.recording)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_the_export_in_the_documentation_is_judged_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads(DOCUMENTED.read_text(encoding="utf-8"))["expected"]
    assert (facts["verdict"], facts["outcome"], facts["paged"]) == ("co_tenant", "effective", False)

    code, out, err = run(capsys, "replay", "--json", str(DOCUMENTED))
    assert (code, err) == (0, "")
    assert json.loads(out) == {"same": True, "verdict": "co_tenant", "differences": []}


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
    body = exported_now()
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
    body = exported_now()
    body["recording"]["events"][0]["event"] = "Thunder"
    path = tmp_path / "case.json"
    path.write_text(json.dumps(body), encoding="utf-8")
    code, _out, err = run(capsys, "replay", str(path))
    assert (code, "events[0]" in err, "Thunder" in err) == (2, True, True)


# The way from a running window to a file.


def test_an_export_holds_no_text_no_path_and_no_key() -> None:
    """Rule 7: digests in place of bytes, hashes in place of names."""
    texts = [json.dumps(exported_now()), DOCUMENTED.read_text(encoding="utf-8")]
    assert not [s for s in (FILE, "/state", "/sessions", "0a1b.jsonl", "parentId") for t in texts if s in t]


@pytest.mark.parametrize("about", [(), (Subject.STORM,)], ids=["untold", "told"])
def test_a_window_in_which_a_storm_took_an_approval_back_replays(about: tuple[Subject, ...]) -> None:
    """What other sessions met is not in its recording."""
    bench = announced()
    kept = bench.kept[-1]
    stormy = replace(
        kept.incident.recovery,
        outcome=Outcome.NOT_ATTEMPTED,
        hold=BlockReason.STORM,
        reason=Reason(ReasonCode.WITHDRAWN_STORM),
    )
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
    assert kept.incident.recovery.hold is BlockReason.PAUSE
    assert exported(kept.incident, kept.recording)["replays"]


def test_with_paths_the_names_stay() -> None:
    bench = announced()
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
    rule = Rule(name="r", agents=(Glob("ma*"),), files=(Glob(pattern, path=True),), may=Permission.APPEND)
    policy = Policy(rules=(rule,), default=Permission.NOTHING)
    bench.engine.handle(ev.PolicyChanged(policy=policy, at_ns=bench.now()))
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
    bench = announced()
    for event in bench.kept[-1].recording.events:
        snapshot = getattr(event, "snapshot", None)
        assert snapshot is None or isinstance(snapshot.content, RecordedContent)
        assert not isinstance(getattr(snapshot, "content", None), BytesContent)


def test_a_recording_comes_back_from_the_store_as_it_was_and_goes_with_its_incident(tmp_path: Path) -> None:
    bench = announced()
    kept = bench.kept[-1]
    assert decode(encode(kept.recording)) == kept.recording
    store = IncidentStore(tmp_path / "sidecar.db", Clock(NOON))
    try:
        save_incident(store, kept.incident)
        for _ in range(2):
            with store.writing() as database:
                put_recording(database, kept.incident, kept.recording)
        with IncidentReader(store.path) as reader:
            assert reader.recording(kept.incident.incident_id) == kept.recording
            assert reader.recording("another") is None
        store.forget_before(kept.incident.opened_at_ns + 1)
        assert store.recording(kept.incident.incident_id) is None
    finally:
        store.close()


def test_names_that_are_no_utf8_come_back_from_a_recording() -> None:
    odd = ev.FingerprintChanged(
        file="/caf\udce9.jsonl", before=Fingerprint.absent(), fingerprint=Fingerprint.absent(), at_ns=1
    )
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
    bench = announced()
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
    bench.cotenant(NOTE, CRON)
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
    assert bench.engine.policy == Policy()
    assert bench.engine.mode is Mode.RECOVER


def test_the_liar_is_named_again_be_its_claim_of_before_the_window_or_in_it() -> None:
    for ahead in (True, False):
        bench = Taped()
        doubt(bench)
        if ahead:
            begun = bench.begin(Operation.APPEND, LIE, FORGED, link=LIAR)
            bench.handle(ev.LinkLost(link=LIAR, clean=False, at_ns=bench.now()))
            bench.handle(ev.LinkOpened(gateway=replace(DOUBTED, unverified=None), at_ns=bench.now()))
            bench.fence()
            bench.disk.append(FORGED)
            assert begun.link == LIAR
        else:
            bench.fence()
            lie(bench)
        bench.trip()
        bench.close(takeover=True)
        kept = bench.kept[-1]
        assert (kept.incident.verdict, [c.pid for c in kept.incident.claims]) == (Verdict.EXTERNAL, [LIAR_PID])
        assert exported(kept.incident, kept.recording)["replays"]


def test_the_window_of_a_gateway_that_is_not_believed_is_judged_as_it_was() -> None:
    bench = Taped()
    doubt(bench)
    its_fence(bench)
    lie(bench)
    its_question(bench)
    bench.handle(ev.FenceClosed(window=ITS_WINDOW, takeover=False, at_ns=bench.now()))
    (kept,) = bench.kept
    assert (kept.incident.window, kept.incident.grade) == (ITS_WINDOW, Grade.CLAIMED)
    assert exported(kept.incident, kept.recording)["replays"]

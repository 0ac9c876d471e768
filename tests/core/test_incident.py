"""The values of an incident."""

import json

import msgspec
import pytest

from sidecar.core.facts.grade import Grade
from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.core.facts.value import replace
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.policy.policy import Policy
from sidecar.core.policy.rules import Permission
from sidecar.core.verdict.incident import Incident, Outcome, Recovery, WriterShare, incident_id
from sidecar.core.verdict.judge import Verdict
from sidecar.core.verdict.what_if import reconsider
from tests.core.kit import fenced

AT = 1_700_000_000 * NS_PER_SECOND


def incident() -> Incident:
    """One with every part filled."""
    bench = fenced()
    bench.cotenant(b"note\n")
    bench.disk.append(b"strange\n", foreign=1)
    bench.ask()
    return bench.incident


def test_ids_sort_by_time_and_can_be_read() -> None:
    ids = [incident_id(AT + n * NS_PER_SECOND, "w", "f") for n in range(3)]

    assert ids == sorted(ids)
    assert ids[0].startswith("20231114T221320Z-")


@pytest.mark.parametrize(("at_ns", "window", "file"), [(AT + 1, "w", "f"), (AT, "v", "f"), (AT, "w", "g")])
def test_ids_of_one_second_differ(at_ns: int, window: str, file: str) -> None:
    assert incident_id(at_ns, window, file) != incident_id(AT, "w", "f")
    assert incident_id(at_ns, window, file) == incident_id(at_ns, window, file)


@pytest.mark.parametrize("file", ["/a\nb.jsonl", "/\udcff.jsonl", "/é.jsonl", ""])
def test_an_id_can_be_made_of_any_name(file: str) -> None:
    made = incident_id(AT, "w", file)

    assert made.isascii()
    assert made.isprintable()


def test_an_incident_is_plain_data() -> None:
    """Stores and interfaces write it as JSON and miss nothing."""
    whole = incident()
    plain = json.loads(json.dumps(msgspec.to_builtins(whole)))

    assert set(plain) == set(Incident.__struct_fields__)
    assert plain["verdict"] == "external"
    [writer] = plain["writers"]
    assert set(writer) == set(WriterShare.__struct_fields__)
    assert (writer["kind"], writer["name"], writer["bytes"]) == ("cron", "daily-digest", 5)
    assert plain["unexplained"] == [{"offset": 24, "length": 8, "pid": 0, "exe": "", "processes": [], "unit": "bytes"}]
    assert plain["fence"]["size"] == 19
    assert plain["gateway"]["adapter"] == "publish"


def test_an_incident_can_not_be_changed() -> None:
    with pytest.raises(AttributeError):
        incident().paged_for = ()  # type: ignore[misc] # on purpose


def test_a_recovery_counts_its_moves() -> None:
    recovery = Recovery(Outcome.APPROVED).counted(pushed=True).counted(pushed=False)

    assert (recovery.outcome, recovery.count, recovery.pushed) == (Outcome.APPROVED, 2, 1)


@pytest.mark.parametrize("words", [Verdict, Outcome, Grade, WriterKind])
def test_the_words_are_what_they_are_written_as(words: type[Verdict | Outcome | Grade | WriterKind]) -> None:
    """They are labels, columns and parts of the interface."""
    for word in words:
        assert words(str(word)) is word
        assert str(word).replace("_", "").isalpha()
        assert str(word) == str(word).lower()


def test_evidence_grows_from_none_to_the_kernels_word() -> None:
    weakest_first = [Grade.NONE, Grade.CLAIMED, Grade.BRACKET, Grade.BYTES, Grade.KERNEL]

    assert sorted(Grade, key=lambda grade: grade.strength) == weakest_first


@pytest.mark.parametrize(
    ("text", "kind"), [("cron", WriterKind.CRON), ("novelty", WriterKind.UNKNOWN), ("", "unknown")]
)
def test_a_kind_that_is_not_known_is_unknown(text: str, kind: str) -> None:
    assert WriterKind.of(text) == kind


@pytest.mark.parametrize(
    ("writer", "label"),
    [(Writer(WriterKind.CRON, "daily-digest"), "cron daily-digest"), (Writer(WriterKind.HEARTBEAT), "heartbeat")],
)
def test_a_writer_has_a_label_for_people(writer: Writer, label: str) -> None:
    assert writer.label() == label


def test_a_policy_is_asked_for_the_most_where_a_record_says_no_word_of_ours() -> None:
    """The record was edited, and is shown all the same."""
    edited = replace(incident(), writers=(WriterShare("cron", "digest", 100, 5, did="everything"),))
    [writer] = reconsider(edited, Policy()).writers
    assert writer.request.did is Permission.REWRITE

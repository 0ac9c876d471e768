"""What may be appended to a session, and how it is completed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sidecar.core.custody.lineage import Record, off_path, path_to_root
from sidecar.cotenant.errors import RecordsError
from sidecar.cotenant.records import check_edited, complete, split_records
from sidecar.watch.records import parse_records

NOW_NS = 1_795_000_000_123_456_789
SECRET = "xylophone-quartz"


@pytest.fixture
def known(session_file: Path) -> list[Record]:
    return parse_records(session_file.read_bytes().split(b"\n"))[0]


def _completed(known: Sequence[Record], *records: dict[str, Any]) -> list[dict[str, Any]]:
    output = "".join(json.dumps(record) + "\n" for record in records).encode()
    made = complete(split_records(output), known, NOW_NS)
    lines = [json.loads(line) for line in made.data.splitlines()]
    assert [line["id"] for line in lines] == list(made.ids)
    assert made.data.endswith(b"\n")
    return lines


def test_a_record_gets_what_it_lacks_and_hangs_on_the_last_one(known: list[Record]) -> None:
    [note] = _completed(known, {"type": "custom", "customType": "note", "data": {"n": 1}})

    assert note["parentId"] == "b"
    assert note["timestamp"] == "2026-11-18T11:06:40.123Z"
    assert len(note["id"]) == 36
    assert (note["customType"], note["data"]) == ("note", {"n": 1})


def test_several_records_hang_on_each_other(known: list[Record]) -> None:
    made = _completed(known, {"type": "custom"}, {"type": "label", "targetId": "a"}, {"type": "custom"})

    assert [r["parentId"] for r in made] == ["b", made[0]["id"], made[1]["id"]]


def test_a_message_has_a_time_of_its_own(known: list[Record]) -> None:
    said, timed = _completed(
        known,
        {"type": "message", "message": {"role": "user", "content": "hi"}},
        {"type": "message", "message": {"role": "user", "content": "hi", "timestamp": 5}},
    )

    assert (said["message"]["timestamp"], timed["message"]["timestamp"]) == (NOW_NS // 1_000_000, 5)


def test_what_is_given_stays_as_it_was_to_the_byte(known: list[Record]) -> None:
    line = b'{"type":"custom","data":{"x":1.10,"big":12345678901234567890,"e":"\\u00e9\xc3\xa9", "s" : [ 1 ]}}\n'
    made = complete(split_records(line), known, NOW_NS)

    assert b'"data":{"x":1.10,"big":12345678901234567890,"e":"\\u00e9\xc3\xa9", "s" : [ 1 ]}' in made.data


def test_a_record_that_brings_all_of_it_is_taken_as_it_is(known: list[Record]) -> None:
    given = {"type": "custom", "id": "mine", "parentId": "b", "timestamp": "2020-01-01T00:00:00.000Z"}

    assert _completed(known, given, {"type": "custom"})[1]["parentId"] == "mine"


def test_a_side_record_and_its_leaf_leave_the_line_where_it_was(known: list[Record]) -> None:
    side = {"type": "message", "id": "m", "appendMode": "side", "message": {"role": "assistant", "content": []}}
    leaf = {"type": "leaf", "targetId": "b", "appendParentId": "m", "appendMode": "side", "parentId": "m"}
    made = _completed(known, side, leaf, {"type": "custom"})
    after = [*known, *parse_records(json.dumps(r).encode() for r in made)[0]]

    assert path_to_root(after) == ("a", "b", made[2]["id"])
    assert off_path(after, [r["id"] for r in made]) == ()


@pytest.mark.parametrize(
    ("output", "why"),
    [
        (b'{"type":"custom"}', "last 17 bytes have no newline"),
        (b'{"type":"custom"}\n{"type":"cus', "last 12 bytes have no newline"),
        (b'{"type":"custom"\n', "line 1 .* no JSON"),
        (b'{"type":"custom"}\n\nnonsense\n', "line 3 .* no JSON"),
        (b"[1]\n", "line 1 .* no JSON object"),
        (b'"text"\n', "no JSON object"),
        (b'{"type":"custom","x":"\xff"}\n', "no JSON"),
        (b'{"type":"custom","x":NaN}\n', "no JSON"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"\n", "no JSON"),
        (b"\0\n", "no JSON"),
    ],
)
def test_what_is_no_run_of_whole_records_is_refused(output: bytes, why: str) -> None:
    with pytest.raises(RecordsError, match=why) as caught:
        split_records(output)
    assert str(caught.value).endswith("nothing was written")


def test_an_error_never_shows_what_was_said(known: list[Record]) -> None:
    """Rule 7."""
    for output in (f'{{"type":"{SECRET}', f"{SECRET}\n", f'{{"x":"{SECRET}"\n', f'{{"type":"custom","x":{SECRET}}}\n'):
        with pytest.raises(RecordsError) as caught:
            complete(split_records(output.encode()), known, NOW_NS)
        assert SECRET not in str(caught.value)


def test_blank_lines_are_left_out() -> None:
    assert split_records(b"\n  \n") == []
    assert split_records(b"") == []


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({"data": 1}, "no type"),
        ({"type": ""}, "no type"),
        ({"type": 5}, "field type that is no text"),
        ({"type": "session"}, "type of a header"),
        ({"type": "custom", "id": "a"}, "has already"),
        ({"type": "custom", "id": 7}, "field id that is no text"),
        ({"type": "custom", "parentId": "a"}, "beside the line of history"),
        ({"type": "custom", "parentId": None}, "beside the line of history"),
        ({"type": "leaf", "targetId": "a"}, "beside the line of history"),
        ({"type": "message"}, "no message with a role"),
        ({"type": "message", "message": "hi"}, "no message with a role"),
        ({"type": "message", "message": {"content": "hi"}}, "no message with a role"),
        ({"type": "message", "message": {"role": ""}}, "no message with a role"),
    ],
)
def test_a_record_that_would_not_continue_the_history_is_refused(
    known: list[Record], record: dict[str, Any], why: str
) -> None:
    with pytest.raises(RecordsError, match=why):
        _completed(known, record)


def test_two_records_of_one_id_are_refused(known: list[Record]) -> None:
    with pytest.raises(RecordsError, match="has already"):
        _completed(known, {"type": "custom", "id": "x"}, {"type": "custom", "id": "x"})


def test_a_history_without_parents_is_left_to_the_gateway() -> None:
    old = parse_records([b'{"type":"session"}', b'{"type":"message","id":"a"}'])[0]

    with pytest.raises(RecordsError, match="have no parents yet"):
        _completed(old, {"type": "custom"})


def test_the_first_record_of_a_session_has_no_parent() -> None:
    fresh = parse_records([b'{"type":"session","id":"s"}'])[0]

    assert _completed(fresh, {"type": "custom"})[0]["parentId"] is None


def test_an_edit_that_keeps_one_line_of_history_says_what_is_new(known: list[Record]) -> None:
    data = (
        b'{"type":"session"}\n{"type":"message","id":"a","parentId":null}\n{"type":"custom","id":"n","parentId":"a"}\n'
    )

    assert check_edited(data, known) == ("n",)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "does not begin with its header"),
        (b'{"type":"custom","id":"n"}\n', "does not begin with its header"),
        (b'{"type":"session"}\n{"type":"custom","id":"b","parentId":"a"}\n{"ty', "no newline"),
        (
            b'{"type":"session"}\n{"id":"a","type":"x","parentId":null}\n{"id":"n","type":"x","parentId":null}\n',
            "beside",
        ),
    ],
)
def test_an_edit_that_breaks_the_session_is_refused(known: list[Record], data: bytes, why: str) -> None:
    with pytest.raises(RecordsError, match=why):
        check_edited(data, known)

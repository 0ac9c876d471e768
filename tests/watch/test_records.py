"""The shape of a session file's records, whatever is in the file."""

import json
import os
from pathlib import Path

import pytest

from sidecar.core.custody.lineage import Record
from sidecar.watch.records import read_records

SECRET = "the text of a transcript"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "s.jsonl"


def test_records_have_ids_and_parents_and_no_text(file: Path) -> None:
    lines = [
        {"type": "session", "id": "s", "version": 3, "cwd": SECRET},
        {"type": "message", "id": "a", "parentId": None, "message": {"role": "user", "content": SECRET}},
        {"type": "message", "id": "b", "parentId": "a", "appendMode": "side"},
        {"type": "custom", "id": "c"},
        {"type": "leaf", "id": "d", "parentId": "b", "targetId": "b", "appendParentId": "c"},
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    records, strange = read_records(file)
    assert strange == 0
    assert records[1:] == [
        Record("a", "message", ""),
        Record("b", "message", "a", side=True),
        Record("c", "custom", None),
        Record("d", "leaf", "b", target_id="b", append_parent_id="c"),
    ]
    assert SECRET not in repr(records)


def test_a_last_line_without_a_newline_is_read(file: Path) -> None:
    file.write_bytes(b'{"type":"message","id":"a"}\n{"type":"message","id":"b","parentId":"a"}')
    assert [r.record_id for r in read_records(file)[0]] == ["a", "b"]


@pytest.mark.parametrize(
    "line",
    [
        b"no JSON",
        b"\xff\xfe\xfd",
        b'{"id": "\xff"}',
        b'{"id": "\\ud83d"}',
        b"[1, 2]",
        b'"text"',
        b"17",
        b"null",
        b'{"id": 17}',
        b'{"id": "a", "parentId": ["b"]}',
        b'{"id": "a", "type": null}',
        b'{"id": "a"',
        b'{"x":' + b"[" * 100_000,
        b"\0" * 1000,
    ],
    ids=lambda line: line[:16].decode(errors="replace"),
)
def test_a_line_that_is_no_record_is_counted_and_costs_only_itself(file: Path, line: bytes) -> None:
    file.write_bytes(b'{"id":"a","type":"message"}\n' + line + b'\n{"id":"b","type":"message","parentId":"a"}\n')
    records, strange = read_records(file)
    assert [r.record_id for r in records] == ["a", "b"]
    assert strange == 1


@pytest.mark.parametrize("content", [b"", b"\n\n", b"  \n\t\n", b"\r\n"])
def test_a_file_without_records_has_none(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert read_records(file) == ([], 0)


def test_a_file_that_is_no_jsonl_at_all_is_counted_line_by_line(file: Path) -> None:
    file.write_bytes(os.urandom(100_000).replace(b"\n", b"x") + b"\n" + b"%PDF-1.4\n" * 10)
    records, strange = read_records(file)
    assert (records, strange) == ([], 11)


def test_one_very_long_line_is_a_line(file: Path) -> None:
    file.write_bytes(b'{"id":"a","type":"message","message":"' + b"x" * (8 << 20) + b'"}\n')
    assert [r.record_id for r in read_records(file)[0]] == ["a"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("what", ["absent", "directory", "fifo"])
def test_what_can_not_be_read_is_an_error_or_nothing(file: Path, what: str) -> None:
    if what == "fifo":
        os.mkfifo(file)
        assert read_records(file) == ([], 0)
        return
    if what == "directory":
        file.mkdir()
    with pytest.raises(OSError, match=r"No such file|Is a directory"):
        read_records(file)

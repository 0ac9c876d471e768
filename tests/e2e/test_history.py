"""What the rig takes for one line of history."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.history import off_path, path_to_root, read_records


def message(record_id: str, parent: str | None, **more: object) -> dict[str, object]:
    return {"type": "message", "id": record_id, "parentId": parent, "message": {"role": "user", "content": "x"}, **more}


def leaf(record_id: str, target: str | None, **more: object) -> dict[str, object]:
    return {"type": "leaf", "id": record_id, "parentId": "b", "targetId": target, **more}


PARENTLESS: dict[str, object] = {"type": "message", "id": "c", "message": {"role": "assistant", "content": "x"}}


@pytest.mark.parametrize(
    ("records", "path", "lost"),
    [
        pytest.param([message("a", None), message("b", "a")], "ab", "", id="a chain"),
        pytest.param([message("a", None), message("b", "a"), message("c", "a")], "ac", "b", id="two with one parent"),
        pytest.param([message("a", None), message("b", None)], "b", "a", id="a second root"),
        pytest.param([message("a", None), message("b", "gone")], "b", "a", id="an unknown parent"),
        pytest.param([message("a", "b"), message("b", "a")], "ab", "", id="a circle ends"),
        pytest.param([message("a", None), message("b", "a", appendMode="side")], "a", "b", id="a side record"),
        pytest.param([message("a", None), message("b", "a"), PARENTLESS], "abc", "", id="a record without a parent"),
        pytest.param([message("a", None), message("b", "a"), leaf("l", "a")], "a", "b", id="a leaf moved back"),
        pytest.param([message("a", None), message("b", "a"), leaf("l", None)], "", "ab", id="a leaf moved to the root"),
        pytest.param(
            [message("a", None), message("b", "a"), leaf("l", "a", appendParentId="b"), message("c", "b")],
            *("ac", "b"),
            id="an append beside the leaf belongs to the leaf",
        ),
        pytest.param(
            [message("a", None), message("b", "a"), leaf("l", "a"), message("c", "l")],
            *("ac", "b"),
            id="a leaf record as a parent stands for its target",
        ),
    ],
)
def test_the_conversation_is_what_lies_above_the_leaf(
    records: list[dict[str, Any]], path: str, lost: str, tmp_path: Path
) -> None:
    file = tmp_path / "session.jsonl"
    head = {"type": "session", "id": "head"}
    file.write_text("".join(json.dumps(record) + "\n" for record in (head, *records)))

    found = read_records(file)

    assert "".join(record.id for record in path_to_root(found)) == path
    assert "".join(record.id for record in off_path(found)) == lost


def test_records_know_their_bytes_and_their_text(tmp_path: Path) -> None:
    file = tmp_path / "session.jsonl"
    parts = {"role": "assistant", "content": [{"type": "text", "text": "Grüß"}, {"type": "text", "text": " Gott"}]}
    lines = [json.dumps({"type": "session"}), json.dumps({"type": "message", "message": parts}, ensure_ascii=False)]
    file.write_text("\n".join(lines) + "\n")

    head, spoken = read_records(file)

    assert (head.id, head.role, head.text) == ("", "", "")
    assert (spoken.role, spoken.text) == ("assistant", "Grüß Gott")
    data = file.read_bytes()
    assert data[spoken.offset : spoken.offset + spoken.length_bytes].decode() == lines[1] + "\n"

"""What a session file says about its conversation: its records, and the line of history that the gateway follows.

Records form a tree: each names its parent. The gateway goes on from the *leaf*, which is the last record, except that
a record appended with ``appendMode: "side"`` leaves the leaf where it was and a ``leaf`` record (from 2026.7 on) moves
it to its ``targetId``. A record that is in the file but not above the leaf is lost to the conversation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

HEAD = "session"
LEAF = "leaf"


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a session file.

    Attributes:
        offset: Where the line begins in the file, in bytes.
        length_bytes: Length of the line with its newline.
        data: The parsed line.
    """

    offset: int
    length_bytes: int
    data: Mapping[str, Any]

    @property
    def type(self) -> str:
        """For example ``message``."""
        return str(self.data.get("type", ""))

    @property
    def id(self) -> str:
        """Its id; empty when it has none."""
        return str(self.data.get("id") or "")

    @property
    def role(self) -> str:
        """Who speaks; empty when it is no message."""
        return str(self.data.get("message", {}).get("role", ""))

    @property
    def text(self) -> str:
        """What is said; empty when it is no message."""
        content = self.data.get("message", {}).get("content", "")
        if isinstance(content, str):
            return content
        return "".join(part.get("text", "") for part in content)


def read_records(path: Path) -> tuple[Record, ...]:
    """Read all records of a session file, in file order.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line is no JSON.
    """
    records = []
    offset = 0
    for line in path.read_bytes().splitlines(keepends=True):
        if line.strip():
            records.append(Record(offset, len(line), json.loads(line)))
        offset += len(line)
    return tuple(records)


def path_to_root(records: Sequence[Record]) -> tuple[Record, ...]:
    """The conversation that the gateway goes on with: from the root down to the leaf.

    Args:
        records: All records of a file, in file order.
    """
    by_id = {record.id: record for record in records}
    parents: dict[str, str] = {}
    leaf = cursor = ""
    for record in records:
        if record.type == HEAD or not record.id:
            continue
        if record.type == LEAF:
            leaf = str(record.data.get("targetId") or "")
            cursor = str(record.data.get("appendParentId", leaf) or "")
            parents[record.id] = leaf
            continue
        parent = str(record.data.get("parentId", leaf) or "")
        if record.data.get("appendMode") != "side":
            # What is appended at a cursor that was moved beside the leaf belongs to the leaf.
            parents[record.id] = leaf if parent == cursor != leaf else parent
            leaf = record.id
        else:
            parents[record.id] = parent
        cursor = record.id
    path: list[Record] = []
    seen: set[str] = set()
    while leaf in by_id and leaf not in seen:
        seen.add(leaf)
        if by_id[leaf].type != LEAF:
            path.append(by_id[leaf])
        leaf = parents.get(leaf, "")
    return tuple(reversed(path))


def off_path(records: Sequence[Record]) -> tuple[Record, ...]:
    """The records that the conversation has lost: in the file, but not between its root and its leaf."""
    kept = {record.id for record in path_to_root(records)}
    return tuple(record for record in records if record.type not in {HEAD, LEAF} and record.id not in kept)

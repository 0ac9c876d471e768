"""What a session file says about its conversation: its records, and the line of history that the gateway follows.

`sidecar.core.custody.lineage` says which records are on that line; here their text is at hand too. A record that is in
the file but not on the line is lost to the conversation.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar.core.custody import lineage
from sidecar.core.custody.lineage import HEADER, LEAF
from sidecar.watch.records import parse_records


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
    shapes, _ = parse_records(json.dumps(record.data).encode() for record in records)
    return tuple(by_id[name] for name in lineage.path_to_root(shapes))


def off_path(records: Sequence[Record]) -> tuple[Record, ...]:
    """The records that the conversation has lost: in the file, but not between its root and its leaf."""
    kept = {record.id for record in path_to_root(records)}
    return tuple(record for record in records if record.type not in {HEADER, LEAF} and record.id not in kept)

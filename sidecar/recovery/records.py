"""The shape of a session file's records, for the check of a history (rule 3). No text is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sidecar.core.lineage import Record

if TYPE_CHECKING:
    from pathlib import Path


class _Line(msgspec.Struct, frozen=True, rename="camel"):
    id: str | None = None
    parent_id: str | None = None
    type: str = ""
    target_id: str | None = None


def read_records(path: Path) -> tuple[list[Record], int]:
    """The records of a session file, and how many lines are none.

    Raises:
        OSError: The file can't be read.
    """
    decoder = msgspec.json.Decoder(_Line)
    records: list[Record] = []
    strange = 0
    with path.open("rb") as file:
        for line in file:
            if not line.strip():
                continue
            try:
                found = decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                strange += 1
                continue
            header = found.type == "session"
            records.append(
                Record("" if header else found.id or "", found.parent_id or "", found.type, found.target_id or "")
            )
    return records, strange

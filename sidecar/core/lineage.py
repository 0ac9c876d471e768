"""Tells whether every record is on the one path from the last record to the root (rule 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Record:
    """The shape of one line of a session file; never its text.

    Attributes:
        record_id: Empty for the header.
        parent_id: Empty for a root.
        kind: The record's type, such as ``message`` or ``leaf``.
        target_id: For a ``leaf`` record: the record that is the tip from here on.
    """

    record_id: str
    parent_id: str
    kind: str
    target_id: str = ""


def off_path(records: Sequence[Record], wanted: Iterable[str]) -> tuple[str, ...]:
    """Which of the ``wanted`` record ids are missing, or not on the path from the tip to the root."""
    by_id = {r.record_id: r for r in records if r.record_id}
    tip = _tip(records)
    path: set[str] = set()
    while tip and tip not in path:
        path.add(tip)
        record = by_id.get(tip)
        tip = record.parent_id if record is not None else ""
    return tuple(w for w in wanted if w not in path)


def _tip(records: Sequence[Record]) -> str:
    """The last record, or the one that a later ``leaf`` record points to."""
    for record in reversed(records):
        if record.kind == "leaf":
            return record.target_id
        if record.record_id:
            return record.record_id
    return ""

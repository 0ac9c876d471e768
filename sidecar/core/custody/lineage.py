"""Tells whether every record is on the one path from the tip of a history to its root (rule 3).

Records form a tree: each names its parent. The gateway goes on from the *tip*, which is the last record, except that a
record appended in side mode leaves the tip where it was, and a ``leaf`` record (from 2026.7 on) moves it to its target.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from sidecar.core.facts.value import Value

HEADER: Final = "session"
LEAF: Final = "leaf"


class Record(Value, frozen=True):
    """The shape of one line of a session file; never its text.

    Attributes:
        record_id: Its id; empty when it has none.
        kind: The record's type, such as ``message`` or ``leaf``.
        parent_id: Empty for a root; None when the line names no parent, and so follows the tip.
        side: It was appended beside the tip.
        target_id: For a ``leaf`` record: the tip from here on.
        append_parent_id: For a ``leaf`` record: what later records name as their parent; None when it names none.
    """

    record_id: str
    kind: str
    parent_id: str | None = ""
    side: bool = False
    target_id: str = ""
    append_parent_id: str | None = None


def path_to_root(records: Sequence[Record]) -> tuple[str, ...]:
    """The ids from the root down to the tip."""
    known = {r.record_id: r.kind for r in records if r.record_id}
    parents: dict[str, str] = {}
    tip = cursor = ""
    for record in records:
        if record.kind == HEADER or not record.record_id:
            continue
        if record.kind == LEAF:
            tip = record.target_id
            cursor = tip if record.append_parent_id is None else record.append_parent_id
            parents[record.record_id] = tip
            continue
        parent = tip if record.parent_id is None else record.parent_id
        if record.side:
            parents[record.record_id] = parent
        else:
            # What is appended at a cursor that was moved beside the tip belongs to the tip.
            parents[record.record_id] = tip if parent == cursor != tip else parent
            tip = record.record_id
        cursor = record.record_id
    path: list[str] = []
    seen: set[str] = set()
    while tip in known and tip not in seen:
        seen.add(tip)
        if known[tip] != LEAF:
            path.append(tip)
        tip = parents.get(tip, "")
    return tuple(reversed(path))


def off_path(records: Sequence[Record], wanted: Iterable[str]) -> tuple[str, ...]:
    """Which of the ``wanted`` record ids are missing, or not on the path from the tip to the root.

    Ids of ``leaf`` records are never missed: they steer the path and are not on it. Neither are records that their own
    writer put beside it.
    """
    path = set(path_to_root(records))
    beside = {r.record_id for r in records if r.kind == LEAF or r.side}
    return tuple(w for w in wanted if w not in path and w not in beside)

"""Compares the rows of a transcript with their account, and gives the finding that a verdict is made of."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from sidecar.core.custody.account import Account
from sidecar.core.custody.finding import Absence, Finding, Share
from sidecar.core.custody.kernel_evidence import KernelEvidence
from sidecar.core.facts.change import Operation
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.rows import Row, RowChange, RowSnapshot, RowVersion, applied
from sidecar.core.facts.span import Span, Unit
from sidecar.core.facts.writer import Writer
from sidecar.core.policy.rules import Permission

_Account = Account[RowVersion, RowSnapshot, RowChange]

Telling = tuple[RowChange, Row]
"""A report, and one of its rows."""

_USER: Final = "user"


def examine(
    account: _Account, rows: Mapping[int, Row] | None, reading: RowSnapshot, kernel_evidence: KernelEvidence
) -> Finding:
    """Hold a transcript against its account.

    Args:
        account: The transcript since the fence.
        rows: The rows at the fence, by place; None while they are not known.
        reading: Its rows as they were read.
        kernel_evidence: What the kernel says of who wrote to the database since the fence.
    """
    unknown = account.broken
    if rows is None or account.head is None:
        unknown = unknown or Reason(ReasonCode.FENCE_CONTENT_UNKNOWN)
    if not reading.version.exists and not reading.problem:
        return _absent(account, rows, unknown, kernel_evidence)
    finding = Finding(unknown=unknown, problem=reading.problem, kernel_evidence=kernel_evidence, unit=Unit.ROWS)
    if rows is None or account.head is None or reading.rows is None:
        return finding
    expected = applied(rows, account.changes)
    now = {row.seq: row for row in reading.rows}
    told = by_place(account.changes)
    places = expected.keys() | now.keys()
    unexplained = spans(s for s in places if not _explained(now.get(s), expected.get(s), told.get(s, ())))
    generations = {account.head.generation, *(change.after.generation for change in account.changes)}
    if not unexplained and reading.version.generation not in generations and account.head.exists:
        unexplained = (Span(0, 0),)  # somebody rewrote it to what it was
    newer = [row for row in reading.rows if row.seq > account.head.seq]
    return Finding(
        unknown=unknown,
        compared=True,
        shares=_shares(account.changes, newer),
        unexplained=unexplained,
        replaced=any(change.operation is not Operation.APPEND for change in account.changes),
        forked=not _is_line(rows.get(account.head.seq), newer),
        kernel_evidence=kernel_evidence,
        unit=Unit.ROWS,
    )


def spans(places: Iterable[int]) -> tuple[Span, ...]:
    """Adjoining places as spans, in order."""
    made: list[Span] = []
    for seq in sorted(places):
        if made and made[-1].end == seq:
            made[-1] = Span(made[-1].offset, made[-1].length + 1)
        else:
            made.append(Span(seq, 1))
    return tuple(made)


def _explained(found: Row | None, known: Row | None, told: Sequence[Telling]) -> bool:
    """The row is what the last report of it says, or what another link said of it."""
    if found is None or known is None or found is known:
        return found is known
    return found.digest == known.digest or retold(found, told) is not None


def by_place(changes: Iterable[RowChange]) -> Mapping[int, Sequence[Telling]]:
    """What was reported of each row, in the order of the reports."""
    told: dict[int, list[Telling]] = {}
    for change in changes:
        for row in change.rows:
            told.setdefault(row.seq, []).append((change, row))
    return told


def retold(found: Row, told: Sequence[Telling]) -> RowChange | None:
    """The report of a row as it is, where another link told otherwise of it later: between links no order is known."""
    return next((c for c, row in told if c.link != told[-1][0].link and row.digest == found.digest), None)


def _absent(
    account: _Account, rows: Mapping[int, Row] | None, unknown: Reason | None, kernel_evidence: KernelEvidence
) -> Finding:
    removed = [c for c in account.changes if c.operation is Operation.REMOVE]
    if removed:
        absent = Absence.RESET
    elif unknown is not None:
        absent = Absence.UNKNOWN
    else:
        absent = Absence.STILL if account.head is not None and not account.head.exists else Absence.TAKEN_AWAY
    return Finding(
        absent=absent,
        unknown=unknown,
        shares=tuple(Share(change.writer, 0) for change in removed[-1:]),
        unexplained=spans(applied(rows or {}, account.changes)) if absent is Absence.TAKEN_AWAY else (),
        kernel_evidence=kernel_evidence,
        unit=Unit.ROWS,
    )


def _shares(changes: Sequence[RowChange], newer: Sequence[Row]) -> tuple[Share, ...]:
    """What each writer did, in the order of their first report."""
    answered = _answered(newer)
    made: dict[Writer, Share] = {}
    for change in changes:
        known = made.get(change.writer, Share(change.writer, 0))
        did = Permission.APPEND if change.operation is Operation.APPEND else Permission.REWRITE
        places = [row.seq for row in change.rows]
        asks = [row.seq for row in change.rows if row.role == _USER and row.seq not in answered]
        made[change.writer] = Share(
            change.writer,
            known.size + change.length,
            (*known.spans, *spans(places)),
            max(known.did, did, key=lambda may: may.strength) if known.size else did,
            (*known.unanswered, *spans(asks)),
        )
    return tuple(made.values())


def _answered(newer: Sequence[Row]) -> frozenset[int]:
    """Places of user rows that the gateway itself answered in the row behind: a typed command and its reply."""
    return frozenset(
        row.seq
        for row, reply in pairwise(newer)
        if reply.injected and reply.role != _USER and reply.parent_id == row.event_id and row.key == reply.key != ""
    )


def _is_line(head: Row | None, newer: Sequence[Row]) -> bool:
    """Each row is the child of the one before, from the row at the fence on."""
    if head is None:
        return not newer or not newer[0].parent_id
    return all(row.parent_id == before.event_id != "" for before, row in pairwise((head, *newer)))

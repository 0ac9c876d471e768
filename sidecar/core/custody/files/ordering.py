"""Calls of one process that overlap in time: where the bytes of each lie, as far as their sizes settle it.

A synchronous call tells where its bytes went: the file grew by exactly its length from one fingerprint to the other. An
asynchronous one tells only between which two sizes they went; they fill the one gap that the others leave. As with a
single call, nothing is proven of what a stranger did meanwhile: what comes out is what the file must hold if nobody
else wrote, and a verdict reads all of it.
"""

from collections.abc import Iterator, Sequence

from sidecar.core.facts.change import Change, Operation
from sidecar.core.facts.fingerprint import Fingerprint


def laid_out(start: Fingerprint, changes: Sequence[Change], end: Fingerprint) -> list[Change] | None:
    """The appends in the order of their bytes, where they lead from one fingerprint to another without a gap.

    Args:
        start: Where the account stands.
        changes: All that was reported since.
        end: Where they ought to lead.

    Returns:
        All of the changes, or None where the order is in doubt: a call under way, another operation, several links, a
        call in pieces, two that may have taken either of two places, or more bytes than were reported.
    """
    if not all(_is_plain(c, start) for c in changes) or len({c.link for c in changes}) > 1:
        return None
    here = start
    laid: list[Change] = []
    for group in _groups(changes):
        last = max(group, key=lambda c: c.ended or 0)
        placed = _placed(here.size, group, last.after.size) if last.after is not None else None
        if placed is None or group[0].before != here or last.after is None:
            return None
        laid += placed
        here = last.after
    return laid if here == end else None


def _is_plain(change: Change, start: Fingerprint) -> bool:
    """A finished append to this very file, with both fingerprints."""
    around = (start, change.before, change.after)
    same_file = len({(f.exists, f.dev, f.ino) for f in around if f is not None}) == 1 and None not in around
    return change.operation is Operation.APPEND and change.finished and change.length > 0 and same_file


def _groups(changes: Sequence[Change]) -> Iterator[list[Change]]:
    """Calls that hang together: each began before all ahead of it had ended."""
    group: list[Change] = []
    for change in sorted(changes, key=lambda c: c.began):
        if group and all(c.precedes(change) for c in group):
            yield group
            group = []
        group.append(change)
    if group:
        yield group


def _placed(start: int, group: Sequence[Change], end: int) -> list[Change] | None:
    """The calls of a group in the order of their bytes, which fill the file from one size to another."""
    fixed: list[tuple[int, int, Change]] = []
    loose: list[Change] = []
    for call in group:
        low, high = _between(call)
        if call.began != call.ended:
            loose.append(call)
        elif high - low == call.length:
            fixed.append((low, high, call))
        else:
            return None  # another one's bytes came between its fingerprints
    placed: list[Change] = []
    here = start
    goals: list[tuple[int, int, Change | None]] = [*sorted(fixed, key=lambda f: f[0]), (end, end, None)]
    for low, high, known in goals:
        if low != here:
            fits = [c for c in loose if c.length == low - here and _between(c)[0] <= here and low <= _between(c)[1]]
            if len(fits) != 1:
                return None
            loose.remove(fits[0])
            placed.append(fits[0])
        if known is not None:
            placed.append(known)
        here = high
    return None if loose else placed


def _between(call: Change) -> tuple[int, int]:
    """The sizes of the file ahead of a call and after it."""
    return (call.before.size if call.before else -1), (call.after.size if call.after else -1)

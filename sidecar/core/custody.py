"""The chain of custody: does a file hold exactly what its known writers reported?

Theory of operation. A window opens with a trusted `Manifest`: the digests of the file as it was at the fence. Every
change that a linked process reports afterwards is laid on top of it, in order. `explain` then walks through the
content that the file really has. Each byte must be either one of the manifest or one of exactly one reported write,
by length and digest, in order; whatever is left is unexplained. Calls that overlap in time (two appends under way at
once, or the calls of two links) may have reached the file in either order, so among such calls the content decides.

A rewrite needs more than its own digest: its writer may have read a stranger's bytes and written them anew as its own.
`seen_through` therefore asks for an unbroken chain of fingerprints from the fence to the last replacement of old bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Final

from sidecar.core.change import Change, Operation
from sidecar.core.content import EMPTY_SHA256, Manifest, Range, Segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.core.content import Content
    from sidecar.core.fingerprint import Fingerprint
    from sidecar.core.writer import Writer

_MAX_OVERLAP: Final = 64
"""How many reported writes the walk considers at one position; a bound on work, far above what a gateway overlaps."""

_REPLACING: Final = frozenset({Operation.REWRITE, Operation.TRUNCATE, Operation.REMOVE})


@dataclass(frozen=True, slots=True)
class Share:
    """How many bytes one writer contributed since the fence.

    Attributes:
        writer: Who.
        bytes: How many of the bytes now in the file; 0 for a change without bytes.
        ranges: Where they are.
    """

    writer: Writer
    bytes: int
    ranges: tuple[Range, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """What `explain` found.

    Attributes:
        manifest: The content described anew, every known writer kept; covers the unexplained ranges as baseline.
        shares: Who contributed what since the fence, in order of first appearance.
        unexplained: Ranges that no one reported; empty when every byte is accounted for.
        prefix_intact: The bytes at the fence are all still where they were.
        same_bytes: The content is exactly what it was at the fence.
        determinate: The reports settle what the file must hold. False while a call is under way, after a write in the
            middle, or where calls overlapped a rewrite: then an unexplained byte may still be the gateway's own.
    """

    manifest: Manifest
    shares: tuple[Share, ...]
    unexplained: tuple[Range, ...]
    prefix_intact: bool
    same_bytes: bool
    determinate: bool = True


@dataclass(slots=True)
class _Tally:
    """Collects shares while the walk goes on."""

    order: list[Writer] = field(default_factory=list)
    ranges: dict[Writer, list[Range]] = field(default_factory=dict)

    def add(self, writer: Writer, where: Range | None) -> None:
        if writer not in self.ranges:
            self.order.append(writer)
            self.ranges[writer] = []
        if where is not None and where.length > 0:
            self.ranges[writer].append(where)

    def shares(self) -> tuple[Share, ...]:
        return tuple(Share(w, sum(r.length for r in self.ranges[w]), tuple(self.ranges[w])) for w in self.order)


def explain(trusted: Manifest, changes: Sequence[Change], content: Content) -> Explanation:
    """Account for every byte of ``content``, given what was trusted and what was reported since.

    Args:
        trusted: The file at the fence.
        changes: Reported changes of this file since the fence.
        content: The file now.

    Returns:
        Shares, unexplained ranges, and the manifest of the content as it is.
    """
    walk = _Walk(trusted, content)
    for change in changes:
        walk.fold(change)
    return walk.finish()


def seen_through(fence: Fingerprint, changes: Sequence[Change]) -> bool:
    """Whether the reports lead without a gap from the fence to the last replacement of old bytes.

    Each call must have found the file exactly as the one ahead of it left it. Where it did not, something was there
    that no one reported, and a rewrite may have taken it in. Without a replacement there is nothing to hide it.
    """
    last = max((index for index, change in enumerate(changes) if change.operation in _REPLACING), default=-1)
    here: Fingerprint | None = fence
    for change in changes[: last + 1]:
        if here is None or change.before != here:
            return False
        here = change.after
    return True


def project(trusted: Manifest, changes: Sequence[Change]) -> Manifest | None:
    """What the file must hold after these changes if nobody else wrote, without reading it.

    Returns:
        The manifest, or None where the reports do not settle it (a call under way, a write in the middle, a cut
        inside a segment).
    """
    manifest: Manifest | None = trusted
    for change in changes:
        if manifest is None or not change.finished:
            return None
        manifest = _step(manifest, change)
    return manifest


def _step(manifest: Manifest, change: Change) -> Manifest | None:
    """The manifest after one finished change, or None where that is not settled."""
    match change.operation:
        case Operation.METADATA:
            return manifest
        case Operation.APPEND:
            return manifest.appended(change.length, change.sha256, change.writer)
        case Operation.WRITE if change.offset == manifest.size:
            return manifest.appended(change.length, change.sha256, change.writer)
        case Operation.REWRITE:
            return manifest.rewritten(change.length, change.sha256, change.writer)
        case Operation.REMOVE:
            return Manifest()
        case Operation.TRUNCATE:
            cut = Manifest(tuple(s for s in manifest.segments if s.range.end <= change.length))
            return cut if cut.size == change.length else None
        case _:
            return None


class _Walk:
    """One pass of `explain`: first lay the reports on the trusted bytes, then compare with the content."""

    def __init__(self, trusted: Manifest, content: Content) -> None:
        self._trusted = trusted
        self._content = content
        self._base = trusted
        self._folded: list[Change] = []
        self._pending: list[Change] = []
        self._loose: list[Change] = []
        """Of the pending: those that a rewrite may have replaced, so that their absence proves nothing."""
        self._queues: dict[str, list[Change]] = {}
        self._tally = _Tally()
        self._determinate = True

    def fold(self, change: Change) -> None:
        """Take in one report. Appends wait for `finish`; what replaces old bytes is settled here."""
        self._tally.add(change.writer, None)
        if change.operation is Operation.METADATA or _wrote_nothing(change):
            return
        if change.operation in _REPLACING:
            self._replace(change)
        else:
            self._pending.append(change)
            if any(c.operation in _REPLACING and not c.precedes(change) for c in self._folded):
                self._loose.append(change)
        self._folded.append(change)

    def _replace(self, change: Change) -> None:
        """Lay a rewrite, a truncation or a removal on the base."""
        overlapping = [c for c in self._folded if not c.precedes(change)]
        if not change.finished:
            self._determinate = False
            whole = change.operation is Operation.REWRITE and change.length == self._content.size
            if not whole or self._content.digest(0, change.length) != change.sha256:
                return
        if change.operation is Operation.TRUNCATE:
            folded = self._base if change.length <= self._base.size else self._laid_on(overlapping)
            after = None if folded is None else _step(folded, change)
        else:
            after = _step(self._base, change)
            if change.finished and not overlapping:
                self._determinate = True  # nothing of what came before can be in the file
        if after is None or any(c.operation in _REPLACING for c in overlapping):
            self._determinate = False
        if after is not None:
            self._base = after
            self._pending = [c for c in self._pending if c in overlapping]
            self._loose = list(self._pending)

    def _laid_on(self, overlapping: Sequence[Change]) -> Manifest | None:
        """The base with the waiting writes on top, where their order is beyond doubt."""
        ordered = not overlapping and all(a.precedes(b) for a, b in pairwise(self._pending))
        return project(self._base, self._pending) if ordered else None

    def finish(self) -> Explanation:
        """Walk through the content behind the base and match it with the waiting appends."""
        content = self._content
        broken = self._base.mismatches(content)
        unexplained = list(broken)
        manifest = self._base
        self._count_base(broken)
        self._queue()
        while manifest.size < content.size:
            step = self._next(manifest.size)
            if step is None:
                break
            change, skipped = step
            if skipped.length:
                unexplained.append(skipped)
                manifest = _with_unknown(manifest, skipped, content)
            self._queues[change.link].remove(change)
            self._tally.add(change.writer, Range(manifest.size, change.length))
            manifest = manifest.appended(change.length, change.sha256, change.writer)
        end = min(manifest.size, content.size)
        for change in chain.from_iterable(self._queues.values()):
            positioned = change.operation is Operation.WRITE
            if positioned or not change.finished or change in self._loose:
                self._determinate = False
            placed = positioned and change.offset >= 0 and self._holds(change, change.offset)
            if change.finished and change.length and not placed:
                # Reported as written, yet not there: something took it away again.
                unexplained.append(Range(end, 0))
        if manifest.size < content.size:
            tail = Range(manifest.size, content.size - manifest.size)
            unexplained.append(tail)
            manifest = _with_unknown(manifest, tail, content)
        untouched = not broken if self._base is self._trusted else not self._trusted.mismatches(content)
        intact = self._trusted.size <= content.size and untouched
        return Explanation(
            manifest=Manifest.baseline(content) if broken else manifest,
            shares=self._tally.shares(),
            unexplained=_joined(unexplained),
            prefix_intact=intact,
            same_bytes=intact and self._trusted.size == content.size,
            determinate=self._determinate,
        )

    def _queue(self) -> None:
        """Sort the waiting writes by link and begin: the order in which they are tried."""
        for change in sorted(self._pending, key=lambda c: c.began):
            self._queues.setdefault(change.link, []).append(change)

    def _count_base(self, broken: Sequence[Range]) -> None:
        """Count what the base holds beyond the trusted bytes, as far as it is still there."""
        known = set(self._trusted.segments)
        for segment in self._base.segments:
            gone = any(r.offset < segment.range.end and segment.offset < r.end for r in broken)
            if segment.writer is not None and segment not in known and not gone:
                self._tally.add(segment.writer, segment.range)

    def _next(self, position: int) -> tuple[Change, Range] | None:
        """The write that the content holds at ``position``, or the nearest one behind a strange range.

        A write may overtake another only if the two overlapped in time. Of two that fit, the longer one is taken: the
        shorter may be how it begins.
        """
        free = self._free(position)
        for change in sorted(free, key=lambda c: -c.length):
            if self._holds(change, position):
                return change, Range(position, 0)
        for change in sorted(free, key=lambda c: c.offset):
            if change.offset > position and self._holds(change, change.offset):
                return change, Range(position, change.offset - position)
        return None

    def _free(self, position: int) -> list[Change]:
        """The waiting writes that no other waiting one must come ahead of."""
        free: list[Change] = []
        for waiting in self._queues.values():
            first_ended: int | None = None
            for change in waiting:
                if first_ended is not None and change.began > first_ended:
                    break
                if change.length:
                    free.append(change)
                passed = change.operation is Operation.WRITE and (not change.length or 0 <= change.offset < position)
                if change.ended is not None and not passed:
                    first_ended = change.ended if first_ended is None else min(first_ended, change.ended)
        return free[:_MAX_OVERLAP]

    def _holds(self, change: Change, offset: int) -> bool:
        if change.operation is Operation.WRITE and change.offset not in {-1, offset}:
            return False
        inside = offset + change.length <= self._content.size
        return inside and self._content.digest(offset, change.length) == change.sha256


def _wrote_nothing(change: Change) -> bool:
    """A finished call that is known to have written no byte, unlike a write of which nothing is known."""
    known = change.operation is Operation.APPEND or (
        change.operation is Operation.WRITE and change.sha256 == EMPTY_SHA256
    )
    return known and change.finished and change.length == 0


def _with_unknown(manifest: Manifest, where: Range, content: Content) -> Manifest:
    """Lay an unexplained range on top, as a segment without a writer."""
    segment = Segment(where.offset, where.length, content.digest(where.offset, where.length))
    return Manifest((*manifest.segments, segment))


def _joined(ranges: Sequence[Range]) -> tuple[Range, ...]:
    """Sort by offset and join what touches."""
    joined: list[Range] = []
    for item in sorted(set(ranges), key=lambda r: (r.offset, r.length)):
        if joined and item.offset <= joined[-1].end:
            last = joined[-1]
            joined[-1] = Range(last.offset, max(last.end, item.end) - last.offset)
        else:
            joined.append(item)
    return tuple(joined)

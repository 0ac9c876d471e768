"""The chain of custody: does a file hold exactly what its known writers reported?

Theory of operation. A window opens with a trusted `Manifest`: the digests of the file as it was at the fence. Every
change that a linked process reports afterwards is laid on top of it, in order. `explain` then walks through the
content that the file really has. Each byte must be either one of the manifest or one of exactly one reported write,
by length and digest, in order; whatever is left is unexplained. Calls that overlap in time (two appends under way at
once) may have reached the file in either order, so among such calls the content decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sidecar.core.change import Change, Operation
from sidecar.core.content import Manifest, Range, Segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.core.content import Content
    from sidecar.core.writer import Writer

_MAX_OVERLAP: Final = 8
"""How many reported writes the walk considers at one position; a bound on work, far above what a gateway overlaps."""


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
        determinate: The reports settle what the file must hold. False while a call is under way, or after a write in
            the middle: then an unexplained byte may still be the gateway's own.
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

    def drop_ranges(self) -> None:
        """A rewrite or truncation replaced what was counted so far."""
        for ranges in self.ranges.values():
            ranges.clear()

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
        self._pending: list[Change] = []
        self._tally = _Tally()
        self._determinate = True

    def fold(self, change: Change) -> None:
        """Take in one report. Appends wait for `finish`; what replaces old bytes is settled here."""
        if change.operation in {Operation.APPEND, Operation.WRITE}:
            self._pending.append(change)
            return
        self._tally.add(change.writer, None)
        if change.operation is Operation.METADATA:
            return
        if not change.finished:
            self._determinate = False
            whole = change.operation is Operation.REWRITE and change.length == self._content.size
            if not whole or self._content.digest(0, change.length) != change.sha256:
                return
        folded = project(self._base, self._pending) if change.operation is Operation.TRUNCATE else self._base
        after = None if folded is None else _step(folded, change)
        if after is None:
            self._determinate = False
            return
        self._tally.drop_ranges()
        for earlier in self._pending:
            self._tally.add(earlier.writer, None)
        self._pending.clear()
        self._base = after
        if change.operation is Operation.REWRITE:
            self._tally.add(change.writer, Range(0, change.length))

    def finish(self) -> Explanation:
        """Walk through the content behind the base and match it with the waiting appends."""
        content = self._content
        broken = self._base.mismatches(content)
        unexplained = list(broken)
        manifest = self._base
        while self._pending and manifest.size < content.size:
            step = self._next(manifest.size)
            if step is None:
                break
            change, skipped = step
            if skipped.length:
                unexplained.append(skipped)
                manifest = _with_unknown(manifest, skipped, content)
            self._pending.remove(change)
            self._tally.add(change.writer, Range(manifest.size, change.length))
            manifest = manifest.appended(change.length, change.sha256, change.writer)
        for change in self._pending:
            self._tally.add(change.writer, None)
            if not change.finished or change.operation is Operation.WRITE:
                self._determinate = False
            elif change.length:
                # Reported as written, yet not there: something took it away again.
                unexplained.append(Range(min(manifest.size, content.size), 0))
        if manifest.size < content.size:
            tail = Range(manifest.size, content.size - manifest.size)
            unexplained.append(tail)
            manifest = _with_unknown(manifest, tail, content)
        intact = self._trusted.size <= content.size and not self._trusted.mismatches(content)
        return Explanation(
            manifest=Manifest.baseline(content) if broken else manifest,
            shares=self._tally.shares(),
            unexplained=_joined(unexplained),
            prefix_intact=intact,
            same_bytes=intact and self._trusted.size == content.size,
            determinate=self._determinate,
        )

    def _next(self, position: int) -> tuple[Change, Range] | None:
        """The write that the content holds at ``position``, or the nearest one behind a strange range.

        A write may overtake another only if the two overlapped in time.
        """
        waiting = self._pending[:_MAX_OVERLAP]
        free = [c for c in waiting if not any(p.precedes(c) for p in waiting if p is not c)]
        for change in free:
            if self._holds(change, position):
                return change, Range(position, 0)
        for change in free:
            if change.offset > position and self._holds(change, change.offset):
                return change, Range(position, change.offset - position)
        return None

    def _holds(self, change: Change, offset: int) -> bool:
        inside = offset + change.length <= self._content.size
        return inside and self._content.digest(offset, change.length) == change.sha256


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

"""The algorithm of custody: does a file hold exactly what its known writers reported?

Theory of operation. A window opens with a trusted `Manifest`: the digests of the file as it was at the fence. Every
change that a linked process reports afterwards is laid on top of it, in order. `explain` then walks through the
content that the file really has. Each byte must be either one of the manifest or one of exactly one reported write,
by length and digest, in order; whatever is left is unexplained. Calls that overlap in time (two appends under way at
once, or the calls of two links) may have reached the file in either order, so among such calls the content decides.

A rewrite needs more than its own digest: its writer may have read a stranger's bytes and written them anew as its own.
`sidecar.core.custody.files.projection.seen_through` therefore asks for an unbroken chain of fingerprints from the fence
to the last replacement of old bytes.
"""

from collections import deque
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Final

from sidecar.core.custody.files.manifest import Manifest
from sidecar.core.custody.files.projection import REPLACING, project, step
from sidecar.core.custody.finding import Share
from sidecar.core.facts.change import Change, Operation
from sidecar.core.facts.content import EMPTY_SHA256, Content
from sidecar.core.facts.span import Span
from sidecar.core.facts.value import Value
from sidecar.core.facts.writer import Writer

_MAX_OVERLAP: Final = 64
"""How many reported writes the walk considers at one position; a bound on work, far above what a gateway overlaps."""


class Explanation(Value, frozen=True):
    """What `explain` found.

    Attributes:
        manifest: The content described anew, the writers of what is left of it kept; unexplained ranges have none.
        shares: Who contributed what since the fence, in order of first appearance.
        unexplained: Ranges that no one reported; empty when every byte is accounted for.
        prefix_intact: The bytes at the fence are all still where they were.
        determinate: The reports settle what the file must hold. False after a write in the middle, where calls
            overlapped a rewrite, and while a call is under way or where calls wrote in pieces, unless there are more
            strange bytes than these can have written: then an unexplained byte may still be the gateway's own.
    """

    manifest: Manifest
    shares: tuple[Share, ...]
    unexplained: tuple[Span, ...]
    prefix_intact: bool
    determinate: bool = True


def explain(trusted: Manifest, changes: Sequence[Change], content: Content) -> Explanation:
    """Account for every byte of ``content``, given what was trusted at the fence and what was reported since."""
    walk = _Walk(trusted, content)
    for change in changes:
        walk.fold(change)
    return walk.finish()


class _Walk:
    """One pass of `explain`: first lay the reports on the trusted bytes, then compare with the content."""

    def __init__(self, trusted: Manifest, content: Content) -> None:
        self._trusted = trusted
        self._content = content
        self._base = trusted
        self._folded: list[Change] = []
        self._replacing: list[Change] = []
        self._positioned: list[Change] = []
        self._pending: list[Change] = []
        self._loose: list[Change] = []
        """Of the pending: those that a rewrite may have replaced, so that their absence proves nothing."""
        self._queues: dict[str, list[Change]] = {}
        self._manifest = trusted
        self._strange: list[Span] = []
        self._behind: deque[tuple[int, Change]] | None = None
        """Where waiting writes are found though something strange lies ahead of them; looked up when first needed."""
        self._done: set[int] = set()
        self._lost: list[tuple[Change, int]] = []
        """Reported writes that are not in the content, and where they would have come."""
        self._shares: dict[Writer, list[Span]] = {}
        self._determinate = True

    def fold(self, change: Change) -> None:
        """Take in one report. Appends wait for `finish`; what replaces old bytes is settled here."""
        self._shares.setdefault(change.writer, [])
        if change.operation is Operation.METADATA or _wrote_nothing(change):
            return
        if change.operation in REPLACING:
            self._replace(change)
            self._replacing.append(change)
        else:
            self._position(change)
            self._pending.append(change)
            if not all(c.precedes(change) for c in self._replacing):
                self._loose.append(change)
        self._folded.append(change)

    def _position(self, change: Change) -> None:
        """A positioned write settles nothing unless it goes behind all others, and so over nobody's bytes."""
        settled = all(c.precedes(change) for c in self._positioned)
        if change.operation is Operation.WRITE:
            self._positioned.append(change)
            end = self._base.size + sum(c.length for c in self._pending)
            at_end = change.finished and change.offset == end
            settled = settled and at_end and all(c.precedes(change) for c in self._pending)
        self._determinate = self._determinate and settled

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
            after = None if folded is None else step(folded, change)
        else:
            after = step(self._base, change)
            if change.finished and not overlapping:
                self._determinate = True  # nothing of what came before can be in the file
        if after is None or any(c.operation in REPLACING for c in overlapping):
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
        self._count_base(broken)
        self._match()
        doubtful = self._count_lost()
        if self._manifest.size < content.size:
            self._skip(Span(self._manifest.size, content.size - self._manifest.size))
        settled = doubtful == 0 or bool(broken) or sum(r.length for r in self._strange) > doubtful
        untouched = not broken if self._base is self._trusted else not self._trusted.mismatches(content)
        return Explanation(
            manifest=self._manifest.kept(content) if broken else self._manifest,
            shares=tuple(Share(w, sum(r.length for r in ranges), tuple(ranges)) for w, ranges in self._shares.items()),
            unexplained=_joined((*broken, *self._strange)),
            prefix_intact=self._trusted.size <= content.size and untouched,
            determinate=self._determinate and settled,
        )

    def _match(self) -> None:
        """Lay the waiting writes behind the base as the content has them."""
        self._manifest = self._base
        for change in sorted(self._pending, key=lambda c: c.began):
            self._queues.setdefault(change.link, []).append(change)
        while self._manifest.size < self._content.size:
            position = self._manifest.size
            found = self._next(position)
            if found is not None:
                self._take(*found)
                continue
            missing = min((c for c in self._free(position) if c.finished), key=lambda c: c.ended or 0, default=None)
            if missing is None:
                break
            # It is not there, and must not hide those that came after it.
            self._strike(missing)
            self._lost.append((missing, position))
        end = min(self._manifest.size, self._content.size)
        self._lost += [(change, end) for change in chain.from_iterable(self._queues.values())]

    def _take(self, change: Change, skipped: Span) -> None:
        """This write comes next, behind a strange range if that has a length."""
        self._skip(skipped)
        queue = self._queues[change.link]
        index = queue.index(change)
        overtaken = [c for c in queue[:index] if c.precedes(change)]
        for gone in (change, *overtaken):
            self._strike(gone)
        self._lost += [(c, skipped.offset) for c in overtaken]
        self._shares[change.writer].append(Span(self._manifest.size, change.length))
        self._manifest = self._manifest.appended(change)

    def _strike(self, change: Change) -> None:
        """This write waits no more."""
        self._queues[change.link].remove(change)
        self._done.add(id(change))

    def _skip(self, where: Span) -> None:
        """Nobody reported these bytes."""
        if where.length:
            self._strange.append(where)
            self._manifest = self._manifest.skipped(self._content, where.end)

    def _count_lost(self) -> int:
        """Note what was reported as written and is not there: something took it away again.

        Returns:
            How many strange bytes may still be of calls that are under way or wrote in pieces.
        """
        doubtful = 0
        for change, place in self._lost:
            if change in self._loose or not (change.finished or change.length):
                self._determinate = False
            elif not change.finished or self._may_be_torn(change):
                doubtful += change.length
            positioned = change.operation is Operation.WRITE and change.offset >= 0
            if change.finished and change.length and not (positioned and self._holds(change, change.offset)):
                self._strange.append(Span(place, 0))
        return doubtful

    def _may_be_torn(self, change: Change) -> bool:
        """A call that takes its time may write in pieces, with the pieces of others in between."""
        if change.began == change.ended:
            return False
        return any(not c.precedes(change) and not change.precedes(c) for c in self._folded if c is not change)

    def _count_base(self, broken: Sequence[Span]) -> None:
        """Count what the base holds beyond the trusted bytes, as far as it is still there."""
        known = set(self._trusted.segments)
        for segment in self._base.segments:
            gone = any(r.offset < segment.range.end and segment.offset < r.end for r in broken)
            if segment.writer is not None and segment not in known and not gone:
                self._shares.setdefault(segment.writer, []).append(segment.range)

    def _next(self, position: int) -> tuple[Change, Span] | None:
        """The write that the content holds at ``position``, or the nearest one behind a strange range.

        A write may come ahead of another only if the two overlapped in time. Of two that fit, the longer one is taken:
        the shorter may be how it begins.
        """
        for change in sorted(self._free(position), key=lambda c: -c.length):
            if self._holds(change, position):
                return change, Span(position, 0)
        if self._behind is None:
            waiting = [c for c in chain.from_iterable(self._queues.values()) if c.length]
            places = sorted((place, n) for n, c in enumerate(waiting) for place in _places(c) if place > position)
            self._behind = deque((place, waiting[n]) for place, n in places if self._holds(waiting[n], place))
        while self._behind and (self._behind[0][0] <= position or id(self._behind[0][1]) in self._done):
            self._behind.popleft()
        if not self._behind:
            return None
        place, change = self._behind[0]
        return change, Span(position, place - position)

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


def _places(change: Change) -> set[int]:
    """Where the bytes of a write may begin: as its reporter thought, or so that they ended where the file then did."""
    if change.operation is Operation.WRITE or change.after is None:
        return {change.offset}
    return {change.offset, change.after.size - change.length}


def _wrote_nothing(change: Change) -> bool:
    """A finished call that is known to have written no byte, unlike a write of which nothing is known."""
    known = change.operation is Operation.APPEND or (
        change.operation is Operation.WRITE and change.sha256 == EMPTY_SHA256
    )
    return known and change.finished and change.length == 0


def _joined(ranges: Sequence[Span]) -> tuple[Span, ...]:
    """Sort by offset and join what touches."""
    joined: list[Span] = []
    for item in sorted(set(ranges), key=lambda r: (r.offset, r.length)):
        if joined and item.offset <= joined[-1].end:
            last = joined[-1]
            joined[-1] = Span(last.offset, max(last.end, item.end) - last.offset)
        else:
            joined.append(item)
    return tuple(joined)

"""The whole of a session file as segments with known digests, and who wrote each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sidecar.core.facts.change import Change
from sidecar.core.facts.content import Content
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.span import Span
from sidecar.core.facts.value import Value
from sidecar.core.facts.writer import Writer

BLOCK_BYTES: Final = 4096
"""Granularity of a baseline: how exactly a rewrite of old bytes can be located."""


class Segment(Value, frozen=True):
    """A range whose digest is known.

    Attributes:
        sha256: Digest of exactly these bytes, hexadecimal.
        writer: Who wrote them; None where nobody is known to have (there when we began to look, or unexplained).
        at_ns: When that was reported, nanoseconds since the epoch; 0 without a writer.
        kernel: The kernel saw the writer's process write then, and nobody else.
    """

    offset: int
    length: int
    sha256: str
    writer: Writer | None = None
    at_ns: int = 0
    kernel: bool = False

    @property
    def grade(self) -> Grade:
        """How the writer is known."""
        return Grade.NONE if self.writer is None else Grade.KERNEL if self.kernel else Grade.BYTES

    @property
    def range(self) -> Span:
        """Where it lies."""
        return Span(self.offset, self.length)


class Manifest(Value, frozen=True):
    """The whole of a file as adjoining segments from offset 0."""

    segments: tuple[Segment, ...] = ()

    @property
    def size(self) -> int:
        """Length of the described file in bytes."""
        return self.segments[-1].range.end if self.segments else 0

    @classmethod
    def baseline(cls, content: Content) -> Manifest:
        """Describe a content whose history is not known, block by block."""
        return cls(tuple(_blocks(content, 0, content.size)))

    def without_writers(self) -> Manifest:
        """The same bytes, and not who wrote them."""
        return Manifest(tuple(Segment(s.offset, s.length, s.sha256) for s in self.segments))

    def appended(self, change: Change) -> Manifest:
        """This manifest with one more segment at its end: what the change has written."""
        return Manifest((*self.segments, *_written(change, self.size)))

    def rewritten(self, change: Change) -> Manifest:
        """A manifest of which one writer wrote the whole."""
        return Manifest(_written(change, 0))

    def skipped(self, content: Content, end: int) -> Manifest:
        """This manifest, grown to ``end`` by bytes that nobody is known to have written."""
        return Manifest((*self.segments, *_blocks(content, self.size, end)))

    def kept(self, content: Content) -> Manifest:
        """The content, with the known writers of those segments that it still holds in their place."""
        found: list[Segment] = []
        here = 0
        for segment in self.segments:
            end = segment.range.end
            if end <= content.size and content.digest(segment.offset, segment.length) == segment.sha256:
                found += [*_blocks(content, here, segment.offset), segment]
                here = end
        return Manifest((*found, *_blocks(content, here, content.size)))

    def mismatches(self, content: Content) -> tuple[Span, ...]:
        """The ranges of this manifest that the content does not hold, adjoining ones joined."""
        found: list[Span] = []
        for segment in self.segments:
            whole = segment.range.end <= content.size
            if whole and content.digest(segment.offset, segment.length) == segment.sha256:
                continue
            if found and found[-1].end == segment.offset:
                found[-1] = Span(found[-1].offset, found[-1].length + segment.length)
            else:
                found.append(segment.range)
        return tuple(found)


def _written(change: Change, offset: int) -> tuple[Segment, ...]:
    if not change.length:
        return ()
    return (Segment(offset, change.length, change.sha256, change.writer, change.at_ns),)


def _blocks(content: Content, start: int, end: int) -> Iterator[Segment]:
    for offset in range(start, end, BLOCK_BYTES):
        length = min(BLOCK_BYTES, end - offset)
        yield Segment(offset, length, content.digest(offset, length))

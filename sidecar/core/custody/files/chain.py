"""The custody report of a file, for people and for the store: who wrote which bytes, when, and how that is known."""

from collections.abc import Iterable, Sequence

from sidecar.core.custody.files.explain import Explanation, explain
from sidecar.core.custody.files.manifest import Manifest, Segment
from sidecar.core.custody.gaps import Gap
from sidecar.core.custody.kernel_evidence import NO_KERNEL_EVIDENCE, KernelEvidence
from sidecar.core.facts.change import Change
from sidecar.core.facts.content import Content, Snapshot
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.span import Span
from sidecar.core.facts.value import Value, replace


class KeptChain(Value, frozen=True, kw_only=True, tag="file"):
    """A chain as it outlives the sidecar.

    Attributes:
        session: Hash of the session key; empty when no run told it.
        manifest: The bytes as they were known last; None when they never were, and the chain begins with a reading.
        watched_ns: Until when the file was watched.
        gaps: Times without custody, oldest first.
    """

    file: str
    session: str
    manifest: Manifest | None
    since_ns: int
    watched_ns: int
    gaps: tuple[Gap, ...] = ()

    @property
    def witnessed(self) -> bool:
        """There is a byte whose writer is known."""
        return self.manifest is not None and any(s.writer is not None for s in self.manifest.segments)


class Chain(Value, frozen=True, kw_only=True):
    """What is known of the bytes of a file at one moment.

    Attributes:
        fingerprint: The file as it was read.
        ranges: All of it, in order, adjoining bytes without a writer as one; empty when it could not be read.
        differences: Where it is not what the chain says: bytes that no one reported, and (with length 0) places where
            reported ones are missing. Empty for a chain that begins with this reading.
        settled: No call was under way that may have written the differences.
        problem: Why the file could not be read; empty when it was, or when there is none.
    """

    file: str
    fingerprint: Fingerprint
    ranges: tuple[Segment, ...] = ()
    differences: tuple[Span, ...] = ()
    settled: bool = True
    since_ns: int
    gaps: tuple[Gap, ...] = ()
    problem: str = ""


def examine(
    kept: KeptChain,
    changes: Sequence[Change],
    snapshot: Snapshot,
    kernel_evidence: KernelEvidence = NO_KERNEL_EVIDENCE,
    strange: Sequence[Span] = (),
) -> Chain:
    """Hold a file against its chain, and change neither. No report about what was read is outstanding.

    The ``changes`` are not part of the chain yet; what is ``strange`` of it is a stranger's and in no run's fence yet.
    """
    here, content = snapshot.fingerprint, snapshot.content
    if content is None:
        held = kept.manifest is not None and kept.manifest.size > 0
        gone = (Span(0, 0),) if held and not here.exists and not changes else ()
        return Chain(
            file=kept.file,
            fingerprint=here,
            differences=gone,
            since_ns=kept.since_ns,
            gaps=kept.gaps,
            problem=snapshot.problem,
        )
    found = explain(kept.manifest or Manifest(), changes, content)
    manifest = found.manifest if found.unexplained else graded(found.manifest, kept.manifest, kernel_evidence)
    return Chain(
        file=kept.file,
        fingerprint=here,
        ranges=tuple(_ranges(manifest.segments, content)),
        differences=_different(kept, found, strange),
        settled=found.determinate,
        since_ns=kept.since_ns,
        gaps=kept.gaps,
    )


def _different(kept: KeptChain, found: Explanation, strange: Sequence[Span]) -> tuple[Span, ...]:
    """What is not as the chain says, in the order of the file, and nothing twice."""
    if kept.manifest is None:
        return ()
    changed = found.unexplained
    known = [r for r in strange if not any(r.offset < other.end and other.offset < r.end for other in changed)]
    still = [r for r in known if r.end <= found.manifest.size]
    return tuple(sorted({*still, *changed}, key=lambda r: r.offset))


def graded(manifest: Manifest, before: Manifest | None, kernel_evidence: KernelEvidence) -> Manifest:
    """The bytes, each explained, with the kernel's word on who wrote what is new in them.

    What was not in them ``before``, when the evidence begins, is new; where that is not known (None), nothing is.
    """
    if before is None or not kernel_evidence.whole:
        return manifest
    old = set(before.segments)
    seen = [
        s.writer is not None and s not in old and kernel_evidence.vouches_for(frozenset({s.writer.pid}))
        for s in manifest.segments
    ]
    return Manifest(tuple(replace(s, kernel=True) if k else s for s, k in zip(manifest.segments, seen, strict=True)))


def _ranges(segments: Iterable[Segment], content: Content) -> Iterable[Segment]:
    """Each reported write is a range of its own; what has no writer is joined."""
    start = end = 0
    for segment in segments:
        if segment.writer is None:
            end = segment.range.end
            continue
        yield from _nobody(start, end, content)
        yield segment
        start = end = segment.range.end
    yield from _nobody(start, end, content)


def _nobody(start: int, end: int, content: Content) -> Iterable[Segment]:
    if end > start:
        yield Segment(start, end - start, content.digest(start, end - start))


def beginning(file: str, at_ns: int) -> KeptChain:
    """A file of which nothing is known."""
    return KeptChain(file=file, session="", manifest=None, since_ns=at_ns, watched_ns=at_ns)

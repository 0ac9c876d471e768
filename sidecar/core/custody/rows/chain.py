"""The custody report of a transcript in a database: who wrote which rows, when, and what differs from the reports."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import groupby

from sidecar.core.custody.gaps import Gap
from sidecar.core.custody.kernel_evidence import NO_KERNEL_EVIDENCE, KernelEvidence
from sidecar.core.custody.rows.examine import Telling, by_place, retold, spans
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.rows import Row, RowChange, RowSnapshot, RowVersion, digest_of_span
from sidecar.core.facts.value import Value, replace
from sidecar.core.facts.writer import Writer


class ChainRow(Value, frozen=True):
    """A row of which it is known what it was last, and perhaps by whom.

    Attributes:
        seq: Its place.
        digest: See `sidecar.core.facts.rows.Row`.
        writer: Who wrote it; None where nobody is known to have.
        at_ns: When that was reported, nanoseconds since the epoch; 0 without a writer.
        kernel: The kernel saw the writer's process write to the database then, and no unknown one.
    """

    seq: int
    digest: str
    writer: Writer | None = None
    at_ns: int = 0
    kernel: bool = False

    @property
    def grade(self) -> Grade:
        """How the writer is known."""
        return Grade.NONE if self.writer is None else Grade.KERNEL if self.kernel else Grade.BYTES


class KeptRows(Value, frozen=True, kw_only=True, tag="rows"):
    """A chain of rows as it outlives the sidecar.

    Attributes:
        file: The id of the transcript.
        session: Hash of the session key; empty when no run told it.
        rows: As they were known last, in order.
        generation: Likewise.
        begun: They are all that there were. Else only reports are known, and not what was there before.
        since_ns: When the chain begins.
        watched_ns: Until when the transcript was watched.
        gaps: Times without custody, oldest first.
    """

    file: str
    session: str = ""
    rows: tuple[ChainRow, ...] = ()
    generation: str = ""
    begun: bool = False
    since_ns: int
    watched_ns: int
    gaps: tuple[Gap, ...] = ()

    @property
    def witnessed(self) -> bool:
        """There is a row whose writer is known, and all rows were known."""
        return self.begun and any(row.writer is not None for row in self.rows)


class Deed(StrEnum):
    """What was done to rows by nobody known."""

    INSERTED = "inserted"
    EDITED = "edited"
    DELETED = "deleted"
    RENEWED = "renewed"
    """The transcript has another generation, and every row is as it was."""


class RowDifference(Value, frozen=True):
    """Adjoining rows that are not what the chain says.

    Attributes:
        offset: Place of the first one.
        length: How many there are; 0 where the transcript as a whole is meant.
    """

    offset: int
    length: int
    deed: Deed


class RowRange(Value, frozen=True):
    """Adjoining rows of one transaction, or whose writer is not known.

    Attributes:
        sha256: Digest of the places and digests of its rows.
        writer: Who wrote them; None where nobody is known to have.
        at_ns: When that was reported, nanoseconds since the epoch; 0 without a writer.
    """

    offset: int
    length: int
    sha256: str
    writer: Writer | None
    at_ns: int
    grade: Grade


class RowChain(Value, frozen=True, kw_only=True):
    """What is known of the rows of a transcript at one moment.

    Attributes:
        version: The transcript as it was read.
        ranges: All of its rows, in order.
        differences: Where they are not what the chain says. Empty for a chain that begins with this reading.
        problem: Why they could not be read; empty when they were, or when there are none.
    """

    file: str
    version: RowVersion
    ranges: tuple[RowRange, ...] = ()
    differences: tuple[RowDifference, ...] = ()
    since_ns: int
    gaps: tuple[Gap, ...] = ()
    problem: str = ""


def examine_chain(
    kept: KeptRows,
    changes: Sequence[RowChange],
    reading: RowSnapshot,
    kernel_evidence: KernelEvidence = NO_KERNEL_EVIDENCE,
) -> RowChain:
    """Hold the rows against their chain, and change neither. No report about what was read is outstanding.

    The ``changes`` are part of the chain already; the kernel's word on them is not.
    """
    chain = RowChain(
        file=kept.file, version=reading.version, since_ns=kept.since_ns, gaps=kept.gaps, problem=reading.problem
    )
    if reading.problem:
        return chain
    known = {row.seq: row for row in graded(kept.rows, changes, kernel_evidence)}
    told = by_place(changes)
    rows = [named(row, known.get(row.seq), told.get(row.seq, ())) for row in reading.rows or ()]
    differences: tuple[RowDifference, ...] = ()
    if kept.begun:
        differences = tuple(_differences(known, rows))
        generations = {kept.generation, *(change.after.generation for change in changes)}
        if not differences and reading.version.exists and reading.version.generation not in generations:
            differences = (RowDifference(0, 0, Deed.RENEWED),)
    return replace(chain, ranges=tuple(_ranges(rows)), differences=differences)


def named(row: Row, known: ChainRow | None, told: Sequence[Telling]) -> ChainRow:
    """A row as it was read, with its writer as far as that is known."""
    if known is not None and known.digest == row.digest:
        return known
    change = retold(row, told)
    return ChainRow(row.seq, row.digest) if change is None else written(row, change)


def written(row: Row, change: RowChange) -> ChainRow:
    """A row as a report has it."""
    return ChainRow(row.seq, row.digest, change.writer, change.at_ns)


def graded(
    rows: Iterable[ChainRow], changes: Iterable[RowChange], kernel_evidence: KernelEvidence
) -> Iterator[ChainRow]:
    """The rows, with the kernel's word on who wrote those that these changes have reported."""
    told = {(row.seq, row.digest) for change in changes for row in change.rows} if kernel_evidence.whole else ()
    for row in rows:
        writer = row.writer if (row.seq, row.digest) in told else None
        seen = writer is not None and kernel_evidence.vouches_for(frozenset({writer.pid}))
        yield replace(row, kernel=True) if seen else row


def _differences(known: Mapping[int, ChainRow], rows: Sequence[ChainRow]) -> Iterator[RowDifference]:
    """What is not as the chain says, in the order of the rows."""
    now = {row.seq: row for row in rows}
    deeds: dict[int, Deed] = dict.fromkeys(known.keys() - now.keys(), Deed.DELETED)
    for row in rows:
        before = known.get(row.seq)
        if row.writer is None and (before is None or before.digest != row.digest):
            deeds[row.seq] = Deed.INSERTED if before is None else Deed.EDITED
    found = [
        RowDifference(span.offset, span.length, deed)
        for deed in Deed
        for span in spans(seq for seq, done in deeds.items() if done is deed)
    ]
    yield from sorted(found, key=lambda difference: difference.offset)


def _ranges(rows: Iterable[ChainRow]) -> Iterator[RowRange]:
    """Rows of one transaction as one range, and what has no writer as well."""
    for (_place, writer, at_ns, grade), group in groupby(
        enumerate(rows), key=lambda item: (item[1].seq - item[0], item[1].writer, item[1].at_ns, item[1].grade)
    ):
        found = [row for _number, row in group]
        yield RowRange(found[0].seq, len(found), digest_of_span(found), writer, at_ns, grade)

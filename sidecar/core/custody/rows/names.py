"""Who wrote the rows of one transcript: what was said or seen of each place last, over fences and losses.

No verdict rests on this: those rest on accounts. What a stranger does to a row is taken into no chain, so `verify`
names it until a known writer replaces or removes that row.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sidecar.core.custody.gaps import Gap, closed, widened
from sidecar.core.custody.kernel_evidence import KernelEvidence
from sidecar.core.custody.rows.chain import ChainRow, KeptRows, graded, named, written
from sidecar.core.custody.rows.examine import by_place
from sidecar.core.facts.reasons import Reason
from sidecar.core.facts.rows import RowChange, RowSnapshot, take_out


@dataclass(slots=True)
class RowNames:
    """The running chain of one transcript.

    Attributes:
        rows: The last known state of each place.
        generation: Of the last report, or of the reading that the chain began with.
        begun: All rows were known once.
        trusted: And no report was lost since: what differs from them is a stranger's.
        since_ns: When the chain begins; 0 before.
        gaps: Times without custody, oldest first.
        unsaved: It has changed since it was kept last.
    """

    rows: dict[int, ChainRow] = field(default_factory=dict)
    generation: str = ""
    begun: bool = False
    trusted: bool = False
    since_ns: int = 0
    gaps: tuple[Gap, ...] = ()
    unsaved: bool = False

    def born(self, at_ns: int) -> None:
        """The next report is of the first row that the transcript has, and perhaps the first that it ever had."""
        if not self.trusted:
            self.rows.clear()
            self._whole(at_ns)

    def told(self, change: RowChange) -> None:
        """Take in a report."""
        self.since_ns = self.since_ns or change.at_ns
        self.unsaved = True
        self._told(change)

    def _told(self, change: RowChange) -> None:
        take_out(self.rows, change.gone)
        self.rows.update((row.seq, written(row, change)) for row in change.rows)
        self.generation = change.after.generation

    def told_late(self, change: RowChange) -> None:
        """Another link told late of rows that were read already: they have a writer now."""
        for row in change.rows:
            known = self.rows.get(row.seq)
            if known is None or (known.writer is None and known.digest == row.digest):
                self.rows[row.seq] = written(row, change)
                self.unsaved = True

    def read(self, reading: RowSnapshot, changes: Sequence[RowChange], at_ns: int) -> None:
        """All rows were read, and no report of them is outstanding."""
        if self.trusted:
            return
        told, rows = by_place(changes), reading.rows or ()
        self.rows = {row.seq: named(row, self.rows.get(row.seq), told.get(row.seq, ())) for row in rows}
        self.generation = reading.version.generation
        self._whole(at_ns)

    def _whole(self, at_ns: int) -> None:
        self.begun = self.trusted = self.unsaved = True
        self.since_ns = self.since_ns or at_ns
        self.gaps = closed(self.gaps, at_ns)

    def seen(self, changes: Sequence[RowChange], kernel_evidence: KernelEvidence) -> None:
        """The kernel's word on who wrote what these reports tell."""
        if kernel_evidence.whole and changes:
            self.rows = {row.seq: row for row in graded(self.rows.values(), changes, kernel_evidence)}

    def lost(self, reason: Reason, at_ns: int) -> None:
        """Reports may be missing."""
        if self.trusted:
            self.trusted = False
            self.gaps = widened(self.gaps, Gap(at_ns, 0, reason))

    def recall(self, kept: KeptRows, reason: Reason, changes: Sequence[RowChange]) -> None:
        """What was known before is known again, but for the time since the transcript was watched last."""
        if self.trusted:
            return  # it is another transcript, which has begun since
        self.since_ns, self.begun = kept.since_ns, kept.begun
        self.rows, self.generation = {row.seq: row for row in kept.rows}, kept.generation
        self.gaps = widened(kept.gaps, Gap(kept.watched_ns, 0, reason))
        for change in changes:
            self._told(change)

    def kept(self, file: str, session: str, at_ns: int) -> KeptRows:
        """The chain as it is now."""
        return KeptRows(
            file=file,
            session=session,
            rows=tuple(self.rows[seq] for seq in sorted(self.rows)),
            generation=self.generation,
            begun=self.begun,
            since_ns=self.since_ns or at_ns,
            watched_ns=at_ns,
            gaps=self.gaps,
        )

"""The account of one transcript in a database: the rows at a trusted moment, and what was reported since.

What windows ask of it is `sidecar.core.custody.account.Account`.
"""

from collections.abc import Container, Mapping
from typing import Self

from sidecar.core.custody.finding import Finding
from sidecar.core.custody.kernel_evidence import NO_KERNEL_EVIDENCE, KernelEvidence, Mark
from sidecar.core.custody.rows.examine import examine
from sidecar.core.facts.reasons import Reason
from sidecar.core.facts.rows import Row, RowChange, RowSnapshot, RowVersion, applied, digest_of_span
from sidecar.core.facts.value import Value, replace


class RowAccount(Value, frozen=True, tag="rows"):
    """All that a verdict on a transcript in a database can rest on, but for the transcript itself.

    Attributes:
        rows: The rows at ``head``, by place; None while they are not known.
        head: The version at which they were so; None while there is none.
        uid: Owner of the database at the head; -1 when not known.
        changes: Committed and reported since ``head``, in the order of the reports.
        mark: Where the head was set between the kernel's sightings; None where that is not known.
        broken: Why nothing may be concluded from what is missing in it; None while it is whole.
    """

    rows: Mapping[int, Row] | None = None
    head: RowVersion | None = None
    uid: int = -1
    changes: tuple[RowChange, ...] = ()
    mark: Mark | None = None
    broken: Reason | None = None

    @property
    def known(self) -> bool:
        """The rows at the head are known."""
        return self.rows is not None

    @property
    def at_rest(self) -> bool:
        """Nothing was reported since the head. What is under way in a transaction changes nothing that can be read."""
        return not self.changes

    @property
    def at_head(self) -> Self:
        """What is known of the head alone, without the reports."""
        return replace(self, changes=())

    def reported(self, change: RowChange, link: str = "") -> tuple[Self, bool | None]:
        """With one more report, unless it is about something that the head has left behind.

        Args:
            change: The report.
            link: Not needed here: a version says itself whether it comes after another one.

        Returns:
            The account, and whether the change came after the head.
        """
        del link
        if self._left_behind(change):
            return self, False
        return replace(self, changes=(*self.changes, change)), True

    def _left_behind(self, change: RowChange) -> bool:
        """Another link told late of rows that were there at the head already."""
        head = self.head
        if head is None or change.after.generation != head.generation or change.gone:
            return False
        if self.rows is None:
            return change.after.seq <= head.seq
        return all(row.seq <= head.seq and self.rows.get(row.seq, row).digest == row.digest for row in change.rows)

    def calls_of(self, link: str) -> tuple[RowChange, ...]:
        """No call is ever under way: only what was committed is reported."""
        del link
        return ()

    def abandoned(self, calls: Container[RowChange]) -> Self:
        """Without these reports."""
        return replace(self, changes=tuple(change for change in self.changes if change not in calls))

    def doubted(self, reason: Reason) -> Self:
        """With a reason why nothing may be concluded from what is missing in it."""
        return replace(self, broken=reason)

    def with_contents_of(self, other: Self) -> Self:
        """Whole, with what another account of the same head knows of the rows and their owner."""
        return replace(self, rows=other.rows, uid=other.uid, broken=None)

    def owned(self, reading: RowSnapshot) -> Self:
        """With the owner of the database, where that was not known."""
        return self if self.uid >= 0 else replace(self, uid=reading.uid)

    def span_to(self, reading: RowSnapshot) -> str:
        """The digest of the rows behind the head."""
        first = 0 if self.head is None else self.head.size
        return digest_of_span(row for row in reading.rows or () if row.seq >= first)

    def examined(
        self, reading: RowSnapshot, kernel_evidence: KernelEvidence = NO_KERNEL_EVIDENCE, gateway_uid: int = -1
    ) -> Finding:
        """Hold the transcript against the account; see `sidecar.core.custody.rows.examine.examine`."""
        del gateway_uid  # a row has no owner, and the database's says nothing of who writes to it
        return examine(self, self.rows, reading, kernel_evidence)

    def advanced(self, fence: RowVersion) -> Self | None:
        """The account with its head at a fence.

        Returns:
            None where the reports do not lead there: then the transcript must be read.
        """
        if not fence.exists and not self.changes:
            return replace(self, rows={}, head=fence)
        if self.rows is None:
            return None
        if fence == self.head:
            return self
        for count, change in enumerate(self.changes, start=1):
            if change.after == fence:
                rows = applied(self.rows, self.changes[:count])
                whole = (
                    len(rows) == fence.size and rows[fence.seq].digest == fence.digest if fence.seq in rows else False
                )
                return replace(self, rows=rows, head=fence, changes=self.changes[count:]) if whole else None
        return None

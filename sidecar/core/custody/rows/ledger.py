"""One account for each transcript in a database, carried from fence to fence."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Final

from sidecar.core.custody.kernel_evidence import NO_KERNEL_EVIDENCE, KernelEvidence, Mark
from sidecar.core.custody.rows.account import RowAccount
from sidecar.core.custody.rows.chain import KeptRows
from sidecar.core.custody.rows.names import RowNames
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.rows import Row, RowChange, RowSnapshot, RowVersion
from sidecar.core.facts.value import replace

IDLE_NS: Final = 6 * 3600 * 1_000_000_000
"""The account of a transcript that no one has spoken of for so long is put away."""

MAX_LEDGERS: Final = 500
"""Accounts that are kept at hand, beside those of transcripts with an open window."""

MAX_CHANGES: Final = 512
"""Reports that are kept apart; beyond it, the older half goes into the rows at the head."""


@dataclass(slots=True)
class RowLedger:
    """The running account of one transcript: trusted rows and the changes reported since.

    Attributes:
        account: What is known since its head. Without rows custody is unknown.
        names: Who wrote the rows; no verdict rests on it.
        session: Hash of the session key, as far as a run told it.
        touched_ns: When it was spoken of last.
        asked: What was kept of it has been asked for.
    """

    account: RowAccount = field(default_factory=RowAccount)
    names: RowNames = field(default_factory=RowNames)
    session: str = ""
    touched_ns: int = 0
    asked: bool = False

    def report(self, change: RowChange) -> None:
        """Take in a report, unless it is a late one of what the head has left behind."""
        self.touched_ns = max(self.touched_ns, change.at_ns)
        if self.account.rows is None and change.rows and change.rows[0].seq == 0 and not change.gone:
            # The transcript is born in this transaction, so all of its history is known.
            self.account = replace(self.account, rows={}, head=change.after.absent())
            self.names.born(change.at_ns)
        self.account, after = self.account.reported(change)
        if after:
            self.names.told(change)
        else:
            self.names.told_late(change)
        if len(self.account.changes) > MAX_CHANGES:
            self._fold(change.at_ns)

    def advance(self, fence: RowVersion, kernel_evidence: KernelEvidence = NO_KERNEL_EVIDENCE) -> RowAccount | None:
        """Move the head to a fence if the reports lead there; see `RowAccount.advanced`.

        Returns:
            The account from the fence on; None where the transcript must be read.
        """
        moved = self.account.advanced(fence)
        if moved is not None:
            self.names.seen(self.account.changes, kernel_evidence)
            self.account = moved
        return moved

    def read(
        self,
        reading: RowSnapshot,
        at_ns: int,
        kernel_evidence: KernelEvidence = NO_KERNEL_EVIDENCE,
        *,
        mark: Mark | None = None,
    ) -> bool:
        """Move the head to a transcript as it was read.

        Returns:
            False where it could not be read; nothing changes then.
        """
        if reading.version.exists and reading.rows is None:
            return False
        now: dict[int, Row] = {row.seq: row for row in reading.rows or ()}
        self.touched_ns = max(self.touched_ns, at_ns)
        self.names.read(reading, self.account.changes, at_ns)
        self.names.seen(self.account.changes, kernel_evidence)
        self.account = RowAccount(rows=now, head=reading.version, uid=reading.uid, mark=mark)
        return True

    def forget(self, reason: Reason, at_ns: int) -> None:
        """Custody is unknown from now on."""
        self.names.lost(reason, at_ns)
        self.account = RowAccount(uid=self.account.uid)

    def recall(self, kept: KeptRows, reason: Reason) -> None:
        """What was known of this transcript before is known again, but for the time since it was watched last."""
        self.session = self.session or kept.session
        self.names.recall(kept, reason, self.account.changes)

    def kept(self, file: str, at_ns: int) -> KeptRows:
        """The chain of custody as it is now."""
        return self.names.kept(file, self.session, at_ns)

    def saved(self, file: str, at_ns: int) -> KeptRows:
        """The chain of custody, to be kept."""
        self.names.unsaved = False
        return self.kept(file, at_ns)

    def _fold(self, at_ns: int) -> None:
        """A transcript on which no run sets a fence must not take more and more room."""
        middle = self.account.changes[len(self.account.changes) // 2].after
        if self.advance(middle) is None:
            self.forget(Reason(ReasonCode.TOO_MANY_REPORTS), at_ns)


class RowLedgers(dict[str, RowLedger]):
    """A `RowLedger` for each transcript in a database, by its id."""

    def __missing__(self, transcript: str) -> RowLedger:
        """The account of a transcript begins with the first word of it."""
        made = self[transcript] = RowLedger()
        return made

    def beginning(self, fence: RowVersion, broken: Reason) -> RowAccount:
        """See `sidecar.core.custody.account.Accounts`."""
        return RowAccount(head=fence, broken=broken)

    def changes(self, transcript: str) -> Sequence[RowChange]:
        """See `sidecar.core.custody.account.Accounts`."""
        return self[transcript].account.changes

    def forget(self, transcript: str, reason: Reason, at_ns: int) -> None:
        """See `sidecar.core.custody.account.Accounts`."""
        for name, ledger in self.items():
            if transcript in {"", name}:
                ledger.forget(reason, at_ns)

    def prune(self, fenced: Container[str], at_ns: int) -> None:
        """Put away the accounts of transcripts without a window that were not spoken of for long, and of too many."""
        idle = sorted((name for name in self if name not in fenced), key=lambda name: self[name].touched_ns)
        many = max(0, len(self) - MAX_LEDGERS)
        for count, name in enumerate(idle):
            if count < many or at_ns - self[name].touched_ns > IDLE_NS:
                del self[name]

"""One account for each session file, carried from fence to fence, and who wrote the file before."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sidecar.core.custody.files.account import FileAccount
from sidecar.core.custody.files.chain import KeptChain, graded
from sidecar.core.custody.files.explain import explain
from sidecar.core.custody.files.manifest import Manifest
from sidecar.core.custody.files.projection import project
from sidecar.core.custody.gaps import Gap, closed, widened
from sidecar.core.custody.kernel_evidence import NO_KERNEL_EVIDENCE, KernelEvidence, Mark
from sidecar.core.facts.change import Change
from sidecar.core.facts.content import Snapshot
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.span import Span
from sidecar.core.facts.value import replace

CALL_NS: Final = 60 * 1_000_000_000
"""No call takes so long."""

MAX_CHANGES: Final = 512
"""Reports that are kept apart; beyond it, the older half goes into the manifest."""

_UNHEARD: Final = Reason(ReasonCode.WRITE_NEVER_RETURNED)
_TOO_MANY: Final = Reason(ReasonCode.TOO_MANY_REPORTS)


@dataclass(slots=True)
class Ledger:
    """The running account of one file: a trusted state and the changes reported since.

    Attributes:
        account: What is known since its head. Without a manifest custody is unknown.
        session: Hash of the session key, as far as a run told it.
        since_ns: When the chain begins; 0 before.
        gaps: Times without custody, oldest first.
        touched_ns: When it was spoken of last.
        unsaved: It has changed since it was kept last.
        asked: What was kept of it has been asked for.
        strange: What of the bytes at the head is a stranger's and in no run's fence yet: `verify` tells of it.
    """

    account: FileAccount = field(default_factory=FileAccount)
    session: str = ""
    since_ns: int = 0
    gaps: tuple[Gap, ...] = ()
    touched_ns: int = 0
    unsaved: bool = False
    asked: bool = False
    strange: tuple[Span, ...] = ()

    def report(self, change: Change) -> None:
        """Take in a report, unless it is a late one of what the head has left behind."""
        self._touch(change.at_ns)
        if self.account.manifest is None and change.before is not None and not change.before.exists:
            # The file is born in this call, so all of its history is known, be it told by several links in any order.
            self.account = replace(self.account, manifest=Manifest(), head=change.before)
            self.gaps = closed(self.gaps, change.at_ns)
        self.account, _after = self.account.reported(change)
        if len(self.account.changes) > MAX_CHANGES:
            self._fold(change.at_ns)

    def has_word_of(self, state: Fingerprint) -> bool:
        """A process that speaks for itself said that it has left the file so."""
        return state == self.account.head or any(change.after == state for change in self.account.changes)

    def advance(self, fence: Fingerprint, kernel_evidence: KernelEvidence = NO_KERNEL_EVIDENCE) -> FileAccount | None:
        """Move the head to a fence if the reports lead there without a gap; see `FileAccount.advanced`.

        Returns:
            The account from the fence on; None where the file must be read.
        """
        self.account = self.account.in_order()
        moved = self.account.advanced(fence, kernel_evidence)
        if moved is not None:
            self.unsaved = self.unsaved or fence != self.account.head or not fence.exists
            self.account, self.strange = moved, ()
        return moved

    def may_take(self, snapshot: Snapshot, fences: Iterable[Fingerprint]) -> bool:
        """A reading that did not wait for reports takes nothing away from them.

        Where the file has moved on from the fence that it was read for, the account would be ahead of reports and
        fences that are still to be heard of, and could not lead to those any more.
        """
        return self.account.manifest is None or snapshot.fingerprint in fences

    def read(
        self,
        snapshot: Snapshot,
        at_ns: int,
        kernel_evidence: KernelEvidence = NO_KERNEL_EVIDENCE,
        strange: Iterable[Span] = (),
        *,
        mark: Mark | None = None,
        fenced: bool = True,
    ) -> Manifest | None:
        """Move the head to a file as it was read, keeping the known writers of the parts that are explained.

        Args:
            snapshot: The file.
            at_ns: The time.
            strange: What of it is a stranger's and in no run's fence yet.
            mark: Where this comes between the kernel's sightings.
            fenced: A run has a window on the file. Else all that is unexplained is in no run's fence yet.
            kernel_evidence: What the kernel says of the time since the head was set.

        Returns:
            The bytes as they are; None where they could not be read or belong to no regular file. What was known
            before then stays as it is. Calls under way stay in the account: they may have written, or write yet.
        """
        account = self.account = replace(self.account, uid=snapshot.uid)
        unread = snapshot.fingerprint.exists and (snapshot.content is None or not snapshot.regular)
        if unread:
            return None
        manifest = Manifest()
        if snapshot.content is not None:
            found = explain(self._named(), account.changes, snapshot.content)
            if not fenced and account.manifest is not None:
                strange = (*strange, *found.unexplained)
            manifest = (
                found.manifest if found.unexplained else graded(found.manifest, account.manifest, kernel_evidence)
            )
        elif not self._away:
            account = replace(account, past=self._reported() or account.past)
        self._touch(at_ns)
        self.unsaved = self.unsaved or manifest != account.manifest
        self.gaps, self.strange = closed(self.gaps, at_ns), tuple(dict.fromkeys(strange))
        self.account = replace(
            account, manifest=manifest, head=snapshot.fingerprint, changes=account.under_way, mark=mark
        )
        return manifest

    def forget(self, reason: Reason, at_ns: int) -> None:
        """Custody is unknown from now on. Calls under way may still change the file, so they are kept in mind."""
        past = self.account.past
        if self.account.manifest is not None:
            past = self._named() if self._away else self._reported()
            self.gaps = widened(self.gaps, Gap(at_ns, 0, reason))
        self.account = self.account.lost(past)

    @property
    def _away(self) -> bool:
        """When it was read last there was no file, and whoever has written since found one that nobody said it made."""
        head = self.account.head
        if head is None or head.exists:
            return False
        return all(change.before is not None and change.before.exists for change in self.account.changes)

    def _reported(self) -> Manifest | None:
        """The bytes as the reports have them; None where they are not known."""
        manifest = self.account.manifest
        return manifest and (project(manifest, self.account.changes) or manifest)

    def _named(self) -> Manifest:
        """Who wrote what was there last: all that this says is who wrote what still is."""
        manifest = self.account.manifest
        return (self.account.past if manifest is None or self._away else manifest) or Manifest()

    def recall(self, kept: KeptChain, reason: Reason) -> None:
        """What was known of this file before is known again, but for the time since it was watched last."""
        self.since_ns = kept.since_ns
        self.session = self.session or kept.session
        if self.account.manifest is None:
            self.account = replace(self.account, past=kept.manifest)
            self.gaps = widened(kept.gaps, Gap(kept.watched_ns, 0, reason))

    def kept(self, file: str, at_ns: int) -> KeptChain:
        """The chain up to the head, or what is left of it where custody was lost."""
        known = self.account.manifest or self.account.past
        since_ns = self.since_ns or at_ns
        return KeptChain(
            file=file, session=self.session, manifest=known, since_ns=since_ns, watched_ns=at_ns, gaps=self.gaps
        )

    def saved(self, file: str, at_ns: int) -> KeptChain:
        """The chain with all that is settled by the reports alone, to be kept."""
        self.unsaved = False
        kept = self.kept(file, at_ns)
        account = self.account
        projected = None if account.manifest is None else project(account.manifest, account.changes)
        return kept if projected is None else replace(kept, manifest=projected)

    def abandon(self, link: str, at_ns: int) -> None:
        """A link is gone; what its calls under way have done will never be known."""
        self._give_up(self.account.calls_of(link), at_ns)

    def expire(self, at_ns: int) -> None:
        """Calls that should have returned long ago have, and the report of it was lost."""
        self._give_up(tuple(c for c in self.account.under_way if at_ns - c.at_ns > CALL_NS), at_ns)

    def _give_up(self, calls: tuple[Change, ...], at_ns: int) -> None:
        if calls:
            self.forget(_UNHEARD, at_ns)
            self.account = self.account.abandoned(calls)

    def _touch(self, at_ns: int) -> None:
        self.touched_ns = max(self.touched_ns, at_ns)
        self.since_ns = self.since_ns or at_ns
        self.unsaved = True

    def _fold(self, at_ns: int) -> None:
        """A file on which no run sets a fence must not take more and more room."""
        changes = self.account.changes
        settled = changes[len(changes) // 2].after
        if settled is None or self.advance(settled) is None:
            self.forget(_TOO_MANY, at_ns)
            self.account = replace(self.account, changes=self.account.changes[-MAX_CHANGES // 2 :])

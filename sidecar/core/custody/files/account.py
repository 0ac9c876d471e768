"""The account of one session file: what it held at a trusted moment, and what was reported of it since.

A `Ledger` keeps one from fence to fence, a `Window` one from its own fence on; what a fence has left behind is one, as
well. What windows ask of it is `sidecar.core.custody.account.Account`.
"""

from __future__ import annotations

from collections.abc import Container

from sidecar.core.custody.files.chain import graded
from sidecar.core.custody.files.examine import examine
from sidecar.core.custody.files.manifest import Manifest
from sidecar.core.custody.files.ordering import laid_out
from sidecar.core.custody.files.projection import chained, project
from sidecar.core.custody.finding import Finding
from sidecar.core.custody.kernel_evidence import NO_KERNEL_EVIDENCE, KernelEvidence, Mark
from sidecar.core.facts.change import Change, Operation
from sidecar.core.facts.content import Snapshot
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.reasons import Reason
from sidecar.core.facts.value import Value, replace


class FileAccount(Value, frozen=True, tag="file"):
    """All that a verdict on a session file can rest on, but for the file itself.

    Attributes:
        manifest: The bytes at ``head``; None while they are not known.
        head: The fingerprint at which the manifest was true; None while there is none.
        uid: Owner at the head; -1 when not known.
        changes: Reported since ``head``, in the order of their reports.
        mark: Where the head was set between the kernel's sightings; None where that is not known.
        broken: Why nothing may be concluded from what is missing in it; None while it is whole.
        past: The bytes when custody was lost, or when a sidecar knew them last; None when they never were known. Says
            who wrote what is still there of them, and proves nothing else.
    """

    manifest: Manifest | None = None
    head: Fingerprint | None = None
    uid: int = -1
    changes: tuple[Change, ...] = ()
    mark: Mark | None = None
    broken: Reason | None = None
    past: Manifest | None = None

    @property
    def known(self) -> bool:
        """The bytes at the head are known."""
        return self.manifest is not None

    @property
    def at_head(self) -> FileAccount:
        """What is known of the head alone, without the reports."""
        return replace(self, changes=(), past=None)

    @property
    def under_way(self) -> tuple[Change, ...]:
        """Calls that have not returned: they may have written, or write yet."""
        return tuple(change for change in self.changes if not change.finished)

    def reported(self, change: Change, link: str = "") -> tuple[FileAccount, bool | None]:
        """With one more report, unless it is about something that the head has left behind.

        Reports of one link come in the order of the calls. Another link's may come after word of the head that they led
        to, and so may the end of a call whose begin was not reported: there the fingerprints around the call decide.

        Args:
            change: The report.
            link: The link that reported the head; empty where it was read or comes from elsewhere.

        Returns:
            The account, and whether the change came after the head; None where that can't be told.
        """
        own = bool(link) and change.link == link
        begun = own and any(_is_same(change, known) for known in self.changes)
        after: bool | None = True
        if self.head is not None and change.finished and not begun:
            after = change.came_after(self.head, self.changes, ordered=own and change.began == change.ended)
        changes = self._without(change) if after is False else self._with(change)
        return replace(self, changes=changes), after

    def _with(self, change: Change) -> tuple[Change, ...]:
        """The end of a call takes the place of its begin."""
        if change.began != change.ended:  # else its only report, for which there is no begin to look for
            for index, known in enumerate(self.changes):
                if _is_same(change, known):
                    return (*self.changes[:index], change, *self.changes[index + 1 :])
        return self.changes + (change,)  # noqa: RUF005 - copies them once, not twice

    def _without(self, change: Change) -> tuple[Change, ...]:
        return tuple(known for known in self.changes if not _is_same(change, known))

    def calls_of(self, link: str) -> tuple[Change, ...]:
        """Calls under way that this link has announced."""
        return tuple(change for change in self.under_way if change.link == link)

    def abandoned(self, calls: Container[Change]) -> FileAccount:
        """Without these: what they have done will never be known."""
        return replace(self, changes=tuple(change for change in self.changes if change not in calls))

    @property
    def at_rest(self) -> bool:
        """No call can have changed the transcript since the head.

        Calls under way have not begun to write, and an append that has returned is what led to the head.
        """
        return all(self._led_here(c) if c.finished else c.before == self.head for c in self.changes)

    def _led_here(self, call: Change) -> bool:
        """This append grew the transcript to what it was at the head, at which it still is."""
        before, head = call.before, self.head
        grown = before is not None and head is not None and before.size < head.size
        return call.operation is Operation.APPEND and grown and call.after == head

    def owned(self, reading: Snapshot) -> FileAccount:
        """The file was read. If it still is as at the head, so is its owner: a change of it shows in the ctime."""
        known = self.uid >= 0 or reading.fingerprint != self.head
        return self if known else replace(self, uid=reading.uid)

    def doubted(self, reason: Reason) -> FileAccount:
        """With a reason why nothing may be concluded from what is missing in it."""
        return replace(self, broken=reason)

    def with_contents_of(self, other: FileAccount) -> FileAccount:
        """Whole, with what another account of the same head knows of the bytes and their owner."""
        return replace(self, manifest=other.manifest, uid=other.uid, broken=None)

    def span_to(self, reading: Snapshot) -> str:
        """Empty: nobody can set a file's ctime, so a fingerprint tells one state."""
        del reading
        return ""

    def examined(
        self, reading: Snapshot, kernel_evidence: KernelEvidence = NO_KERNEL_EVIDENCE, gateway_uid: int = -1
    ) -> Finding:
        """Hold the file against the account; see `sidecar.core.custody.files.examine.examine`."""
        return examine(self, self.manifest, reading, kernel_evidence, gateway_uid)

    def in_order(self) -> FileAccount:
        """The changes in the order in which each found the transcript as the one ahead of it had left it."""
        return self if self.head is None else replace(self, changes=tuple(chained(self.head, self.changes)))

    def advanced(self, fence: Fingerprint, kernel_evidence: KernelEvidence) -> FileAccount | None:
        """The account with its head at a fence.

        Args:
            fence: As a run recorded it.
            kernel_evidence: What the kernel says of the time since the head was set.

        Returns:
            None where the chain of fingerprints is broken and the calls did not just come in one another's midst: then
            the file must be read.
        """
        if not fence.exists and not self.changes:
            # No file holds no bytes, whatever was known before.
            return replace(self, manifest=Manifest(), head=fence)
        if self.manifest is None or self.head is None:
            return None
        changes, reached = self.changes, self._reach(fence)
        if reached is None:
            laid = laid_out(self.head, changes, fence)
            if laid is None:
                return None
            changes, reached = tuple(laid), len(laid)
        projected = project(self.manifest, changes[:reached])
        if projected is None or projected.size != fence.size:
            return None
        manifest = graded(projected, self.manifest, kernel_evidence)
        return replace(self, manifest=manifest, head=fence, changes=changes[reached:])

    def unread(self, fence: Fingerprint, why: Reason) -> FileAccount:
        """An account that begins at a fence where nobody knows the bytes, with the calls that are under way."""
        return replace(self, manifest=None, head=fence, changes=self.under_way, broken=why)

    def lost(self, past: Manifest | None) -> FileAccount:
        """Nothing is known any more but the calls that are under way: these may still change the transcript."""
        return FileAccount(uid=self.uid, changes=self.under_way, past=past)

    def recorded(self) -> FileAccount:
        """As recordings keep it: the names of earlier writers have no part in a verdict, and marks are of one life."""
        manifest = self.manifest and self.manifest.without_writers()
        return replace(self, manifest=manifest, mark=None, past=self.past and self.past.without_writers())

    def _reach(self, fence: Fingerprint) -> int | None:
        """How many of the changes lead to the fence; None if they don't.

        Those behind were made after it: a gateway reads its fence without blocking, so a call of its own may be
        reported between the reading and the word of it, and another link may have told of later calls already. That
        can't be told of a fence without a file.
        """
        here = self.head
        reached = 0 if here == fence else None
        for count, change in enumerate(self.changes, start=1):
            if not change.finished or change.before != here:
                break
            here = change.after
            if here == fence:
                reached = count
        states = {fence}
        for change in self.changes[reached:]:
            before = change.before
            if before is None or not fence.exists:
                return None
            if before not in states and before.ctime_ns <= fence.ctime_ns:
                return None
            states.add(change.after or before)
        return reached


def _is_same(one: Change, other: Change) -> bool:
    """Begin and end of one call."""
    return one.change_id == other.change_id and one.link == other.link

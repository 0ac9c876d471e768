"""What is known of one session file between windows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sidecar.core.chain import Gap, KeptChain, closed, graded, widened
from sidecar.core.content import Manifest
from sidecar.core.custody import explain
from sidecar.core.overlap import laid_out
from sidecar.core.projection import chained, project
from sidecar.core.reasons import Reason, ReasonCode
from sidecar.core.testimony import NO_TESTIMONY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.core.change import Change
    from sidecar.core.content import Range, Snapshot
    from sidecar.core.fingerprint import Fingerprint
    from sidecar.core.testimony import Mark, Testimony

CALL_NS: Final = 60 * 1_000_000_000
"""No call takes so long."""

MAX_CHANGES: Final = 512
"""Reports that are kept apart; beyond it, the older half goes into the manifest."""

_UNHEARD: Final = Reason(ReasonCode.WRITE_NEVER_RETURNED)
_TOO_MANY: Final = Reason(ReasonCode.TOO_MANY_REPORTS)


@dataclass(frozen=True, slots=True)
class Account:
    """What a `Ledger` knows at one moment, as a value: all that verdicts rest on, and nothing of who wrote before.

    Attributes:
        manifest: The bytes at ``head``, without writers; None while custody is unknown.
        head: The fingerprint at which the manifest was true.
        uid: Owner at the last reading; -1 when not known.
        changes: Reported since ``head``.
        past: The bytes when custody was lost, as `Ledger` has them: a reading is compared with them.
    """

    manifest: Manifest | None
    head: Fingerprint | None
    uid: int
    changes: tuple[Change, ...]
    past: Manifest | None = None


@dataclass(slots=True)
class Ledger:
    """The running account of one file: a trusted state and the changes reported since.

    Attributes:
        manifest: The bytes at ``head``; None while custody is unknown.
        past: The bytes when custody was lost, or when a sidecar knew them last; None when they never were known. Says
            who wrote what is still there of them, and proves nothing else.
        head: The fingerprint at which the manifest was true.
        uid: Owner at the last reading; -1 when not known.
        changes: Reported since ``head``, in the order of their reports.
        session: Hash of the session key, as far as a run told it.
        since_ns: When the chain begins; 0 before.
        gaps: Times without custody, oldest first.
        touched_ns: When it was spoken of last.
        unsaved: It has changed since it was kept last.
        asked: What was kept of it has been asked for.
        strange: What of the bytes at ``head`` is a stranger's and in no run's fence yet: `verify` tells of it.
        mark: Where the head was set between the kernel's sightings; None where that is not known.
    """

    manifest: Manifest | None = None
    past: Manifest | None = None
    head: Fingerprint | None = None
    uid: int = -1
    changes: list[Change] = field(default_factory=list)
    session: str = ""
    since_ns: int = 0
    gaps: tuple[Gap, ...] = ()
    touched_ns: int = 0
    unsaved: bool = False
    asked: bool = False
    strange: tuple[Range, ...] = ()
    mark: Mark | None = None

    @classmethod
    def of(cls, account: Account) -> Ledger:
        """A ledger that knows this much."""
        return cls(account.manifest, account.past, account.head, account.uid, list(account.changes))

    def account(self) -> Account:
        """What is known now. Recordings keep it, and the names of earlier writers have no part in a verdict."""
        manifest = self.manifest and self.manifest.without_writers()
        past = self.past and self.past.without_writers()
        return Account(manifest, self.head, self.uid, tuple(self.changes), past)

    def report(self, change: Change) -> None:
        """Take in a report, unless it is a late one of what the head has left behind."""
        self._touch(change.at_ns)
        if self.manifest is None and change.before is not None and not change.before.exists:
            # The file is born in this call, so all of its history is known, be it told by several links in any order.
            self.manifest, self.head = Manifest(), change.before
            self.gaps = closed(self.gaps, change.at_ns)
        if self.head is not None and change.finished and change.came_after(self.head, self.changes) is False:
            remove(self.changes, change)
        else:
            replace_or_append(self.changes, change)
        if len(self.changes) > MAX_CHANGES:
            self._fold(change.at_ns)

    def has_word_of(self, state: Fingerprint) -> bool:
        """A process that speaks for itself said that it has left the file so."""
        return state == self.head or any(change.after == state for change in self.changes)

    def advance(self, fence: Fingerprint, testimony: Testimony = NO_TESTIMONY) -> Manifest | None:
        """Move the head to a fence if the reports lead there without a gap.

        Args:
            fence: As a run recorded it.
            testimony: What the kernel says of the time since the head was set.

        Returns:
            The bytes at the fence, or None where the chain of fingerprints is broken and the calls did not just come
            in one another's midst: then the file must be read.
        """
        if not fence.exists and not self.changes:
            # No file holds no bytes, whatever was known before.
            self.manifest, self.head, self.strange = Manifest(), fence, ()
            self.unsaved = True
            return self.manifest
        if self.head is not None:
            self.changes = chained(self.head, self.changes)
        reached = self._reach(fence)
        if reached is None and self.head is not None:
            laid = laid_out(self.head, self.changes, fence)
            if laid is not None:
                self.changes, reached = laid, len(laid)
        if self.manifest is None or reached is None:
            return None
        projected = project(self.manifest, self.changes[:reached])
        if projected is None or projected.size != fence.size:
            return None
        projected = graded(projected, self.manifest, testimony)
        self.manifest, self.head, self.strange = projected, fence, ()
        del self.changes[:reached]
        self.unsaved = self.unsaved or bool(reached)
        return projected

    def may_take(self, snapshot: Snapshot, fences: Iterable[Fingerprint]) -> bool:
        """A reading that did not wait for reports takes nothing away from them.

        Where the file has moved on from the fence that it was read for, the account would be ahead of reports and
        fences that are still to be heard of, and could not lead to those any more.
        """
        return self.manifest is None or snapshot.fingerprint in fences

    def read(
        self,
        snapshot: Snapshot,
        at_ns: int,
        testimony: Testimony = NO_TESTIMONY,
        strange: Iterable[Range] = (),
        *,
        fenced: bool = True,
    ) -> Manifest | None:
        """Move the head to a file as it was read, keeping the known writers of the parts that are explained.

        Args:
            snapshot: The file.
            at_ns: The time.
            strange: What of it is a stranger's and in no run's fence yet.
            fenced: A run has a window on the file. Else all that is unexplained is in no run's fence yet.
            testimony: What the kernel says of the time since the head was set.

        Returns:
            The bytes as they are; None where they could not be read or belong to no regular file. What was known
            before then stays as it is. Calls under way stay in the account: they may have written, or write yet.
        """
        self.uid = snapshot.uid
        unread = snapshot.fingerprint.exists and (snapshot.content is None or not snapshot.regular)
        if unread:
            return None
        manifest = Manifest()
        if snapshot.content is not None:
            found = explain(self._named(), self.changes, snapshot.content)
            if not fenced and self.manifest is not None:
                strange = (*strange, *found.unexplained)
            manifest = found.manifest if found.unexplained else graded(found.manifest, self.manifest, testimony)
        elif not self._away:
            self.past = self._reported() or self.past
        self._touch(at_ns)
        self.unsaved = self.unsaved or manifest != self.manifest
        self.manifest, self.head, self.gaps = manifest, snapshot.fingerprint, closed(self.gaps, at_ns)
        self.strange = tuple(dict.fromkeys(strange))
        self.changes = [change for change in self.changes if not change.finished]
        return manifest

    def forget(self, reason: Reason, at_ns: int) -> None:
        """Custody is unknown from now on. Calls under way may still change the file, so they are kept in mind."""
        if self.manifest is not None:
            self.past = self._named() if self._away else self._reported()
            self.gaps = widened(self.gaps, Gap(at_ns, 0, reason))
        self.manifest = None
        self.head = None
        self.mark = None
        self.changes = [c for c in self.changes if not c.finished]

    @property
    def _away(self) -> bool:
        """When it was read last there was no file, and whoever has written since found one that nobody said it made."""
        if self.head is None or self.head.exists:
            return False
        return all(change.before is not None and change.before.exists for change in self.changes)

    def _reported(self) -> Manifest | None:
        """The bytes as the reports have them; None where they are not known."""
        return self.manifest and (project(self.manifest, self.changes) or self.manifest)

    def _named(self) -> Manifest:
        """Who wrote what was there last: all that this says is who wrote what still is."""
        return (self.past if self.manifest is None or self._away else self.manifest) or Manifest()

    def recall(self, kept: KeptChain, reason: Reason) -> None:
        """What was known of this file before is known again, but for the time since it was watched last."""
        self.since_ns = kept.since_ns
        self.session = self.session or kept.session
        if self.manifest is None:
            self.past = kept.manifest
            self.gaps = widened(kept.gaps, Gap(kept.watched_ns, 0, reason))

    def kept(self, file: str, at_ns: int) -> KeptChain:
        """The chain up to the head, or what is left of it where custody was lost."""
        known = self.past if self.manifest is None else self.manifest
        since_ns = self.since_ns or at_ns
        return KeptChain(
            file=file, session=self.session, manifest=known, since_ns=since_ns, watched_ns=at_ns, gaps=self.gaps
        )

    def saved(self, file: str, at_ns: int) -> KeptChain:
        """The chain with all that is settled by the reports alone, to be kept."""
        self.unsaved = False
        kept = self.kept(file, at_ns)
        projected = None if self.manifest is None else project(self.manifest, self.changes)
        return kept if projected is None else replace(kept, manifest=projected)

    def abandon(self, link: str, at_ns: int) -> None:
        """A link is gone; what its calls under way have done will never be known."""
        self._give_up([c for c in self.changes if c.link == link and not c.finished], at_ns)

    def expire(self, at_ns: int) -> None:
        """Calls that should have returned long ago have, and the report of it was lost."""
        self._give_up([c for c in self.changes if not c.finished and at_ns - c.at_ns > CALL_NS], at_ns)

    def _give_up(self, calls: list[Change], at_ns: int) -> None:
        if calls:
            self.forget(_UNHEARD, at_ns)
            self.changes = [c for c in self.changes if c not in calls]

    def _touch(self, at_ns: int) -> None:
        self.touched_ns = max(self.touched_ns, at_ns)
        self.since_ns = self.since_ns or at_ns
        self.unsaved = True

    def _fold(self, at_ns: int) -> None:
        """A file on which no run sets a fence must not take more and more room."""
        settled = self.changes[len(self.changes) // 2].after
        if settled is None or self.advance(settled) is None:
            self.forget(_TOO_MANY, at_ns)
            self.changes = self.changes[-MAX_CHANGES // 2 :]

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


def replace_or_append(changes: list[Change], change: Change) -> None:
    """Put the end of a call in the place of its begin, or add what is new."""
    if change.began != change.ended:  # else its only report, for which there is no begin to look for
        for index, known in enumerate(changes):
            if known.change_id == change.change_id and known.link == change.link:
                changes[index] = change
                return
    changes.append(change)


def remove(changes: list[Change], change: Change) -> None:
    """Forget the begin of a call, if it is there."""
    changes[:] = [c for c in changes if (c.change_id, c.link) != (change.change_id, change.link)]

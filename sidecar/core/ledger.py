"""What is known of one session file between windows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sidecar.core.content import Manifest
from sidecar.core.custody import explain
from sidecar.core.projection import project

if TYPE_CHECKING:
    from sidecar.core.change import Change
    from sidecar.core.content import Snapshot
    from sidecar.core.fingerprint import Fingerprint

CALL_NS: Final = 60 * 1_000_000_000
"""No call takes so long."""


@dataclass(slots=True)
class ForeignHold:
    """The last process seen to hold the lock without a link of its own."""

    pid: int
    exe: str
    at_ns: int


@dataclass(slots=True)
class Ledger:
    """The running account of one file: a trusted state and the changes reported since.

    Attributes:
        manifest: The bytes at ``head``; None while custody is unknown.
        head: The fingerprint at which the manifest was true.
        uid: Owner at the last reading; -1 when not known.
        changes: Reported since ``head``, in the order of their reports.
        foreign: The last lock holder without a link.
    """

    manifest: Manifest | None = None
    head: Fingerprint | None = None
    uid: int = -1
    changes: list[Change] = field(default_factory=list)
    foreign: ForeignHold | None = None

    def report(self, change: Change) -> None:
        """Take in a report, unless it is a late one of what the head has left behind."""
        if self.manifest is None and not self.changes and change.before is not None and not change.before.exists:
            # The file is born in this call, so all of its history is known.
            self.manifest, self.head = Manifest(), change.before
        if self.head is not None and change.finished and change.came_after(self.head, self.changes) is False:
            remove(self.changes, change)
        else:
            replace_or_append(self.changes, change)

    def advance(self, fence: Fingerprint) -> Manifest | None:
        """Move the head to a fence if the reports lead there without a gap.

        Returns:
            The bytes at the fence, or None where the chain of fingerprints is broken: then the file must be read.
        """
        if not fence.exists and not self.changes:
            # No file holds no bytes, whatever was known before.
            self.manifest, self.head = Manifest(), fence
            return self.manifest
        reached = self._reach(fence)
        if self.manifest is None or reached is None:
            return None
        projected = project(self.manifest, self.changes[:reached])
        if projected is None or projected.size != fence.size:
            return None
        self.manifest, self.head = projected, fence
        del self.changes[:reached]
        return projected

    def read(self, snapshot: Snapshot) -> Manifest | None:
        """Move the head to a file as it was read, keeping the known writers of the parts that are explained.

        Returns:
            The bytes as they are; None where they could not be read or belong to no regular file. What was known
            before then stays as it is. Calls under way stay in the account: they may have written, or write yet.
        """
        self.uid = snapshot.uid
        unread = snapshot.fingerprint.exists and (snapshot.content is None or not snapshot.regular)
        if unread:
            return None
        if snapshot.content is None:
            manifest = Manifest()
        elif self.manifest is None:
            manifest = Manifest.baseline(snapshot.content)
        else:
            manifest = explain(self.manifest, self.changes, snapshot.content).manifest
        self.manifest, self.head = manifest, snapshot.fingerprint
        self.changes = [change for change in self.changes if not change.finished]
        return manifest

    def forget(self) -> None:
        """Custody is unknown from now on. Calls under way may still change the file, so they are kept in mind."""
        self.manifest = None
        self.head = None
        self.changes = [c for c in self.changes if not c.finished]

    def abandon(self, link: str) -> None:
        """A link is gone; what its calls under way have done will never be known."""
        self._give_up([c for c in self.changes if c.link == link and not c.finished])

    def expire(self, at_ns: int) -> None:
        """Calls that should have returned long ago have, and the report of it was lost."""
        self._give_up([c for c in self.changes if not c.finished and at_ns - c.at_ns > CALL_NS])

    def _give_up(self, calls: list[Change]) -> None:
        if calls:
            self.forget()
            self.changes = [c for c in self.changes if c not in calls]

    def _reach(self, fence: Fingerprint) -> int | None:
        """How many of the changes lead to the fence; None if they don't.

        Those behind were made after it: a gateway reads its fence without blocking, so a call of its own may be
        reported between the reading and the word of it. That can't be told of a fence without a file.
        """
        here = self.head
        reached = 0 if here == fence else None
        for count, change in enumerate(self.changes, start=1):
            if not change.finished or change.before != here:
                break
            here = change.after
            if here == fence:
                reached = count
        states = {fence} if fence.exists else set()
        for change in self.changes[reached:]:
            if change.before not in states:
                return None
            states.add(change.after or change.before)
        return reached


def replace_or_append(changes: list[Change], change: Change) -> None:
    """Put the end of a call in the place of its begin, or add what is new."""
    for index, known in enumerate(changes):
        if known.change_id == change.change_id and known.link == change.link:
            changes[index] = change
            return
    changes.append(change)


def remove(changes: list[Change], change: Change) -> None:
    """Forget the begin of a call, if it is there."""
    changes[:] = [c for c in changes if (c.change_id, c.link) != (change.change_id, change.link)]

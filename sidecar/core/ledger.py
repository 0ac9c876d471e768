"""What is known of one session file between windows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sidecar.core.content import Manifest
from sidecar.core.custody import explain, project

if TYPE_CHECKING:
    from sidecar.core.change import Change
    from sidecar.core.content import Snapshot
    from sidecar.core.fingerprint import Fingerprint


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
        """Take in a report; the end of a call replaces its begin."""
        replace_or_append(self.changes, change)

    def advance(self, fence: Fingerprint) -> Manifest | None:
        """Move the head to a fence if the reports lead there without a gap.

        Returns:
            The bytes at the fence, or None where the chain of fingerprints is broken: then the file must be read.
        """
        if self.manifest is None or not self._leads_to(fence):
            return None
        projected = project(self.manifest, self.changes)
        if projected is None or projected.size != fence.size:
            return None
        self._rebase(projected, fence)
        return projected

    def read(self, snapshot: Snapshot) -> Manifest | None:
        """Move the head to a file as it was read, keeping the known writers of the parts that are explained.

        Returns:
            The bytes as they are; None where they could not be read, or a call that is under way makes them uncertain.
        """
        self.uid = snapshot.uid
        under_way = any(not change.finished for change in self.changes)
        if under_way or (snapshot.content is None and snapshot.fingerprint.exists):
            self.forget(keep_under_way=True)
            return None
        if snapshot.content is None:
            manifest = Manifest()
        elif self.manifest is None:
            manifest = Manifest.baseline(snapshot.content)
        else:
            manifest = explain(self.manifest, self.changes, snapshot.content).manifest
        self._rebase(manifest, snapshot.fingerprint)
        return manifest

    def forget(self, *, keep_under_way: bool = False) -> None:
        """Custody is unknown from now on."""
        self.manifest = None
        self.head = None
        self.changes = [c for c in self.changes if keep_under_way and not c.finished]

    def _leads_to(self, fence: Fingerprint) -> bool:
        here = self.head
        for change in self.changes:
            if not change.finished or change.before != here:
                return False
            here = change.after
        return here == fence

    def _rebase(self, manifest: Manifest, head: Fingerprint) -> None:
        self.manifest = manifest
        self.head = head
        self.changes.clear()


def replace_or_append(changes: list[Change], change: Change) -> None:
    """Put the end of a call in the place of its begin, or add what is new."""
    for index, known in enumerate(changes):
        if known.change_id == change.change_id and known.link == change.link:
            changes[index] = change
            return
    changes.append(change)

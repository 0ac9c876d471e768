"""A reported change of a session file: one call that a linked process made on it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.value import Value, replace
from sidecar.core.facts.writer import Writer


class Operation(StrEnum):
    """What a call does to the file."""

    APPEND = "append"
    """Adds bytes at the end."""
    WRITE = "write"
    """Writes bytes at a position; only a write at the end keeps the old ones."""
    REWRITE = "rewrite"
    """Leaves exactly these bytes as the whole file (truncating write, copy or rename onto it)."""
    TRUNCATE = "truncate"
    """Cuts the file to ``length`` bytes."""
    REMOVE = "remove"
    """Deletes the file or moves it away."""
    METADATA = "metadata"
    """Changes times, mode, owner or links; no byte."""


class Change(Value, frozen=True, tag="file"):
    """One reported change.

    Attributes:
        change_id: Unique on its link; begin and end of one call carry the same.
        at_ns: When it was reported, the gateway's clock, nanoseconds since the epoch.
        length: Bytes written (for `Operation.TRUNCATE`: the size that is left).
        sha256: Digest of the bytes written; empty where there are none.
        offset: Where the bytes went as far as the reporter knows; -1 when it does not.
        before: Fingerprint just ahead of the call; None when not taken.
        after: Fingerprint just after it; None while it is under way.
        link: The link that reported it. Order is only known between changes of one link.
        began: Sequence number of the report of the call's begin.
        ended: Sequence number of the report of its end; None while it is under way, and its bytes may or may not be
            in the file.
    """

    change_id: str
    operation: Operation
    writer: Writer
    at_ns: int
    length: int = 0
    sha256: str = ""
    offset: int = -1
    before: Fingerprint | None = None
    after: Fingerprint | None = None
    link: str = ""
    began: int = 0
    ended: int | None = 0

    @property
    def finished(self) -> bool:
        """The call has returned."""
        return self.ended is not None

    @property
    def written(self) -> int:
        """Bytes that it wrote: of a truncation, ``length`` is what is left."""
        return self.length if self.sha256 else 0

    def precedes(self, other: Change) -> bool:
        """This call had returned before the other began, so its bytes come first."""
        return self.link == other.link and self.ended is not None and self.ended < other.began

    def came_after(self, fence: Fingerprint, known: Iterable[Change], *, ordered: bool = False) -> bool | None:
        """Whether this finished call came after the file was at ``fence``; None where that can't be told.

        Args:
            fence: The fingerprint in question.
            known: Calls that did.
            ordered: The report came after word of the fence over the link that told of both, so the call did, too,
                unless its begin was announced before.
        """
        before, after = self.before, self.after
        if fence.exists and after == fence and before != fence:
            return False
        found = before is not None and before.exists and fence.exists  # one absent file is like the other
        if before is not None and found:
            later = before.ctime_ns > fence.ctime_ns or (ordered and before.ctime_ns == fence.ctime_ns)
            if later or before == fence or any(before == c.after for c in known):
                return True
        if not ordered and after is not None and after.exists and after.ctime_ns < fence.ctime_ns:
            return False
        return True if ordered and not found else None

    def finish(self, *, ended: int, length: int, sha256: str, after: Fingerprint | None) -> Change:
        """This change once its call has returned, with what was really written."""
        return replace(self, ended=ended, length=length, sha256=sha256, after=after)

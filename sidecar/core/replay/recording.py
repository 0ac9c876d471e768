"""What led to an incident: the events of its window, with digests in place of bytes.

The core's decisions follow from its events alone, so a window can be judged again anywhere: from what was known when it
opened (told as events, too), and from what happened in it. Of a file that was read, exactly those digests are kept that
the core asked for.
"""

from typing import Final

from msgspec import field

from sidecar.core import events as ev
from sidecar.core.custody.rows.chain import KeptRows
from sidecar.core.errors import SidecarError
from sidecar.core.facts.content import Content, Snapshot
from sidecar.core.facts.rows import RowSnapshot
from sidecar.core.facts.value import Value, replace
from sidecar.core.policy.policy import Mode, Policy

MAX_EVENTS: Final = 2000
"""Events of a window that are kept; one with more can't be replayed."""

MAX_DIGESTS: Final = 50_000
"""Likewise digests."""

Looked = ev.SnapshotTaken | ev.VerdictAsked | ev.LockTimedOut | ev.TurnTripped
"""Events that come with a file's content."""


class NotRecordedError(SidecarError):
    """The core asks for a digest that it did not ask for when the recording was made: it judges otherwise now."""

    def __init__(self, offset: int, length: int) -> None:
        super().__init__(f"bytes {offset}..{offset + length} are asked for, and their digest is not on record")


class RecordedContent(Value, frozen=True):
    """A `sidecar.core.facts.content.Content` of which only some digests are left.

    Attributes:
        size: Length in bytes.
        digests: SHA-256 by ``offset+length``.
    """

    size: int
    digests: dict[str, str] = field(default_factory=dict)

    def digest(self, offset: int, length: int) -> str:
        """The digest of a range.

        Raises:
            NotRecordedError: It is not on record.
        """
        found = self.digests.get(f"{offset}+{length}")
        if found is None:
            raise NotRecordedError(offset, length)
        return found


class HeardContent:
    """Content that remembers what it was asked."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._digests: dict[str, str] = {}

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self._content.size

    def digest(self, offset: int, length: int) -> str:
        """The digest of a range."""
        name = f"{offset}+{length}"
        known = self._digests.get(name)
        if known is None:
            known = self._digests[name] = self._content.digest(offset, length)
        return known

    def recorded(self) -> RecordedContent:
        """What is left of it when the bytes are gone."""
        return RecordedContent(self.size, self._digests)


class Recording(Value, frozen=True):
    """A window, to be judged again.

    Attributes:
        window: Its id, as the incident has it that is brought out again.
        policy: The one in force when it opened.
        mode: Likewise.
        events: What was known when it opened, and what happened then, in order.
        whole: Nothing is missing, neither events nor digests.
    """

    window: str
    policy: Policy
    mode: Mode
    events: tuple[ev.Event, ...]
    whole: bool = True


def listening(event: Looked) -> Looked:
    """The same event with content that remembers."""
    snapshot = event.snapshot
    if isinstance(snapshot, RowSnapshot) or snapshot.content is None:
        return event
    return replace(event, snapshot=_with(snapshot, HeardContent(snapshot.content)))


def sealed(event: Looked | ev.ChainRecalled) -> Looked | ev.ChainRecalled:
    """The same event without the bytes, and without who wrote earlier. Content that was not listened to is left out."""
    if isinstance(event, ev.ChainRecalled):
        chain = event.chain
        if isinstance(chain, KeptRows):
            return replace(event, chain=replace(chain, session="", rows=(), gaps=()))
        manifest = chain.manifest and chain.manifest.without_writers()
        return replace(event, chain=replace(chain, session="", manifest=manifest, gaps=()))
    snapshot = event.snapshot
    if isinstance(snapshot, RowSnapshot) or snapshot.content is None:
        return event
    left = snapshot.content.recorded() if isinstance(snapshot.content, HeardContent) else None
    return replace(event, snapshot=_with(snapshot, left))


def digests_of(event: ev.Event) -> int:
    """How many digests a sealed event holds."""
    if not isinstance(event, Looked):
        return 0
    if isinstance(event.snapshot, RowSnapshot):
        return len(event.snapshot.rows or ())
    content = event.snapshot.content
    return len(content.digests) if isinstance(content, RecordedContent) else 0


def _with(snapshot: Snapshot, content: Content | None) -> Snapshot:
    return replace(snapshot, content=content)

"""Who holds the session locks, by the word of the linked processes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sidecar.core.events import LockTaken

if TYPE_CHECKING:
    from sidecar.core.events import LockReleased
    from sidecar.core.writer import Writer

MAX_FILES: Final = 4_096
MAX_HOLDS: Final = 16
"""Holds that are remembered of one file, the ended ones among them."""


@dataclass(frozen=True, slots=True)
class LockHold:
    """One hold of one lock.

    Attributes:
        link: Who told of it.
        hold: Its id on that link.
        writer: Who holds it.
        since_ns: When it was taken.
        until_ns: When it was given back; None while it is held.
    """

    link: str
    hold: str
    writer: Writer
    since_ns: int
    until_ns: int | None = None


class Locks:
    """The holds of each file, in the order in which they were told. Bounded: the oldest are forgotten."""

    def __init__(self) -> None:
        """No lock is known to be held."""
        self._holds: OrderedDict[str, list[LockHold]] = OrderedDict()

    def taken(self, event: LockTaken) -> None:
        """A hold begins."""
        holds = self._holds.setdefault(event.file, [])
        self._holds.move_to_end(event.file)
        holds.append(LockHold(event.link, event.hold, event.writer, event.at_ns))
        del holds[:-MAX_HOLDS]
        if len(self._holds) > MAX_FILES:
            self._holds.popitem(last=False)

    def released(self, event: LockReleased) -> None:
        """A hold ends."""
        holds = self._holds.get(event.file, [])
        for index, known in enumerate(holds):
            if (known.link, known.hold) == (event.link, event.hold):
                holds[index] = replace(known, until_ns=event.at_ns)

    def recount(self, file: str) -> list[LockTaken]:
        """The holds of a file that have not ended, as they were told."""
        return [
            LockTaken(file=file, hold=h.hold, writer=h.writer, wait_ns=0, at_ns=h.since_ns, link=h.link)
            for h in self._holds.get(file, [])
            if h.until_ns is None
        ]

    def lost(self, link: str) -> None:
        """What this link told of holds is worth nothing any more."""
        for file in list(self._holds):
            self._holds[file] = [h for h in self._holds[file] if h.link != link]
            if not self._holds[file]:
                del self._holds[file]

    def holder(self, file: str, pid: int, since_ns: int) -> LockHold | None:
        """The last known hold of a lock by a process, at any time since then.

        Args:
            file: The session file.
            pid: The process that the lock file names; 0 where there is none any more: then any process.
            since_ns: When the waiting for the lock began.
        """
        held = [
            h
            for h in self._holds.get(file, [])
            if pid in {0, h.writer.pid} and (h.until_ns is None or h.until_ns >= since_ns)
        ]
        return max(held, key=lambda h: (h.until_ns is None, h.since_ns), default=None)

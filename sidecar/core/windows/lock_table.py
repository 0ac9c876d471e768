"""Who holds the session locks: by the reports of linked processes, and for other processes by the lock file.

The one table of this. Timeouts of the lock, incidents, changes without the preload, stale lock files and the preambles
of recordings ask it.
"""

from collections import OrderedDict
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Final

from sidecar.core.events import LockFileGone, LockFileSeen, LockReleased, LockTaken
from sidecar.core.facts.gateway import Gateway
from sidecar.core.facts.value import Value, replace
from sidecar.core.facts.writer import Writer
from sidecar.core.outcomes import Ending, HoldEnded

MAX_LOCKS: Final = 4_096
MAX_HOLDS: Final = 16
"""Holds that are remembered of one file, the ended ones among them."""


class LockHold(Value, frozen=True):
    """One hold of one lock, as a linked process reported it.

    Attributes:
        link: The link that reported it.
        hold: Its id on that link.
        writer: The holder.
        previous: The holder before it; None when not known.
        wait_ns: How long the holder had waited for the lock.
        since_ns: When the lock was acquired.
        until_ns: When it was released; None while it is held.
    """

    link: str
    hold: str
    writer: Writer
    previous: Writer | None
    wait_ns: int
    since_ns: int
    until_ns: int | None = None


class ForeignHold(Value, frozen=True):
    """A process without a link that a lock file named as the holder.

    Attributes:
        pid: Process id, here; of one that can't be seen from here what the lock file says.
        exe: Its executable; empty when not known.
        at_ns: When the lock file was read last with this holder in it.
        until_ns: When the lock file was gone; None while it is there.
        hidden: It lives in a pid namespace that can't be seen from here: who it is, is not known.
    """

    pid: int
    exe: str
    at_ns: int
    until_ns: int | None = None
    hidden: bool = False


@dataclass(slots=True)
class _Lock:
    holds: list[LockHold] = field(default_factory=list)
    last: Writer | None = None
    foreign: ForeignHold | None = None


class LockTable:
    """The holds of each file, in the order of their reports. Bounded: the oldest are forgotten."""

    def __init__(self) -> None:
        self._locks: OrderedDict[str, _Lock] = OrderedDict()

    def taken(self, event: LockTaken) -> None:
        """A linked process acquired a lock."""
        known = self._lock(event.file)
        holds = known.holds
        holds.append(LockHold(event.link, event.hold, event.writer, known.last, event.wait_ns, event.at_ns))
        known.last = event.writer
        del holds[:-MAX_HOLDS]

    def released(self, event: LockReleased) -> HoldEnded:
        """A linked process released a lock; a hold whose beginning was not reported has a length all the same."""
        ended: LockHold | None = None
        known = self._locks.get(event.file)
        holds = known.holds if known is not None else []
        for index, hold in enumerate(holds):
            if hold.until_ns is None and (hold.link, hold.hold) == (event.link, event.hold):
                ended = hold
                holds[index] = replace(hold, until_ns=event.at_ns)
        return HoldEnded(
            file=event.file,
            writer=ended.writer if ended is not None else event.writer,
            previous=ended.previous if ended is not None else None,
            since_ns=ended.since_ns if ended is not None else event.at_ns - event.held_ns,
            wait_ns=ended.wait_ns if ended is not None else None,
            at_ns=event.at_ns,
            held_ns=event.held_ns,
            ending=Ending.ENDED,
        )

    def seen(self, event: LockFileSeen) -> None:
        """A lock file names a process without a link."""
        self._lock(event.file).foreign = ForeignHold(event.pid, event.exe, event.at_ns, hidden=event.hidden)

    def gone(self, event: LockFileGone) -> None:
        """A lock file was removed."""
        known = self._locks.get(event.file)
        if known is not None and known.foreign is not None and known.foreign.until_ns is None:
            known.foreign = replace(known.foreign, until_ns=event.at_ns)

    def linked(self, gateway: Gateway) -> None:
        """This process has a link now and reports its holds itself."""
        for known in self._locks.values():
            foreign = known.foreign
            if foreign is not None and foreign.pid == (gateway.own_pid if foreign.hidden else gateway.visible_pid):
                known.foreign = None

    def lost(self, link: str, ending: Ending, at_ns: int) -> list[HoldEnded]:
        """A link is gone: its reports of holds count no more.

        Returns:
            Its open holds. One that the process has reported on another link meanwhile goes on there.
        """
        ended = []
        for file, known in self._locks.items():
            gone = [h for h in known.holds if h.link == link]
            if gone:
                known.holds = [h for h in known.holds if h.link != link]
                elsewhere = {h.hold for h in known.holds if h.until_ns is None}
                ended += [
                    _broken(file, h, ending, at_ns) for h in gone if h.until_ns is None and h.hold not in elsewhere
                ]
        return ended

    def open_holds(self, at_ns: int) -> list[HoldEnded]:
        """All open holds, as the end of the sidecar cuts them short."""
        return [
            _broken(file, hold, Ending.SIDECAR_STOPPED, at_ns)
            for file, known in self._locks.items()
            for hold in known.holds
            if hold.until_ns is None
        ]

    def last_holder(self, file: str) -> Writer | None:
        """The linked process that acquired this lock last; None when not known."""
        known = self._locks.get(file)
        return known.last if known is not None else None

    def is_held(self, file: str, links: Container[str]) -> bool:
        """One of these links reported a hold of this file that has not ended."""
        known = self._locks.get(file)
        return known is not None and any(h.until_ns is None and h.link in links for h in known.holds)

    def holder(self, file: str, links: Container[str] | None, since_ns: int) -> LockHold | None:
        """The last known hold of a lock by a linked process, at any time since then.

        Args:
            file: The session file.
            links: Those of the process that the lock file names; None where there is none any more: then any process.
            since_ns: When the waiting for the lock began.
        """
        known = self._locks.get(file)
        held = [
            h
            for h in (known.holds if known is not None else ())
            if (links is None or h.link in links) and (h.until_ns is None or h.until_ns >= since_ns)
        ]
        return max(held, key=lambda h: (h.until_ns is None, h.since_ns), default=None)

    def foreign(self, file: str) -> ForeignHold | None:
        """The last process without a link that was seen to hold the lock, whether or not it still does."""
        last = self.last_foreign(file)
        return None if last is None or last.hidden else last

    def last_foreign(self, file: str) -> ForeignHold | None:
        """The same; it may be one that can't be seen from here, of which nothing can be concluded."""
        known = self._locks.get(file)
        return known.foreign if known is not None else None

    def recount(self, file: str) -> list[LockTaken | LockFileSeen | LockFileGone]:
        """The events that lead an empty table to the holds of a file: the open ones, and the last foreign one."""
        known = self._locks.get(file)
        if known is None:
            return []
        events: list[LockTaken | LockFileSeen | LockFileGone] = [
            LockTaken(file=file, hold=h.hold, writer=h.writer, wait_ns=h.wait_ns, at_ns=h.since_ns, link=h.link)
            for h in known.holds
            if h.until_ns is None
        ]
        foreign = known.foreign
        if foreign is not None:
            seen = LockFileSeen(file=file, pid=foreign.pid, exe=foreign.exe, at_ns=foreign.at_ns, hidden=foreign.hidden)
            events.append(seen)
            if foreign.until_ns is not None:
                events.append(LockFileGone(file=file, at_ns=foreign.until_ns))
        return events

    def _lock(self, file: str) -> _Lock:
        known = self._locks.get(file)
        if known is None:
            known = self._locks[file] = _Lock()
            if len(self._locks) > MAX_LOCKS:
                self._locks.popitem(last=False)
        else:
            self._locks.move_to_end(file)
        return known


def _broken(file: str, hold: LockHold, ending: Ending, at_ns: int) -> HoldEnded:
    return HoldEnded(
        file=file,
        writer=hold.writer,
        previous=hold.previous,
        since_ns=hold.since_ns,
        wait_ns=hold.wait_ns,
        at_ns=at_ns,
        held_ns=max(0, at_ns - hold.since_ns),
        ending=ending,
    )

"""Delays "window closed" and "link lost" until the readings of their files that are under way are done.

A look takes a while where other links must be heard, and the link that it is about goes on to be heard meanwhile. What
it says of the end of a window, and that it is gone itself, would otherwise come ahead of what it said before.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass

from sidecar.core import events as ev


@dataclass(frozen=True, slots=True)
class Trip:
    """A stopped turn that is being looked at.

    Attributes:
        look: SyncedReads, and then tells of it.
        unheard: What there is to tell when nothing more can be concluded from a look.
    """

    look: asyncio.Task[None]
    unheard: ev.TurnTripped


class WindowEnds:
    """Tells of the ends of windows and links, each in its turn."""

    def __init__(
        self, tell: Callable[[ev.Event], None], spawn: Callable[[Coroutine[None, None, None]], asyncio.Task[None]]
    ) -> None:
        self._tell = tell
        self._spawn = spawn
        self._trips: dict[str, Trip] = {}
        self._held: dict[str, ev.FenceClosed] = {}
        self._closings: dict[str, asyncio.Task[None]] = {}

    @property
    def held(self) -> set[str]:
        """The windows of which it is not told yet that they are over."""
        return set(self._held)

    def tripped(self, trip: Trip) -> None:
        """A look at a stopped turn begins."""
        window = trip.unheard.window
        self._trips[window] = trip

        def done(_look: asyncio.Task[None]) -> None:
            if self._trips.get(window) is trip:
                del self._trips[window]

        trip.look.add_done_callback(done)

    def closed(self, event: ev.FenceClosed, looks: set[asyncio.Task[None]]) -> None:
        """A window is over. ``looks`` are those at its file that are under way."""
        trip = self._trips.get(event.window)
        before = looks if trip is None else {*looks, trip.look}
        if not before:
            self._tell(event)
            return
        self._held[event.window] = event
        self._closings[event.window] = self._spawn(self._close(event.window, before))

    def lost(self, event: ev.LinkLost, windows: Iterable[str], looks: set[asyncio.Task[None]]) -> None:
        """A link is gone. ``windows`` are those that it has left open, ``looks`` those at their files.

        After a goodbye all that it did has been said, and the looks go on. Without one nothing that they show would
        prove anything (rule 5), and others must not go on in the belief that all is known.
        """
        trips = [trip for trip in self._trips.values() if trip.unheard.link == event.link]
        ending = {*windows, *(trip.unheard.window for trip in trips)}
        if event.clean:
            closings = {self._closings[w] for w in ending if w in self._closings}
            before = {task for task in (*looks, *closings, *(trip.look for trip in trips)) if not task.done()}
            if before:
                _ = self._spawn(self._lose(event, before))
                return
        for trip in trips:
            if not trip.look.done():
                trip.look.cancel()
                self._tell(trip.unheard)
        for window in ending:
            self._release(window)
        self._tell(event)

    async def _close(self, window: str, before: set[asyncio.Task[None]]) -> None:
        await asyncio.wait(before)
        if self._closings.get(window) is asyncio.current_task():  # else it was told again since, after a trip
            self._release(window)

    async def _lose(self, event: ev.LinkLost, before: set[asyncio.Task[None]]) -> None:
        await asyncio.wait(before)
        self._tell(event)

    def _release(self, window: str) -> None:
        """Tell of a window's end, if that was held back."""
        self._closings.pop(window, None)
        held = self._held.pop(window, None)
        if held is not None:
            self._tell(held)

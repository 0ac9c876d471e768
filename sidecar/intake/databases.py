"""Changes of databases to core events, for the databases that linked gateways keep transcripts in."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sidecar.core import events as ev
from sidecar.core.facts.rows import is_of_rows, place_of
from sidecar.driver.driver import Driver
from sidecar.watch.database.directory import DatabaseWatch

LOOK_SECONDS: Final = 0.05
"""From one look at the counter of commits to the next, while a run has a window in a database: some microseconds."""


class DatabaseIntake:
    """Has databases watched, and tells the driver of their changes.

    Attributes:
        watch: The watch, to be started and stopped.
    """

    def __init__(
        self,
        driver: Driver,
        now_ns: Callable[[], int],
        touched: Callable[[], None],
        watched: Callable[[Path], None],
    ) -> None:
        """No database is known.

        Args:
            driver: Is told of changes.
            now_ns: The clock.
            touched: Is called at once when somebody opens or changes one.
            watched: Is told the directory of one that is watched from now on.
        """
        self._driver = driver
        self._now_ns = now_ns
        self._watched = watched
        self._told: dict[str, bytes] = {}
        self._next: asyncio.TimerHandle | None = None
        self.watch = DatabaseWatch(self._written, touched)

    def spoken_of(self, transcript: str) -> None:
        """A run has a fence on a transcript: where that is in a database, this one is watched from now on."""
        if not is_of_rows(transcript):
            return
        if self.watch.add(place_of(transcript)):
            self._watched(Path(transcript).parent)
        if self._next is None:
            self._next = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def stop(self) -> None:
        """Watch and look no more."""
        self.watch.stop()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _look(self) -> None:
        """A commit is seen when it is told by the kernel, and here: its file may have been written to long before."""
        fenced = self._driver.fenced_databases()
        for database in fenced:
            state = self._driver.state(database)
            if state and state != self._told.get(database):
                self._changed(database, state)
        self._told = {database: state for database, state in self._told.items() if database in fenced}
        self._next = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look) if fenced else None

    def _written(self, database: str) -> None:
        state = self._driver.state(database)
        if not state or state != self._told.get(database):
            self._changed(database, state)

    def _changed(self, database: str, state: bytes) -> None:
        self._told[database] = state
        self._driver.handle(ev.DatabaseChanged(database=database, at_ns=self._now_ns()))

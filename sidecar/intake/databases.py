"""Changes of databases to core events, for the databases that linked gateways keep transcripts in."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from sidecar.core import events as ev
from sidecar.core.facts.rows import is_of_rows, place_of
from sidecar.driver.commits import Commits
from sidecar.watch.database.directory import DatabaseWatch

LOOK_SECONDS: Final = 0.05
"""From one look at the counter of commits to the next, while a run has a window in a database: some microseconds."""

DEAR_SECONDS: Final = 0.01
"""A look that took longer is followed by a pause."""

SPACING: Final = 20
"""The pause is so many times as long as the look, where a database is written to all the time."""

LONGEST_PAUSE_SECONDS: Final = 2.0

GRACE_SECONDS: Final = 0.05
"""So soon after a commit its gateway has told of it."""


@dataclass(frozen=True, slots=True)
class _Told:
    """When the driver was told of a change last, and what was known of the commits then."""

    commits: Commits
    at: float


class Looks(Protocol):
    """Who looks at databases: `sidecar.driver.driver.Driver`."""

    def handle(self, event: ev.Event) -> None:
        """A database was changed."""

    def is_fenced(self, file: str) -> bool:
        """A window is open on this transcript."""

    def fenced_databases(self) -> set[str]:
        """The databases with a transcript that a window is open on."""

    def commits(self, database: str) -> Commits:
        """What is known of the commits to a database."""


class DatabaseIntake:
    """Has databases watched, and tells the driver of their changes.

    Attributes:
        watch: The watch, to be started and stopped.
    """

    def __init__(
        self,
        driver: Looks,
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
        self._told: dict[str, _Told] = {}
        self._waiting: dict[str, asyncio.TimerHandle] = {}
        self._next: asyncio.TimerHandle | None = None
        self.watch = DatabaseWatch(self._written, touched)

    def spoken_of(self, transcript: str) -> None:
        """A run has a fence on a transcript: where that is in a database, this one is watched from now on.

        To be told ahead of the driver. The last commit may have been looked at before this window was heard of: a first
        fence has the database looked at once more.
        """
        if not is_of_rows(transcript):
            return
        if not self._driver.is_fenced(transcript):
            self._told.pop(place_of(transcript), None)
        if self.watch.add(place_of(transcript)):
            self._watched(Path(transcript).parent)
        if self._next is None:
            self._next = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def stop(self) -> None:
        """Watch and look no more."""
        self.watch.stop()
        for timer in (self._next, *self._waiting.values()):
            if timer is not None:
                timer.cancel()
        self._next = None
        self._waiting.clear()

    def _look(self) -> None:
        """A commit is seen when it is told by the kernel, and here: its file may have been written to long before."""
        fenced = self._driver.fenced_databases()
        for database in fenced:
            commits = self._driver.commits(database)
            if commits.state:  # else only the kernel tells
                self._noticed(database, commits)
        self._told = {database: told for database, told in self._told.items() if database in fenced}
        self._next = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look) if fenced else None

    def _written(self, database: str) -> None:
        self._noticed(database, self._driver.commits(database))

    def _noticed(self, database: str, commits: Commits) -> None:
        """Tell of a commit at once, unless one was told just now, and to look again is dear."""
        told, loop = self._told.get(database), asyncio.get_running_loop()
        if told is None or not commits.state:
            self._tell(database)
        elif commits.state == told.commits.state:
            return
        elif loop.time() >= told.at + _pause(commits.reading_seconds):
            self._tell(database)
        elif database not in self._waiting:
            self._waiting[database] = loop.call_later(GRACE_SECONDS, self._decide, database, commits)

    def _decide(self, database: str, commits: Commits) -> None:
        """A stranger's commit waits for no pause: it is one for as long as gateways have told of fewer than there were.

        Any other is looked at when the pause is over.
        """
        del self._waiting[database]
        told = self._told.get(database)
        if told is None or commits.unaccounted(told.commits, self._driver.commits(database).told):
            self._tell(database)

    def _tell(self, database: str) -> None:
        waiting = self._waiting.pop(database, None)
        if waiting is not None:
            waiting.cancel()
        self._told[database] = _Told(self._driver.commits(database), asyncio.get_running_loop().time())
        self._driver.handle(ev.DatabaseChanged(database=database, at_ns=self._now_ns()))


def _pause(reading_seconds: float) -> float:
    return min(SPACING * reading_seconds, LONGEST_PAUSE_SECONDS) if reading_seconds > DEAR_SECONDS else 0.0

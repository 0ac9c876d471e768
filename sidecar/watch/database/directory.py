"""The inotify side of databases: which of those that gateways write to were changed, by whomever."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
from inotify_simple import INotify, flags

from sidecar.watch.database.place import SUFFIXES

SETTLE_SECONDS: Final = 0.02
"""A burst of events on one database is told once, so long after its first."""

_CHANGED: Final = flags.MODIFY | flags.CREATE | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO | flags.CLOSE_WRITE
_MASK: Final = _CHANGED | flags.OPEN | flags.ONLYDIR

log = structlog.get_logger("sidecar.watch")


class DatabaseWatch:
    """Watches the directories of databases. A commit writes to ``-wal``, or to the database itself."""

    def __init__(
        self, changed: Callable[[str], None], touched: Callable[[], None] = lambda: None, mask: int = _MASK
    ) -> None:
        """Nothing is watched yet.

        Args:
            changed: Is told the path of a database that was changed.
            touched: Is called at once when somebody opens or changes one, while who it is can still be seen.
            mask: The events that are wanted.
        """
        self._changed = changed
        self._touched_now = touched
        self._mask = mask
        self._inotify: INotify | None = None
        self._databases: dict[int, set[str]] = {}
        self._directories: dict[str, int] = {}
        self._due: dict[str, asyncio.TimerHandle] = {}

    def start(self) -> None:
        """Listen to the kernel's queue."""
        self._inotify = INotify()
        asyncio.get_running_loop().add_reader(self._inotify.fileno(), self.drain)

    def stop(self) -> None:
        """Watch nothing any more."""
        for timer in self._due.values():
            timer.cancel()
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.fileno())
            self._inotify.close()
            self._inotify = None

    def add(self, database: str) -> bool:
        """Watch this database from now on. False where its directory is watched already, or can't be."""
        path = Path(database)
        directory = str(path.parent)
        known = self._directories.get(directory)
        if known is not None:
            self._databases[known].add(path.name)
            return False
        if self._inotify is None:
            return False
        try:
            watched = self._inotify.add_watch(directory, self._mask)
        except OSError as error:
            log.warning("database_not_watched", database=database, error=error.strerror or str(error))
            return False
        self._directories[directory] = watched
        self._databases.setdefault(watched, set()).add(path.name)
        return True

    @property
    def databases(self) -> list[str]:
        """Those that are watched."""
        return [f"{path}/{name}" for path, watched in self._directories.items() for name in self._databases[watched]]

    def drain(self) -> None:
        """Take in what the kernel has to say so far."""
        if self._inotify is None:
            return
        touched = False
        with contextlib.suppress(BlockingIOError):
            for event in self._inotify.read(timeout=0):
                if event.mask & flags.Q_OVERFLOW:
                    self._all()
                elif event.mask & flags.IGNORED:
                    self._forget(event.wd)
                elif database := self._database_of(event.wd, event.name):
                    touched = True
                    if event.mask & _CHANGED:
                        self._soon(database)
        if touched:
            self._touched_now()

    def _database_of(self, watched: int, name: str) -> str:
        for suffix in SUFFIXES:
            database = name.removesuffix(suffix)
            if name.endswith(suffix) and database in self._databases.get(watched, ()):
                directory = next(path for path, number in self._directories.items() if number == watched)
                return f"{directory}/{database}"
        return ""

    def _soon(self, database: str) -> None:
        if database not in self._due:
            loop = asyncio.get_running_loop()
            self._due[database] = loop.call_later(SETTLE_SECONDS, self._tell, database)

    def _tell(self, database: str) -> None:
        del self._due[database]
        self._changed(database)

    def _all(self) -> None:
        for database in self.databases:
            self._soon(database)

    def _forget(self, watched: int) -> None:
        """The directory is gone. Whoever speaks of a database in it again has it watched again."""
        self._directories = {path: number for path, number in self._directories.items() if number != watched}
        self._databases.pop(watched, None)

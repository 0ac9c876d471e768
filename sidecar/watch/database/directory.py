"""The inotify side of databases: which of those that gateways write to were changed, by whomever."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
from inotify_simple import Event, INotify, flags

from sidecar.watch.database.place import SUFFIXES

SETTLE_SECONDS: Final = 0.02
"""A burst of events on one database is told once, so long after its first."""

PAUSE_SECONDS: Final = 0.02
"""So long nothing is read of writes once there were some.

One commit of a gateway writes tens of pages, and each would wake a reader that waits: the writer pays for that, while
it holds the lock of its database. The kernel makes one event of all writes that nobody reads.
"""

_CHANGED: Final = flags.MODIFY | flags.CREATE | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO | flags.CLOSE_WRITE
_MASK: Final = _CHANGED | flags.OPEN

log = structlog.get_logger("sidecar.watch")


class _Queue:
    """One queue of the kernel's, on the directories of databases."""

    def __init__(
        self, take: Callable[[Event, str], bool], done: Callable[[], None], mask: int, pause: float = 0
    ) -> None:
        """Nothing is watched yet.

        Args:
            take: Is told each event, and the directory that it is of; empty where it is of none that is watched. True
                where it is of a database.
            done: Is called after events of which one was of a database.
            mask: The events that are wanted.
            pause: How long nothing is read after something was, in seconds.
        """
        self._take = take
        self._done = done
        self._mask = mask
        self._pause = pause
        self._inotify = INotify()
        self._directories: dict[int, str] = {}
        self._paused: asyncio.TimerHandle | None = None
        self._listen()

    def close(self) -> None:
        """Watch nothing any more."""
        if self._paused is not None:
            self._paused.cancel()
        asyncio.get_running_loop().remove_reader(self._inotify.fileno())
        self._inotify.close()

    def add(self, directory: str) -> None:
        """Watch a directory from now on.

        Raises:
            OSError: It can't be watched.
        """
        self._directories[self._inotify.add_watch(directory, self._mask | flags.ONLYDIR)] = directory

    def forget(self, directory: str) -> None:
        """The directory is gone."""
        self._directories = {number: path for number, path in self._directories.items() if path != directory}

    def drain(self) -> None:
        """Take in what the kernel has to say so far."""
        with contextlib.suppress(BlockingIOError):
            events = self._inotify.read(timeout=0)
            taken = [self._take(event, self._directories.get(event.wd, "")) for event in events]
            if any(taken):
                self._done()

    def _listen(self) -> None:
        self._paused = None
        asyncio.get_running_loop().add_reader(self._inotify.fileno(), self._ready)

    def _ready(self) -> None:
        self.drain()
        if self._pause:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._inotify.fileno())
            self._paused = loop.call_later(self._pause, self._listen)


class DatabaseWatch:
    """Watches the directories of databases. A commit writes to ``-wal``, or to the database itself."""

    def __init__(
        self, changed: Callable[[str], None], touched: Callable[[], None] = lambda: None, mask: int = _MASK
    ) -> None:
        """Nothing is watched yet.

        Args:
            changed: Is told the path of a database that was changed.
            touched: Is called when somebody has opened or changed one: at once when it was opened, so that who it is
                can still be seen.
            mask: The events that are wanted.
        """
        self._changed = changed
        self._touched_now = touched
        self._mask = mask
        self._queues: list[_Queue] = []
        self._databases: dict[str, set[str]] = {}
        self._due: dict[str, asyncio.TimerHandle] = {}

    def start(self) -> None:
        """Listen to the kernel's queues: one of writes, and one of all else."""
        writes, others = self._mask & flags.MODIFY, self._mask & ~flags.MODIFY
        self._queues = [_Queue(self._take, self._touched_now, others)]
        if writes:
            self._queues.append(_Queue(self._take, self._touched_now, writes, PAUSE_SECONDS))

    def stop(self) -> None:
        """Watch nothing any more."""
        for timer in self._due.values():
            timer.cancel()
        for queue in self._queues:
            queue.close()
        self._queues = []

    def add(self, database: str) -> bool:
        """Watch this database from now on. False where its directory is watched already, or can't be."""
        path = Path(database)
        directory = str(path.parent)
        if directory in self._databases:
            self._databases[directory].add(path.name)
            return False
        if not self._queues:
            return False
        try:
            for queue in self._queues:
                queue.add(directory)
        except OSError as error:
            log.warning("database_not_watched", database=database, error=error.strerror or str(error))
            return False
        self._databases[directory] = {path.name}
        return True

    @property
    def databases(self) -> list[str]:
        """Those that are watched."""
        return [f"{directory}/{name}" for directory, names in self._databases.items() for name in names]

    def drain(self) -> None:
        """Take in what the kernel has to say so far."""
        for queue in self._queues:
            queue.drain()

    def _take(self, event: Event, directory: str) -> bool:
        if event.mask & flags.Q_OVERFLOW:
            self._all()
        elif event.mask & flags.IGNORED:
            self._forget(directory)
        elif database := self._database_of(directory, event.name):
            if event.mask & _CHANGED:
                self._soon(database)
            return True
        return False

    def _database_of(self, directory: str, name: str) -> str:
        for suffix in SUFFIXES:
            database = name.removesuffix(suffix)
            if name.endswith(suffix) and database in self._databases.get(directory, ()):
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

    def _forget(self, directory: str) -> None:
        """The directory is gone. Whoever speaks of a database in it again has it watched again."""
        self._databases.pop(directory, None)
        for queue in self._queues:
            queue.forget(directory)

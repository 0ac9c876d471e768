"""The inotify side (inotify(7)): which session and lock files change, in one ordered queue."""

import asyncio
import contextlib
import errno
import fcntl
import termios
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol

import structlog
from inotify_simple import INotify, flags

from sidecar.core.errors import SidecarError
from sidecar.faults import NO_FAULTS, Faults
from sidecar.watch.lockfile import SUFFIX, LockPayload, read_lock
from sidecar.watch.tree import (
    Kind,
    entries,
    is_inside,
    is_link,
    is_plain,
    is_sessions_directory,
    kind_of,
    subdirectories,
)

log = structlog.get_logger("sidecar.watch")

_OVERFLOW: Final = -1
_FULL: Final = "the kernel's event queue was full"
_MASK: Final = (
    flags.CREATE
    | flags.MODIFY
    | flags.ATTRIB
    | flags.CLOSE_WRITE
    | flags.DELETE
    | flags.MOVED_FROM
    | flags.MOVED_TO
    | flags.DELETE_SELF
    | flags.MOVE_SELF
    | flags.ONLYDIR
)
_GONE: Final = flags.DELETE | flags.MOVED_FROM
_LIMIT_HINTS: Final = {
    errno.ENOSPC: "raise fs.inotify.max_user_watches",
    errno.EMFILE: "raise fs.inotify.max_user_instances",
}


class WatchError(SidecarError, OSError):
    """A directory can't be watched."""


class WatchHandler(Protocol):
    """Who is told what the watch sees. Calls come in the order of the kernel's queue."""

    def directory_watched(self, path: Path) -> None:
        """A sessions directory is watched from now on; told ahead of what is in it, and possibly again."""

    def directory_gone(self, path: Path) -> None:
        """A sessions directory is watched no more: it is gone, or has another name."""

    def directory_renamed(self, path: Path) -> None:
        """A directory, with files that are known, has another name now or is elsewhere; told ahead of their end."""

    def file_found(self, path: Path) -> None:
        """A session file was there when the watch began."""

    def file_touched(self, path: Path) -> None:
        """Something happened to a session file; a burst may be told once."""

    def lock_seen(self, path: Path, holder: LockPayload) -> None:
        """A lock file names its holder. ``path`` is the session file."""

    def lock_gone(self, path: Path) -> None:
        """A lock file is gone. ``path`` is the session file."""

    def watch_overflowed(self, problem: str) -> None:
        """Events are lost; ``problem`` says why, for people. Everything is looked at anew."""

    def name_refused(self, path: Path, code: str, reason: str) -> None:
        """A name is left alone, or can't be followed all the way; told once for each."""


class Watcher:
    """Watches every sessions directory below a state directory, those that appear later included."""

    def __init__(self, state_dir: Path, handler: WatchHandler, faults: Faults = NO_FAULTS) -> None:
        """Nothing is watched yet; ``faults`` loses events on purpose, as a full queue would."""
        self._faults = faults
        self.state_dir = state_dir
        self.events = 0
        self.overflows = 0
        self.files: set[str] = set()
        """Their names, for there may be tens of thousands: a Path takes four times as much memory."""
        self._handler = handler
        self._directories: dict[int, Path] = {}
        self._locked: set[Path] = set()
        self._refused: set[Path] = set()
        self._inotify: INotify | None = None

    @property
    def directories(self) -> int:
        """How many sessions directories are watched."""
        return sum(is_sessions_directory(path, self.state_dir) for path in self._directories.values())

    @property
    def locked(self) -> frozenset[Path]:
        """Session files that have a lock file."""
        return frozenset(self._locked)

    @property
    def backlog_bytes(self) -> int:
        """File events that the kernel keeps for us."""
        if self._inotify is None:
            return 0
        waiting = array("i", [0])
        fcntl.ioctl(self._inotify.fileno(), termios.FIONREAD, waiting)
        return waiting[0]

    def start(self) -> None:
        """Put the watches in place, then take stock of what is there.

        Raises:
            WatchError: A limit of the kernel is reached, or the state directory can't be watched.
        """
        try:
            self._inotify = INotify(nonblocking=True)
        except OSError as error:
            raise self._error(self.state_dir, error) from error
        try:
            self._scan(beginning=True)
        except WatchError:
            self._inotify.close()
            self._inotify = None
            raise
        asyncio.get_running_loop().add_reader(self._inotify.fileno(), self.drain)

    def stop(self) -> None:
        """Stop watching."""
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.fileno())
            self._inotify.close()
            self._inotify = None

    def drain(self) -> None:
        """Read until the queue is empty: every change made before this call is known after it."""
        if self._inotify is None:
            return
        while batch := list(self._inotify.read(timeout=0)):
            lost = ""
            for event in batch:
                if self._faults.lose_next():
                    lost = lost or _FULL
                    continue
                try:
                    self._take(event.wd, event.mask, event.name)
                except Exception as error:
                    # Who drains wants an answer from us, and what came behind this event.
                    log.exception("watch_failed", wd=event.wd, mask=event.mask)
                    lost = f"an event could not be taken in: {type(error).__name__}: {error}"
            if lost:
                self._overflow(lost)

    def _overflow(self, problem: str) -> None:
        self.overflows += 1
        self._handler.watch_overflowed(problem)
        self._scan()

    def _take(self, wd: int, mask: int, name: str) -> None:  # noqa: C901 - one case after the other
        self.events += 1
        if wd == _OVERFLOW:
            self._overflow(_FULL)
            return
        directory = self._directories.get(wd)
        if directory is None:
            return
        if mask & flags.IGNORED:
            self._gone(self._directories.pop(wd))
            return
        if not name:
            if mask & flags.MOVE_SELF and directory == self.state_dir:
                self._handler.directory_renamed(directory)
            return
        path = directory / name
        if mask & flags.ISDIR:
            if mask & (flags.CREATE | flags.MOVED_TO):
                self._scan()
            elif mask & _GONE:
                if mask & flags.MOVED_FROM:
                    self._handler.directory_renamed(path)
                self._forget(path)
            return
        if is_sessions_directory(directory, self.state_dir):
            self._file_event(path, mask)

    def _file_event(self, path: Path, mask: int) -> None:
        match kind_of(path.name):
            case Kind.SESSION if self._accepted(path):
                if mask & _GONE:
                    self.files.discard(str(path))
                else:
                    self.files.add(str(path))
                self._handler.file_touched(path)
            case Kind.LOCK:
                self._lock_event(path, mask)
            case _:
                pass

    def _lock_event(self, path: Path, mask: int) -> None:
        session = path.with_name(path.name.removesuffix(SUFFIX))
        if mask & _GONE:
            self._locked.discard(session)
            self._handler.lock_gone(session)
            return
        self._locked.add(session)
        payload = read_lock(path)
        if payload is not None:
            self._handler.lock_seen(session, payload)

    def _accepted(self, path: Path) -> bool:
        """Refuse links that lead out of the state directory, and say so of names that can't travel; once each."""
        if is_link(path) and not is_inside(path, self.state_dir):
            self._refuse(
                path, "symlink_outside", "it is a link that leads out of the state directory; it is not watched"
            )
            return False
        if not is_plain(path.name):
            text = (
                "its name has control characters or is no UTF-8: gateways can't report on it, only its changes are seen"
            )
            self._refuse(path, "bad_name", text)
        return True

    def _refuse(self, path: Path, code: str, reason: str) -> None:
        if path not in self._refused:
            self._refused.add(path)
            self._handler.name_refused(path, code, reason)

    def _scan(self, *, beginning: bool = False) -> None:
        """Watch what is not watched yet, and take stock of files and locks. Adding a watch twice is harmless."""
        files: set[str] = set()
        locked: set[Path] = set()
        watched: set[Path] = set()
        waiting = [self.state_dir]
        while waiting:
            directory = waiting.pop()
            # First the watch, then the look: what comes in between is seen twice, not never.
            if not self._watch(directory, beginning=beginning):
                continue
            watched.add(directory)
            if is_sessions_directory(directory, self.state_dir):
                self._handler.directory_watched(directory)
                self._take_stock(directory, files, locked, beginning=beginning)
            waiting += subdirectories(directory, self.state_dir)
        self._drop(
            [wd for wd, path in self._directories.items() if path not in watched],
            self.files - files,
            self._locked - locked,
        )

    def _watch(self, directory: Path, *, beginning: bool) -> bool:
        """Watch a directory. One that can't be watched is an error at the beginning, and costs only itself later."""
        if self._inotify is None:
            return False
        try:
            self._directories[self._inotify.add_watch(directory, _MASK)] = directory
        except (FileNotFoundError, NotADirectoryError) as error:
            if beginning and directory == self.state_dir:
                raise self._error(directory, error) from error
            return False
        except OSError as error:
            failure = self._error(directory, error)
            if beginning:
                raise failure from error
            self._refuse(directory, "unreadable", str(failure))
            return False
        return True

    def _take_stock(self, directory: Path, files: set[str], locked: set[Path], *, beginning: bool) -> None:
        """Tell of every file and lock in a sessions directory, and add them to ``files`` and ``locked``."""
        for path in entries(directory):
            kind = kind_of(path.name)
            if kind is Kind.SESSION and self._accepted(path):
                files.add(str(path))
                self.files.add(str(path))
                if beginning:
                    self._handler.file_found(path)
                else:
                    self._handler.file_touched(path)
            elif kind is Kind.LOCK:
                self._lock_event(path, flags.MODIFY)
                locked.add(path.with_name(path.name.removesuffix(SUFFIX)))

    def _forget(self, directory: Path) -> None:
        """A directory is gone or was moved away, and all below it. What comes back is found like something new."""
        self._drop(
            [wd for wd, path in self._directories.items() if path.is_relative_to(directory)],
            {name for name in self.files if name.startswith(f"{directory}/")},
            {path for path in self._locked if path.is_relative_to(directory)},
        )

    def _gone(self, directory: Path) -> None:
        if is_sessions_directory(directory, self.state_dir):
            self._handler.directory_gone(directory)

    def _drop(self, watches: Iterable[int], files: Iterable[str], locked: Iterable[Path]) -> None:
        """Watch these no more, and tell of what is gone."""
        for wd in watches:
            self._gone(self._directories.pop(wd))
            if self._inotify is not None:
                with contextlib.suppress(OSError):  # the kernel drops the watches of what is deleted
                    self._inotify.rm_watch(wd)
        for name in sorted(files):
            self.files.discard(name)
            self._handler.file_touched(Path(name))
        for path in sorted(locked):
            self._locked.discard(path)
            self._handler.lock_gone(path)

    def _error(self, directory: Path, error: OSError) -> WatchError:
        hint = _LIMIT_HINTS.get(error.errno or 0, "check that it is a readable directory")
        return WatchError(f"can't watch {directory}: {error.strerror or error}; {hint}")

"""Watches single files by name, however they are replaced: in place, by rename, or through a link beside them.

A file's directory is watched (inotify(7)), as the file itself is another one after each rename. The handler is called a
moment after the last event, so that an editor that removes and writes anew is seen once, when it is done.
"""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import structlog
from inotify_simple import INotify, flags

SETTLE_SECONDS: Final = 0.1
"""How long after the last event the handler is called."""

_MASK: Final = (
    flags.CREATE | flags.CLOSE_WRITE | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO | flags.ATTRIB | flags.ONLYDIR
)
_LINK_BESIDE: Final = "..data"
"""Kubernetes replaces the files of a ConfigMap by renaming this link in their directory."""

log = structlog.get_logger("sidecar.watch")


class NamedFiles:
    """Tells that something happened to one of some files."""

    def __init__(self, files: Iterable[Path], changed: Callable[[], object]) -> None:
        """Nothing is watched yet; ``changed`` looks at the files itself."""
        self._files = tuple(files)
        self._changed = changed
        self._names = {path.name for path in self._files} | {_LINK_BESIDE}
        self._inotify: INotify | None = None
        self._pending: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Put the watches in place. Where that can't be done, one line says so."""
        try:
            self._inotify = INotify(nonblocking=True)
            for directory in {path.parent for path in self._files}:
                self._inotify.add_watch(directory, _MASK)
        except OSError as error:
            log.warning("file_not_watched", files=[str(p) for p in self._files], error=error.strerror or str(error))
            self.stop()
            return
        asyncio.get_running_loop().add_reader(self._inotify.fileno(), self._read)

    def stop(self) -> None:
        """Watch no more."""
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.fileno())
            self._inotify.close()
            self._inotify = None

    def _read(self) -> None:
        if self._inotify is None:
            return
        # An event without a name is about the directory itself, or says that events were lost.
        events = list(self._inotify.read(timeout=0))
        if any(not event.name or event.name in self._names for event in events):
            if self._pending is not None:
                self._pending.cancel()
            self._pending = asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._settled)

    def _settled(self) -> None:
        self._pending = None
        self._changed()

"""A watcher on a real directory, with a handler that remembers."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from sidecar.watch.lockfile import LockPayload
from sidecar.watch.watcher import Watcher

INOTIFY: Final = Path("/proc/sys/fs/inotify")


@dataclass
class Told:
    """A `WatchHandler` that remembers what it was told."""

    found: list[Path] = field(default_factory=list)
    touched: list[Path] = field(default_factory=list)
    locks: list[tuple[Path, int]] = field(default_factory=list)
    unlocked: list[Path] = field(default_factory=list)
    refused: list[tuple[Path, str, str]] = field(default_factory=list)
    directories: list[Path] = field(default_factory=list)
    gone: list[Path] = field(default_factory=list)
    renamed: list[Path] = field(default_factory=list)
    overflows: int = 0
    reasons: list[str] = field(default_factory=list)
    anything: asyncio.Event = field(default_factory=asyncio.Event)

    def directory_watched(self, path: Path) -> None:
        self.directories.append(path)

    def directory_renamed(self, path: Path) -> None:
        self.renamed.append(path)

    def directory_gone(self, path: Path) -> None:
        self.gone.append(path)

    def file_found(self, path: Path) -> None:
        self.found.append(path)

    def file_touched(self, path: Path) -> None:
        self.touched.append(path)
        self.anything.set()

    def lock_seen(self, path: Path, holder: LockPayload) -> None:
        self.locks.append((path, holder.pid))

    def lock_gone(self, path: Path) -> None:
        self.unlocked.append(path)

    def watch_overflowed(self, reason: str) -> None:
        self.overflows += 1
        self.reasons.append(reason)

    def name_refused(self, path: Path, code: str, reason: str) -> None:
        self.refused.append((path, code, reason))


class Watch:
    """A watcher that is under way."""

    def __init__(self, state_dir: Path, runner: asyncio.Runner) -> None:
        self.told = Told()
        self.watcher = Watcher(state_dir, self.told)
        self._runner = runner
        self._do(self.watcher.start)

    def look(self) -> Told:
        """What was told since the last look, now that everything that has happened is known."""
        self.watcher.drain()
        before = self.told
        self.told = Told()
        self.watcher._handler = self.told
        return before

    def wait(self) -> None:
        """Let the event loop run until something is told of by itself."""

        async def told() -> None:
            async with asyncio.timeout(20):
                await self.told.anything.wait()

        self._runner.run(told())

    def stop(self) -> None:
        """Watch no more."""
        self._do(self.watcher.stop)

    def _do(self, step: object) -> None:
        async def in_loop() -> None:
            assert callable(step)
            step()

        self._runner.run(in_loop())


@contextmanager
def limited(name: str, value: int) -> Iterator[None]:
    """A limit of the kernel's for as long as it is needed; instances that are opened meanwhile keep it."""
    path = INOTIFY / name
    before = path.read_text()
    try:
        path.write_text(str(value))
    except OSError:
        pytest.skip(f"{path} can't be changed here")
    try:
        yield
    finally:
        path.write_text(before)

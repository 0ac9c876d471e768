"""A log file that another process writes and that one can wait on."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from inotify_simple import INotify, flags

from sidecar.demo.errors import LineMissingError


@dataclass(frozen=True, slots=True)
class LogFile:
    """Lines of text that a process appends to a file."""

    path: Path

    @property
    def size_bytes(self) -> int:
        """How much there is by now: a place to wait or read from later."""
        return self.path.stat().st_size

    def text(self, after_bytes: int = 0) -> str:
        """All that was written after a place."""
        with self.path.open("rb") as file:
            file.seek(after_bytes)
            return file.read().decode("utf-8", "replace")

    def lines(self, after_bytes: int = 0) -> tuple[str, ...]:
        """The complete lines that were written after a place."""
        head, _, _ = self.text(after_bytes).rpartition("\n")
        return tuple(head.splitlines())

    def tail(self, count: int = 20) -> tuple[str, ...]:
        """The last lines."""
        return tuple(self.text().splitlines()[-count:])

    async def wait_for(self, text: str, timeout_seconds: float, after_bytes: int = 0) -> str:
        """Wait until a complete line contains a text.

        Args:
            text: What to look for.
            timeout_seconds: How long to wait.
            after_bytes: Ignore what stands before this place.

        Returns:
            The first such line.

        Raises:
            LineMissingError: None came in time; it carries the end of the file.
        """
        loop = asyncio.get_running_loop()
        grown = asyncio.Event()
        with INotify() as inotify:
            inotify.add_watch(self.path, flags.MODIFY)
            loop.add_reader(inotify.fileno(), grown.set)
            try:
                async with asyncio.timeout(timeout_seconds):
                    while True:
                        for line in self.lines(after_bytes):
                            if text in line:
                                return line
                        await grown.wait()
                        inotify.read(timeout=0)
                        grown.clear()
            except TimeoutError:
                raise LineMissingError(text, self.path, timeout_seconds, self.tail()) from None
            finally:
                loop.remove_reader(inotify.fileno())

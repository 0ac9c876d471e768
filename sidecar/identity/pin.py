"""The pin: of the processes that can't be seen, one is believed, and no other for as long as it is linked."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sidecar.identity.errors import PinAwaitedError

PIN_FILE: Final = "link.pin"
AWAITED_SECONDS: Final = 10.0
"""How long a sidecar that was restarted waits for the process that was pinned; a preload tries again each second."""

_MAX_BYTES: Final = 64


class Pin:
    """Which key is pinned, and which links have it."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """The pin of an earlier life, if there was one; ``clock`` is in seconds."""
        self._file = file
        self._clock = clock
        self._held = self._kept()
        self._links: set[str] = set()
        self._awaited_until = clock() + AWAITED_SECONDS if self._held else 0.0
        self._closing = False

    @property
    def free(self) -> bool:
        """Nobody is pinned.

        Raises:
            PinAwaitedError: Whoever was, in the sidecar's earlier life, may still come back.
        """
        if self._held and not self._links:
            if self._clock() < self._awaited_until:
                raise PinAwaitedError
            self._hold("")
        return not self._held

    def take(self, link: str, key: str) -> None:
        """This link has the pin, which was free, and was given this key."""
        self._links = {link}
        self._hold(key)

    def join(self, link: str, key: str) -> frozenset[str] | None:
        """This link has proved a key that was pinned.

        Returns:
            The links that it throws out, as they were pinned after it; None when it is not pinned itself.
        """
        if self._held and key > self._held and (self._links or self._clock() < self._awaited_until):
            return None
        thrown_out = frozenset() if key == self._held else frozenset(self._links)
        if key != self._held:
            self._links = set()
            self._hold(key)
        self._links.add(link)
        return thrown_out

    def leave(self, link: str) -> None:
        """A link is gone. The last one frees the pin, but for a sidecar that is about to end."""
        if link in self._links and not self._closing:
            self._links.discard(link)
            if not self._links:
                self._hold("")

    def close(self) -> None:
        """The sidecar ends: whoever is pinned is waited for by the next one."""
        self._closing = True

    def _kept(self) -> str:
        try:
            with self._file.open("rb") as file:
                return file.read(_MAX_BYTES).decode("ascii", errors="replace").strip()
        except OSError:
            return ""

    def _hold(self, key: str) -> None:
        self._held = key
        self._awaited_until = 0.0
        if not key:
            self._file.unlink(missing_ok=True)
            return
        fresh = self._file.with_name(f"{self._file.name}.new")
        fresh.touch(mode=0o600)
        fresh.write_text(key, encoding="ascii")
        fresh.replace(self._file)

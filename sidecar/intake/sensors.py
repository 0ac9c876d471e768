"""Drains watch, kernel queue and clocks, so that everything that happened so far is known."""

from collections.abc import Callable


class Sensors:
    """Drains the sensors before a file is read. They feed the driver, which drains them: this stands between."""

    def __init__(self) -> None:
        self._drains: list[Callable[[], None]] = []

    def add(self, *drains: Callable[[], None]) -> None:
        """Each is called by `drain`, in this order."""
        self._drains += drains

    def drain(self) -> None:
        """Take in all that happened before this call."""
        for drain in self._drains:
            drain()

"""Changes of databases to core events, for the databases that linked gateways keep transcripts in."""

from collections.abc import Callable

from sidecar.core import events as ev
from sidecar.core.facts.rows import is_of_rows, parts_of
from sidecar.driver.driver import Driver
from sidecar.watch.database.directory import DatabaseWatch


class DatabaseIntake:
    """Has databases watched, and tells the driver of their changes.

    Attributes:
        watch: The watch, to be started and stopped.
    """

    def __init__(self, driver: Driver, now_ns: Callable[[], int]) -> None:
        """No database is known."""
        self._driver = driver
        self._now_ns = now_ns
        self.watch = DatabaseWatch(self._changed)

    def spoken_of(self, transcript: str) -> None:
        """A gateway says something of a transcript: where it is in a database, that one is watched from now on."""
        if is_of_rows(transcript):
            self.watch.add(parts_of(transcript)[0])

    def _changed(self, database: str) -> None:
        self._driver.handle(ev.DatabaseChanged(database=database, at_ns=self._now_ns()))

"""Changes of databases to core events, for the databases that linked gateways keep transcripts in."""

from collections.abc import Callable
from pathlib import Path

from sidecar.core import events as ev
from sidecar.core.facts.rows import is_of_rows, place_of
from sidecar.driver.driver import Driver
from sidecar.watch.database.directory import DatabaseWatch


class DatabaseIntake:
    """Has databases watched, and tells the driver of their changes.

    Attributes:
        watch: The watch, to be started and stopped.
    """

    def __init__(
        self,
        driver: Driver,
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
        self.watch = DatabaseWatch(self._changed, touched)

    def spoken_of(self, transcript: str) -> None:
        """A gateway says something of a transcript: where it is in a database, that one is watched from now on."""
        if is_of_rows(transcript) and self.watch.add(place_of(transcript)):
            self._watched(Path(transcript).parent)

    def _changed(self, database: str) -> None:
        self._driver.handle(ev.DatabaseChanged(database=database, at_ns=self._now_ns()))

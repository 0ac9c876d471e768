"""Reads a transcript, whatever it is made of."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Final

from sidecar.core.facts.content import Snapshot
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.rows import RowSnapshot, RowVersion, is_of_rows, parts_of
from sidecar.core.facts.version import Reading, Version
from sidecar.watch.database.reader import DatabaseReader
from sidecar.watch.reading import fingerprint_of, take_snapshot

MAX_DATABASES: Final = 16
"""Databases that are kept open."""

LONG_ROWS: Final = 500
"""A longer transcript is read in a thread."""


class TranscriptReader:
    """Reads files, and rows of databases that it keeps open."""

    def __init__(self) -> None:
        """No database is open."""
        self._databases: dict[str, DatabaseReader] = {}

    def now(self, transcript: str) -> Reading:
        """Read it. Never raises: what goes wrong is the reading's ``problem``."""
        if not is_of_rows(transcript):
            return take_snapshot(Path(transcript))
        path, session_id = parts_of(transcript)
        try:
            return self._database(path).snapshot(session_id)
        except sqlite3.Error as error:
            return RowSnapshot(RowVersion.absent(), problem=f"the database can't be read: {error}")

    async def read(self, transcript: str) -> Reading:
        """Read it, and have others go on while that takes long. Never raises."""
        version = self.version(transcript)
        if isinstance(version, RowVersion) and version.size > LONG_ROWS:
            return await asyncio.to_thread(self.now, transcript)
        return self.now(transcript)

    def version(self, transcript: str) -> Version | None:
        """Which state it is in; None when that can't be seen."""
        with contextlib.suppress(OSError, sqlite3.Error):
            if not is_of_rows(transcript):
                return fingerprint_of(Path(transcript))
            path, session_id = parts_of(transcript)
            return self._database(path).version(session_id)
        return None

    def state(self, database: str) -> bytes:
        """What is another after each commit to this database; empty while it is not open, or where that is not seen."""
        known = self._databases.get(database)
        return known.state() if known is not None else b""

    def reading_seconds(self, database: str) -> float:
        """How long the longest transcript of a database was read for last; 0 where none was."""
        known = self._databases.get(database)
        return known.reading_seconds if known is not None else 0.0

    def close(self) -> None:
        """Close the databases."""
        for database in self._databases.values():
            database.close()
        self._databases.clear()

    def _database(self, path: str) -> DatabaseReader:
        known = self._databases.get(path)
        if known is not None:
            if known.is_current:
                return known
            self._databases.pop(path).close()
        if len(self._databases) >= MAX_DATABASES:
            self._databases.pop(next(iter(self._databases))).close()
        made = self._databases[path] = DatabaseReader(path)
        return made


def unread(version: Version, uid: int, problem: str) -> Reading:
    """A reading of this state without its contents."""
    if isinstance(version, Fingerprint):
        return Snapshot(version, uid=uid, problem=problem)
    return RowSnapshot(version, uid=uid, problem=problem)


def without_contents(reading: Reading, problem: str) -> Reading:
    """The same reading, whose contents prove nothing."""
    if isinstance(reading, Snapshot):
        return Snapshot(reading.fingerprint, regular=reading.regular, uid=reading.uid, problem=problem)
    return RowSnapshot(reading.version, uid=reading.uid, problem=problem)

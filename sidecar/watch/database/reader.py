"""Reads the rows of a transcript from a gateway's database: digests and places, never text.

`sidecar/preload/rows/stored_rows.mjs` makes the same digests inside the gateway.
"""

import hashlib
import json
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final
from urllib.parse import quote

from sidecar.core.facts.rows import Row, RowSnapshot, RowVersion

PART_ROWS: Final = 400
"""Rows that one transaction reads: a long one would keep the gateway from checkpointing its WAL."""

BUSY_SECONDS: Final = 0.25
"""A reader waits only while the WAL is being recovered."""

_IDENTITY: Final = ("event_id", "parent_id", "event_type", "message_idempotency_key")
_STORED: Final = ("event_json", "event_zstd", "navigation_json")
_TRIES: Final = 3
_KEY_DIGITS: Final = 16


class DatabaseReader:
    """One gateway's database, opened read-only."""

    def __init__(self, path: str) -> None:
        """Open it.

        Raises:
            sqlite3.Error: It is no regular file, can't be opened, or has no transcripts.
        """
        self.path = path
        self._lock = Lock()
        self._identity = _identity(path)
        uri = f"file:{quote(path)}?mode=ro"
        self._connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._connection.row_factory = sqlite3.Row
        columns = {row["name"] for row in self._connection.execute("PRAGMA table_info(transcript_events)")}
        if not columns:
            self._connection.close()
            message = "it has no table transcript_events"
            raise sqlite3.DatabaseError(message)
        stored = ", ".join(f"e.{name}" if name in columns else f"NULL AS {name}" for name in _STORED)
        identity = ", ".join(f"i.{name}" for name in _IDENTITY)
        self._rows = (
            f"SELECT e.seq, {identity}, {stored} FROM transcript_events AS e "  # noqa: S608 - names from a closed list
            "LEFT JOIN transcript_event_identities AS i ON i.session_id = e.session_id AND i.seq = e.seq "
            "WHERE e.session_id = ? AND e.seq BETWEEN ? AND ? ORDER BY e.seq"
        )

    @property
    def is_current(self) -> bool:
        """The path still is of the file that was opened."""
        return _identity(self.path) == self._identity

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def version(self, session_id: str) -> RowVersion:
        """Which state the transcript of a session is in.

        Raises:
            sqlite3.Error: The database can't be read now.
        """
        with self._transaction():
            return self._version(session_id)

    def snapshot(self, session_id: str) -> RowSnapshot:
        """All rows of a session, read in parts, with the same version before and after.

        Returns:
            The rows; without them, and with a problem, where it can't be read or does not hold still.
        """
        try:
            uid = os.stat(self.path).st_uid  # noqa: PTH116 - as cheap as can be: done for each reading
            for _ in range(_TRIES):
                before = self.version(session_id)
                rows = tuple(row for part in self._parts(session_id, before.seq) for row in part)
                if self.version(session_id) == before:
                    return RowSnapshot(before, rows, uid)
        except (sqlite3.Error, OSError, ValueError) as error:
            return RowSnapshot(RowVersion.absent(), None, problem=f"the database can't be read: {error}")
        return RowSnapshot(before, None, uid, problem="it kept changing while it was looked at")

    def _parts(self, session_id: str, last: int) -> Iterator[list[Row]]:
        for first in range(0, last + 1, PART_ROWS):
            with self._transaction():
                found = self._connection.execute(self._rows, (session_id, first, first + PART_ROWS - 1)).fetchall()
            yield [_described(row) for row in found]

    def _version(self, session_id: str) -> RowVersion:
        [(seq,)] = self._connection.execute(
            "SELECT max(seq) FROM transcript_events WHERE session_id = ?", (session_id,)
        ).fetchall()
        if seq is None:
            return RowVersion.absent()
        found = self._connection.execute(
            "SELECT generation FROM transcript_rewrite_watermarks WHERE session_id = ?", (session_id,)
        ).fetchone()
        last = self._connection.execute(self._rows, (session_id, seq, seq)).fetchone()
        generation = "" if found is None else str(found["generation"])
        return RowVersion(exists=True, generation=generation, seq=seq, digest=_digest_of(last))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("ROLLBACK")  # nothing was written


def _identity(path: str) -> tuple[int, int]:
    """Device and inode. To open anything but a regular file could hang."""
    try:
        found = os.stat(path)  # noqa: PTH116 - as cheap as can be: done for each reading
    except OSError as error:
        raise sqlite3.OperationalError(error.strerror or str(error)) from error
    if not stat.S_ISREG(found.st_mode):
        message = "it is no regular file"
        raise sqlite3.OperationalError(message)
    return found.st_dev, found.st_ino


def _digest_of(row: sqlite3.Row) -> str:
    """Digest of all that is stored of a row: each value with its length, so that no two rows give the same text."""
    made = hashlib.sha256()
    for name in (*_IDENTITY, *_STORED):
        value = row[name]
        if value is None:
            made.update(b"-;")
            continue
        data = value.encode() if isinstance(value, str) else bytes(value)
        made.update(b"%d:" % len(data))
        made.update(data)
    return made.hexdigest()


def _described(row: sqlite3.Row) -> Row:
    message = _message_of(row) if row["event_type"] == "message" else {}
    role, key = message.get("role"), row["message_idempotency_key"]
    stored = row["event_json"] if row["event_json"] is not None else row["event_zstd"]
    return Row(
        seq=row["seq"],
        digest=_digest_of(row),
        size=len(stored.encode() if isinstance(stored, str) else stored or b""),
        event_id=row["event_id"] or "",
        parent_id=row["parent_id"] or "",
        kind=row["event_type"] or "",
        role=role if isinstance(role, str) else "",
        injected=message.get("provider") == "openclaw" and message.get("model") == "gateway-injected",
        key=hashlib.sha256(key.removesuffix(":user").encode()).hexdigest()[:_KEY_DIGITS] if key else "",
    )


def _message_of(row: sqlite3.Row) -> dict[str, Any]:
    """Of a compressed row, what the gateway itself reads of it without its contents. A stranger's may be anything."""
    try:
        whole = row["event_json"]
        found = json.loads(row["navigation_json"])["model"] if whole is None else json.loads(whole)
        message = found["message"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}

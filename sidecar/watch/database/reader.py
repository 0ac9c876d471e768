"""Reads the rows of a transcript from a gateway's database: digests and places, never text.

`sidecar/preload/rows/stored_rows.mjs` makes the same digests inside the gateway.
"""

import hashlib
import json
import marshal
import os
import sqlite3
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final
from urllib.parse import quote

from sidecar.core.facts.bounded import Bounded
from sidecar.core.facts.rows import Row, RowSnapshot, RowVersion
from sidecar.core.facts.value import replace
from sidecar.watch.database.commits import CommitHeader

PART_ROWS: Final = 400
"""Rows that one transaction reads: a long one would keep the gateway from checkpointing its WAL."""

BUSY_SECONDS: Final = 0.25
"""A reader waits only while the WAL is being recovered."""

MAX_REMEMBERED: Final = 32
"""Sessions of one database of which the last reading is remembered."""

_IDENTITY: Final = ("event_id", "parent_id", "event_type", "message_idempotency_key")
_STORED: Final = ("event_json", "event_zstd", "navigation_json")
_TRIES: Final = 3
_KEY_DIGITS: Final = 16
_PLAIN_FORM: Final = 2
"""The last version of marshal's format without references, so that equal rows have equal bytes."""

_Stored = tuple[bytes | int | float | None, ...]
"""A row as it is stored: its place, and the columns of `_IDENTITY` and `_STORED`; text as its bytes."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Adjoining rows that were read, and a digest of all that was stored of them."""

    digest: bytes
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class _Remembered:
    """The last reading of a session, how long it took, and the state of the database that it is of.

    The state is empty where it is not known.
    """

    state: bytes
    snapshot: RowSnapshot
    parts: tuple[_Part, ...]
    seconds: float = 0.0


_NOTHING: Final = _Remembered(b"", RowSnapshot(RowVersion.absent()), ())


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
        columns = {name for _, name, *_ in self._connection.execute("PRAGMA table_info(transcript_events)")}
        if not columns:
            self._connection.close()
            message = "it has no table transcript_events"
            raise sqlite3.DatabaseError(message)
        self._connection.text_factory = bytes  # a stranger's text may be no UTF-8
        stored = ", ".join(f"e.{name}" if name in columns else f"NULL AS {name}" for name in _STORED)
        identity = ", ".join(f"i.{name}" for name in _IDENTITY)
        self._rows = (
            f"SELECT e.seq, {identity}, {stored} FROM transcript_events AS e "  # noqa: S608 - names from a closed list
            "LEFT JOIN transcript_event_identities AS i ON i.session_id = e.session_id AND i.seq = e.seq "
            "WHERE e.session_id = ? AND e.seq BETWEEN ? AND ? ORDER BY e.seq"
        )
        self._commits = CommitHeader(path)
        self._remembered: Bounded[str, _Remembered] = Bounded(MAX_REMEMBERED)

    @property
    def is_current(self) -> bool:
        """The path still is of the file that was opened."""
        return _identity(self.path) == self._identity

    def close(self) -> None:
        """Close it: the connection first, for whoever closes a descriptor of ``-shm`` loses all locks on it."""
        self._connection.close()
        self._commits.close()

    def state(self) -> bytes:
        """What is another after each commit, by whomever; empty where that can't be seen."""
        return self._commits.read()

    @property
    def reading_seconds(self) -> float:
        """How long the longest session was read for last."""
        return max((known.seconds for known in self._remembered.values()), default=0.0)

    def version(self, session_id: str) -> RowVersion:
        """Which state the transcript of a session is in.

        Raises:
            sqlite3.Error: The database can't be read now.
        """
        known, state = self._remembered.get(session_id) or _NOTHING, self.state()
        if state and state == known.state:
            return known.snapshot.version
        with self._transaction():
            return self._version(session_id)

    def snapshot(self, session_id: str) -> RowSnapshot:
        """All rows of a session, read in parts, with the same version before and after.

        Where nothing was committed since the last reading, that one is returned.

        Returns:
            The rows; without them, and with a problem, where it can't be read or does not hold still.
        """
        try:
            uid = os.stat(self.path).st_uid  # noqa: PTH116 - as cheap as can be: done for each reading
            for _ in range(_TRIES):
                known, state = self._remembered.get(session_id) or _NOTHING, self.state()
                if state and state == known.state:
                    return known.snapshot
                began = time.perf_counter()
                before = self.version(session_id)
                parts = tuple(self._parts(session_id, before.seq, known.parts))
                if self.version(session_id) == before:
                    snapshot = RowSnapshot(before, tuple(row for part in parts for row in part.rows), uid)
                    still = state if state == self.state() else b""
                    took = time.perf_counter() - began
                    self._remembered.put(session_id, _Remembered(still, snapshot, parts, took))
                    return snapshot
        except (sqlite3.Error, OSError, ValueError) as error:
            return RowSnapshot(RowVersion.absent(), None, problem=f"the database can't be read: {error}")
        return RowSnapshot(before, None, uid, problem="it kept changing while it was looked at")

    def _parts(self, session_id: str, last: int, known: tuple[_Part, ...]) -> Iterator[_Part]:
        """The rows in parts. What is stored is read and digested; what is as it was is understood once only."""
        for number, first in enumerate(range(0, last + 1, PART_ROWS)):
            with self._transaction():
                found = self._connection.execute(self._rows, (session_id, first, first + PART_ROWS - 1)).fetchall()
            digest = hashlib.sha256(marshal.dumps(found, _PLAIN_FORM)).digest()
            same = number < len(known) and known[number].digest == digest
            yield known[number] if same else _Part(digest, _described(found))

    def _version(self, session_id: str) -> RowVersion:
        [(seq,)] = self._connection.execute(
            "SELECT max(seq) FROM transcript_events WHERE session_id = ?", (session_id,)
        ).fetchall()
        if seq is None:
            return RowVersion.absent()
        found = self._connection.execute(
            "SELECT generation FROM transcript_rewrite_watermarks WHERE session_id = ?", (session_id,)
        ).fetchone()
        [last] = _described(self._connection.execute(self._rows, (session_id, seq, seq)).fetchall())
        generation = "" if found is None else _text(found[0])
        return RowVersion(exists=True, generation=generation, seq=seq, digest=last.digest)

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


def _bytes(value: bytes | float | None) -> bytes:
    """A value as the preload has it: numbers as their text."""
    return value if isinstance(value, bytes) else str(value).encode()


def _text(value: bytes | float | None) -> str:
    return "" if value is None else _bytes(value).decode(errors="replace")


def _digest_of(row: _Stored) -> str:
    """Digest of all that is stored of a row: each value with its length, so that no two rows give the same text."""
    made = hashlib.sha256()
    for value in row[1:]:
        if value is None:
            made.update(b"-;")
            continue
        data = _bytes(value)
        made.update(b"%d:" % len(data))
        made.update(data)
    return made.hexdigest()


def _described(found: Iterable[_Stored]) -> tuple[Row, ...]:
    """The rows. One with two identities is another than with either: the gateway gives each row one."""
    rows: dict[int, Row] = {}
    for stored in found:
        row = _row(stored)
        other = rows.get(row.seq)
        rows[row.seq] = row if other is None else replace(row, digest=_both(row.digest, other.digest))
    return tuple(rows.values())


def _both(one: str, other: str) -> str:
    return hashlib.sha256("\n".join(sorted((one, other))).encode()).hexdigest()


def _row(row: _Stored) -> Row:
    seq, event_id, parent_id, kind, key, event_json, event_zstd, navigation = row
    message = _message_of(event_json, navigation) if kind == b"message" else {}
    role, stored = message.get("role"), event_json if event_json is not None else event_zstd
    return Row(
        seq=int(seq or 0),
        digest=_digest_of(row),
        size=len(_bytes(stored)) if stored is not None else 0,
        event_id=_text(event_id),
        parent_id=_text(parent_id),
        kind=_text(kind),
        role=role if isinstance(role, str) else "",
        injected=message.get("provider") == "openclaw" and message.get("model") == "gateway-injected",
        key=hashlib.sha256(_bytes(key).removesuffix(b":user")).hexdigest()[:_KEY_DIGITS] if key else "",
    )


def _message_of(whole: bytes | float | None, navigation: bytes | float | None) -> dict[str, Any]:
    """Of a compressed row, what the gateway itself reads of it without its contents. A stranger's may be anything."""
    try:
        found = json.loads(_text(navigation))["model"] if whole is None else json.loads(_text(whole))
        message = found["message"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}

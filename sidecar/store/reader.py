"""Reading the store, beside the sidecar that writes it or without one."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Final, Self

from sidecar.core.facts.reasons import Reason
from sidecar.core.verdict.incident import Incident, Outcome, Subject
from sidecar.core.verdict.judge import Verdict
from sidecar.store.codec import decode
from sidecar.store.database import open_reader, reading, understood
from sidecar.store.stored import DuePage, OutcomeChange, PageKey, PageRecord, StoredIncident
from sidecar.store.tapes import unpack

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sidecar.core.replay.recording import Recording

_SELECT: Final = "SELECT i.id, i.body FROM incidents AS i"
_PAGES: Final = """
    SELECT about, due_at_ns, sent_at_ns, gave_up_at_ns, attempts, last_error, covered_by FROM pages
"""
_FIND: Final = f"""
    {_SELECT}
    WHERE (:since_ns IS NULL OR i.opened_at_ns >= :since_ns)
      AND (:verdict IS NULL OR i.verdict = :verdict)
      AND (:session IS NULL OR :session IN (i.session_file, i.file_name, i.file_stem, i.session)
           OR i.session = :session_hash)
    ORDER BY i.opened_at_ns DESC, i.id DESC
    LIMIT :limit
"""
_PENDING: Final = """
    SELECT i.id, i.body, p.about, p.due_at_ns, p.sent_at_ns, p.gave_up_at_ns, p.attempts, p.last_error, p.covered_by
    FROM pages AS p JOIN incidents AS i ON p.incident_id = i.id
    WHERE p.sent_at_ns IS NULL AND p.gave_up_at_ns IS NULL AND p.covered_by = ''
    ORDER BY p.due_at_ns, i.id, p.about
"""
_HISTORY: Final = """
    SELECT at_ns, verdict, outcome, reason, count, turn_lost FROM incident_events WHERE incident_id = ? ORDER BY seq
"""

_GRAVITY: Final = tuple(Subject)

_PageRow = tuple[str, int, int | None, int | None, int, str, str]
_DueRow = tuple[str, str, str, int, int | None, int | None, int, str, str]


def session_hash(key: str) -> str:
    """A session key as the preload sends it: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def column(text: str) -> bytes:
    """Text from outside as the bytes under which the database keeps and finds it."""
    return text.encode("utf-8", "surrogatepass")


class IncidentReader:
    """Answers questions about incidents. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Open the database file for reading only.

        Raises:
            StoreError: It is missing, not readable, damaged or of another schema.
        """
        self.path = path
        self._read = open_reader(path)
        self._read_lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        with self._read_lock:
            self._read.close()

    def get(self, incident_id: str) -> StoredIncident | None:
        """The incident of that id, or None."""
        rows = self._query(f"{_SELECT} WHERE i.id = ?", (incident_id.encode("utf-8", "replace").decode(),))
        return rows[0] if rows else None

    def recording(self, incident_id: str) -> Recording | None:
        """The events that led to that incident; None when none were kept.

        Raises:
            StoreCorruptError: They are no events.
        """
        with self._read_lock, reading(self.path):
            row = self._read.execute("SELECT body FROM recordings WHERE incident_id = ?", (incident_id,)).fetchone()
        with understood(self.path, f"recording of {incident_id}"):
            return None if row is None else unpack(row[0])

    def find(
        self,
        session: str | None = None,
        since_ns: int | None = None,
        verdict: Verdict | None = None,
        limit: int = 100,
    ) -> list[StoredIncident]:
        """Incidents that meet every condition given, newest first.

        Args:
            session: A session file's path or name, the name without its ending, a session key or the hash of one.
            since_ns: Opened at that time or later, nanoseconds since the epoch.
            verdict: With this verdict.
            limit: At most so many.
        """
        conditions = {
            "session": None if session is None else column(session),
            "session_hash": None if session is None else column(session_hash(session)),
            "since_ns": since_ns,
            "verdict": None if verdict is None else verdict.value,
            "limit": limit,
        }
        return self._query(_FIND, conditions)

    def pending_pages(self) -> list[DuePage]:
        """Pages that are due and neither sent nor given up, oldest first."""
        with self._read_lock, reading(self.path):
            rows: list[_DueRow] = self._read.execute(_PENDING).fetchall()
            return [self._due(row) for row in rows]

    def deliveries(self, key: PageKey) -> frozenset[str]:
        """The destinations that took this page already."""
        with self._read_lock, reading(self.path):
            rows = self._read.execute(
                "SELECT destination FROM page_deliveries WHERE incident_id = ? AND about = ?", key
            ).fetchall()
        return frozenset(row[0] for row in rows)

    def counts_by_verdict(self) -> dict[str, int]:
        """How many incidents there are of each verdict; those that never occurred are left out."""
        with self._read_lock, reading(self.path):
            return dict(self._read.execute("SELECT verdict, count(*) FROM incidents GROUP BY verdict").fetchall())

    def _query(self, sql: str, parameters: Sequence[object] | Mapping[str, object]) -> list[StoredIncident]:
        with self._read_lock, reading(self.path):
            rows: list[tuple[str, str]] = self._read.execute(sql, parameters).fetchall()
            return [self._stored(*row) for row in rows]

    def _stored(self, incident_id: str, body: str) -> StoredIncident:
        with understood(self.path, f"row {incident_id}"):
            incident = decode(Incident, body)
            return StoredIncident(incident, _pages(self._read, incident_id), _history(self._read, incident_id))

    def _due(self, row: _DueRow) -> DuePage:
        incident_id, body, about = row[:3]
        with understood(self.path, f"row {incident_id}"):
            return DuePage(decode(Incident, body), PageKey(incident_id, Subject(about)), _page(row[2:]))


def _history(connection: sqlite3.Connection, incident_id: str) -> tuple[OutcomeChange, ...]:
    return tuple(
        OutcomeChange(
            at_ns, Verdict(verdict), Outcome(outcome), decode(Reason, reason) if reason else None, count, bool(lost)
        )
        for at_ns, verdict, outcome, reason, count, lost in connection.execute(_HISTORY, (incident_id,))
    )


def _pages(connection: sqlite3.Connection, incident_id: str) -> tuple[PageRecord, ...]:
    """The gravest first."""
    rows: list[_PageRow] = connection.execute(f"{_PAGES} WHERE incident_id = ?", (incident_id,)).fetchall()
    return tuple(_page(row) for row in sorted(rows, key=lambda row: _GRAVITY.index(Subject(row[0]))))


def _page(row: _PageRow) -> PageRecord:
    about, due_at_ns, sent_at_ns, gave_up_at_ns, attempts, last_error, covered_by = row
    return PageRecord(
        about=Subject(about),
        due=True,
        sent=sent_at_ns is not None,
        attempts=attempts,
        last_error=last_error,
        due_at_ns=due_at_ns,
        sent_at_ns=sent_at_ns or 0,
        gave_up_at_ns=gave_up_at_ns or 0,
        covered_by=covered_by,
    )

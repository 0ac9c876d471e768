"""Reading the store, beside the sidecar that writes it or without one."""

import hashlib
from pathlib import PurePath
from typing import Any, Final

from sidecar.core.facts.reasons import Reason
from sidecar.core.facts.rows import is_of_rows, parts_of
from sidecar.core.replay.recording import Recording
from sidecar.core.verdict.incident import Incident, Outcome, Subject
from sidecar.core.verdict.judge import Verdict
from sidecar.store.codec import decode
from sidecar.store.database import Reader, understood
from sidecar.store.stored import DuePage, OutcomeChange, PageKey, PageRecord, StoredIncident
from sidecar.store.tapes import unpack

_SELECT: Final = "SELECT i.id, i.body FROM incidents AS i"
_PAGES: Final = """
    SELECT incident_id, about, due_at_ns, coalesce(sent_at_ns, 0), coalesce(gave_up_at_ns, 0), attempts, last_error,
        covered_by
    FROM pages
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
_PENDING: Final = f"""
    {_PAGES}
    WHERE sent_at_ns IS NULL AND gave_up_at_ns IS NULL AND covered_by = ''
    ORDER BY due_at_ns, incident_id, about
"""
_HISTORY: Final = """
    SELECT at_ns, verdict, outcome, reason, count, turn_lost FROM incident_events WHERE incident_id = ? ORDER BY seq
"""

_GRAVITY: Final[tuple[Subject | None, ...]] = tuple(Subject)


def session_hash(key: str) -> str:
    """A session key as the preload sends it: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def column(text: str) -> bytes:
    """Text from outside as the bytes under which the database keeps and finds it."""
    return text.encode("utf-8", "surrogatepass")


def names_of(transcript: str) -> tuple[str, str, str]:
    """What a transcript may be called.

    Returns:
        Its path, its file's name, and that name without its ending; of rows the id of their session.
    """
    name = PurePath(transcript).name
    return transcript, name, parts_of(transcript)[1] if is_of_rows(transcript) else name.removesuffix(".jsonl")


class IncidentReader(Reader):
    """Answers questions about incidents."""

    def get(self, incident_id: str) -> StoredIncident | None:
        """The incident of that id, or None."""
        rows = self._rows(f"{_SELECT} WHERE i.id = ?", (incident_id.encode("utf-8", "replace").decode(),))
        return self._stored(*rows[0]) if rows else None

    def recording(self, incident_id: str) -> Recording | None:
        """The events that led to that incident; None when none were kept.

        Raises:
            StoreCorruptError: They are no events.
        """
        rows = self._rows("SELECT body FROM recordings WHERE incident_id = ?", (incident_id,))
        with understood(self.path, f"recording of {incident_id}"):
            return unpack(rows[0][0]) if rows else None

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
        return [self._stored(*row) for row in self._rows(_FIND, conditions)]

    def pending_pages(self) -> list[DuePage]:
        """Pages that are due and neither sent nor given up, oldest first."""
        return [DuePage(PageKey(row[0], Subject(row[1])), _page(row)) for row in self._rows(_PENDING)]

    def deliveries(self, key: PageKey) -> frozenset[str]:
        """The destinations that took this page already."""
        rows = self._rows("SELECT destination FROM page_deliveries WHERE incident_id = ? AND about = ?", key)
        return frozenset(row[0] for row in rows)

    def counts_by_verdict(self) -> dict[str, int]:
        """How many incidents there are of each verdict; those that never occurred are left out."""
        return dict(self._rows("SELECT verdict, count(*) FROM incidents GROUP BY verdict"))

    def _stored(self, incident_id: str, body: str) -> StoredIncident:
        pages = self._rows(f"{_PAGES} WHERE incident_id = ?", (incident_id,))
        history = self._rows(_HISTORY, (incident_id,))
        with understood(self.path, f"row {incident_id}"):
            return StoredIncident(
                decode(Incident, body),
                tuple(sorted((_page(row) for row in pages), key=lambda page: _GRAVITY.index(page.about))),
                tuple(_change(*row) for row in history),
            )


def _change(at_ns: int, verdict: str, outcome: str, reason: str, count: int, turn_lost: int) -> OutcomeChange:  # noqa: PLR0917 - a row
    why = decode(Reason, reason) if reason else None
    return OutcomeChange(at_ns, Verdict(verdict), Outcome(outcome), why, count, bool(turn_lost))


def _page(row: tuple[Any, ...]) -> PageRecord:
    return PageRecord(Subject(row[1]), *row[2:])

"""The store of a running sidecar: every incident, on disk before anything is done about it (design: rule 6)."""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.value import replace
from sidecar.core.policy.budget import Spent
from sidecar.core.verdict.incident import Incident, Moment, Outcome, Subject
from sidecar.store.audit import Head, Trail
from sidecar.store.codec import decode, encode
from sidecar.store.database import lock_store, open_writer, transaction, understood
from sidecar.store.printable import clean
from sidecar.store.reader import IncidentReader, column, names_of
from sidecar.store.stored import NewPage, PageKey

DATABASE_NAME: Final = "sidecar.db"
"""The file in the data directory."""

COVERS_NS: Final = 15 * 60 * 1_000_000_000
"""So long a page for a takeover tells of further ones of the same session too (issue 5: one page, not one a write)."""

MAX_FORGOTTEN: Final = 50
"""Incidents that are removed in one commit."""

STOPPED: Final = Reason(ReasonCode.SIDECAR_STOPPED)
_OLD: Final = """
    SELECT i.id FROM incidents AS i
    WHERE i.opened_at_ns < ? AND i.closed_at_ns != 0 AND NOT EXISTS (
        SELECT 1 FROM pages AS p WHERE p.incident_id = i.id
        AND p.sent_at_ns IS NULL AND p.gave_up_at_ns IS NULL AND p.covered_by = ''
    )
    LIMIT ?
"""
_COVERING: Final = """
    SELECT other.id FROM incidents AS this
    JOIN incidents AS other ON other.session_file = this.session_file AND other.verdict = this.verdict
    JOIN pages AS p ON p.incident_id = other.id AND p.about = :about
    WHERE this.id = :id AND other.id != :id AND this.verdict = 'external' AND :about = 'takeover'
      AND p.due_at_ns >= :since_ns AND p.gave_up_at_ns IS NULL AND p.covered_by = ''
    ORDER BY p.due_at_ns DESC LIMIT 1
"""
_TABLES_OF_INCIDENT: Final = (
    ("page_deliveries", "incident_id"),
    ("pages", "incident_id"),
    ("incident_events", "incident_id"),
    ("recordings", "incident_id"),
    ("incidents", "id"),
)
_UNSEEN: Final = frozenset({Outcome.APPROVED, Outcome.APPLIED})


class IncidentStore(IncidentReader):
    """Keeps incidents and the state of their pages.

    Every method that changes something returns after its commit is on the disk: 0.6 ms at the median and 4 ms at the
    99th percentile, measured on ext4 with SQLite 3.40 and timelines of 5 to 40 lines (400 lines: 1.7 and 7 ms). So they
    are plain calls, and the order of the calls is the order on disk. Safe to use from several threads.
    """

    def __init__(self, path: Path, clock: Callable[[], int]) -> None:
        """Open the database file, or make it; incidents that a killed sidecar left open are closed.

        Args:
            path: The file. Its directory is made with mode 0700 where missing, the file with 0600.
            clock: The time in nanoseconds since the epoch.

        Raises:
            StoreError: The file cannot be used; it is left as it is.
        """
        self._clock = clock
        self._write_lock = threading.Lock()
        self.path = path
        with ExitStack() as opened:
            self._held = lock_store(path)
            opened.callback(os.close, self._held)
            self._write = open_writer(path)
            opened.callback(self._write.close)
            self._trail = Trail(clock)
            with self._write_lock, transaction(self._write, path) as database:
                self._trail.begin(database)
            self.left_open = self._close_left_open()
            super().__init__(path)
            opened.pop_all()

    @property
    def head(self) -> Head:
        """The last entry of the chain of records that is on the disk."""
        return self._trail.head

    @property
    def found_changed(self) -> int:
        """How many records this sidecar found changed by somebody else when it was to change them itself."""
        return self._trail.found

    def close(self) -> None:
        """Let go of the file. What was saved is on the disk already."""
        super().close()
        with self._write_lock:
            if self._held >= 0:
                self._write.close()
                os.close(self._held)
                self._held = -1

    def put(self, database: sqlite3.Connection, incident: Incident, spent_at_ns: int = 0) -> list[NewPage]:
        """Save the incident, new or changed, in a transaction of `writing`. A new outcome is added to its history.

        An incident that asks for pages makes them due in the same commit, so that no crash can part the two; they are
        returned. A recovery of its session is counted at ``spent_at_ns``, if that is not 0.
        """
        if spent_at_ns:
            row = (spent_at_ns, column(incident.session_file), incident.incident_id)
            database.execute("INSERT INTO recoveries VALUES (?, ?, ?)", row)
        return self._put(database, incident, self._clock())

    def recoveries_since(self, at_ns: int) -> list[Spent]:
        """The recoveries that budgets count, oldest first; those of an earlier life included."""
        with self.writing() as database:
            database.execute("DELETE FROM recoveries WHERE at_ns < ?", (at_ns,))
            rows = database.execute("SELECT at_ns, session_file FROM recoveries ORDER BY at_ns, rowid").fetchall()
        return [Spent(row[0], row[1].decode("utf-8", "surrogatepass")) for row in rows]

    def page_delivered(self, key: PageKey, destination: str, at_ns: int) -> None:
        """Record that one destination, named without its secrets, has taken the page: it is not sent there again."""
        with self._changing(key.incident_id) as database:
            database.execute("INSERT OR IGNORE INTO page_deliveries VALUES (?, ?, ?, ?)", (*key, destination, at_ns))

    def page_attempted(self, key: PageKey, at_ns: int, error: str | None) -> None:
        """Record an attempt that ended then. Without an error every destination has the page: it counts as sent."""
        with self._changing(key.incident_id) as database:
            database.execute(
                """
                UPDATE pages SET attempts = attempts + 1, last_error = ?, sent_at_ns = ?
                WHERE incident_id = ? AND about = ?
                """,
                (clean(error or ""), None if error is not None else at_ns, *key),
            )

    def page_gave_up(self, key: PageKey, at_ns: int, error: str) -> tuple[PageKey, ...]:
        """Record that no further attempt is made. Returns the pages that it covered: they are due by themselves now."""
        with self.writing() as database:
            covered = database.execute(
                "SELECT incident_id, about FROM pages WHERE covered_by = ? AND about = ? ORDER BY incident_id", key
            ).fetchall()
            with self._trail.changing(database, key.incident_id, *(row[0] for row in covered)):
                database.execute(
                    """
                    UPDATE pages SET gave_up_at_ns = ?, last_error = ?
                    WHERE incident_id = ? AND about = ? AND sent_at_ns IS NULL
                    """,
                    (at_ns, clean(error), *key),
                )
                database.execute("UPDATE pages SET covered_by = '' WHERE covered_by = ? AND about = ?", key)
        return tuple(PageKey(row[0], Subject(row[1])) for row in covered)

    def forget_before(self, opened_ns: int, most: int = MAX_FORGOTTEN) -> int:
        """Remove incidents that were opened earlier. Those still open, and those whose page is pending, stay.

        At most so many at once: to remove many takes time, and a gateway may be waiting. Returns how many were removed.
        """
        with self.writing() as database:
            old = [row[0] for row in database.execute(_OLD, (opened_ns, most))]
            self._trail.forgetting(database, old)
            for table, column_name in _TABLES_OF_INCIDENT:
                database.executemany(
                    f"DELETE FROM {table} WHERE {column_name} = ?",  # noqa: S608 - constants
                    [(incident_id,) for incident_id in old],
                )
            if old:
                self._trail.prune(database)
        return len(old)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction, for another room of the same file too; on the disk when the block is left.

        Raises:
            StoreError: It could not be committed; nothing of it was kept.
        """
        with self._write_lock, self._trail.committing(), transaction(self._write, self.path) as database:
            self._trail.look(database)
            yield database

    @contextmanager
    def _changing(self, incident_id: str) -> Iterator[sqlite3.Connection]:
        """A transaction that changes the record of that incident."""
        with self.writing() as database, self._trail.changing(database, incident_id):
            yield database

    def _put(self, database: sqlite3.Connection, incident: Incident, now_ns: int) -> list[NewPage]:
        with self._trail.changing(database, incident.incident_id):
            return _put(database, incident, now_ns)

    def _close_left_open(self) -> int:
        """Close what a sidecar that was killed could not. Returns how many there were."""
        now_ns = self._clock()
        with self.writing() as database:
            rows = database.execute("SELECT id, body FROM incidents WHERE closed_at_ns = 0").fetchall()
            for incident_id, body in rows:
                with understood(self.path, f"row {incident_id}"):
                    incident = decode(Incident, body)
                self._put(database, _closed_unseen(incident, now_ns), now_ns)
        return len(rows)


def _put(database: sqlite3.Connection, incident: Incident, now_ns: int) -> list[NewPage]:
    database.execute(
        """
        INSERT INTO incidents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET closed_at_ns = excluded.closed_at_ns, verdict = excluded.verdict,
            session = excluded.session, body = excluded.body
        """,
        (
            incident.incident_id,
            incident.opened_at_ns,
            incident.closed_at_ns,
            incident.verdict.value,
            column(incident.run.session),
            *map(column, names_of(incident.session_file)),
            encode(incident),
        ),
    )
    _note_change(database, incident, now_ns)
    made = [_make_due(database, PageKey(incident.incident_id, about), now_ns) for about in incident.paged_for]
    return [page for page in made if page is not None]


def _note_change(database: sqlite3.Connection, incident: Incident, now_ns: int) -> None:
    """Add to the history if anything of it has changed."""
    now = (
        incident.verdict.value,
        incident.recovery.outcome.value,
        encode(reason) if (reason := incident.recovery.reason) else "",
        incident.recovery.count,
        int(incident.turn_lost),
    )
    last = database.execute(
        """
        SELECT verdict, outcome, reason, count, turn_lost FROM incident_events
        WHERE incident_id = ? ORDER BY seq DESC LIMIT 1
        """,
        (incident.incident_id,),
    ).fetchone()
    if last != now:
        database.execute(
            """
            INSERT INTO incident_events (incident_id, at_ns, verdict, outcome, reason, count, turn_lost)
            VALUES (?, ?, ?, ?, ?, ?, ?)
            """,
            (incident.incident_id, now_ns, *now),
        )


def _make_due(database: sqlite3.Connection, key: PageKey, now_ns: int) -> NewPage | None:
    """Make a page due; None where that was done before."""
    if database.execute("SELECT 1 FROM pages WHERE incident_id = ? AND about = ?", key).fetchone() is not None:
        return None
    wanted = {"id": key.incident_id, "about": key.about.value, "since_ns": now_ns - COVERS_NS}
    found = database.execute(_COVERING, wanted).fetchone()
    covered_by = found[0] if found else ""
    database.execute(
        "INSERT INTO pages (incident_id, about, due_at_ns, covered_by) VALUES (?, ?, ?, ?)", (*key, now_ns, covered_by)
    )
    return NewPage(key, covered_by)


def _closed_unseen(incident: Incident, now_ns: int) -> Incident:
    """The incident with an end. Whether a command that was on its way took effect is not guessed."""
    recovery = incident.recovery
    if recovery.outcome in _UNSEEN:
        recovery = replace(recovery, reason=STOPPED)
    moment = Moment(now_ns, "sidecar started", "the end of this window was not seen")
    return replace(incident, closed_at_ns=now_ns, recovery=recovery, timeline=(*incident.timeline, moment))

"""The tables. The database's ``user_version`` says which schema it has."""

from typing import Final

APPLICATION_ID: Final = 0x0C1A_51DE
"""Marks the file as ours in SQLite's header, so that another program's database is never taken for it."""

VERSION: Final = 1
"""The schema that this release reads and writes. A fresh file has 0."""

TABLES: Final = (
    # The body is the whole incident as JSON in ASCII; the columns are only what is searched for. Text from
    # outside is kept as bytes: SQLite's text has to be UTF-8, and file names need not be.
    """
    CREATE TABLE incidents (
        id TEXT PRIMARY KEY,
        opened_at_ns INTEGER NOT NULL,
        closed_at_ns INTEGER NOT NULL,
        verdict TEXT NOT NULL,
        session BLOB NOT NULL,
        session_file BLOB NOT NULL,
        file_name BLOB NOT NULL,
        file_stem BLOB NOT NULL,
        body TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX incidents_by_time ON incidents (opened_at_ns, id)",
    "CREATE INDEX incidents_by_verdict ON incidents (verdict)",
    "CREATE INDEX incidents_left_open ON incidents (id) WHERE closed_at_ns = 0",
    # Rule 6: the intent and the outcome are both on record, the later one does not replace the earlier.
    """
    CREATE TABLE incident_events (
        seq INTEGER PRIMARY KEY,
        incident_id TEXT NOT NULL REFERENCES incidents (id),
        at_ns INTEGER NOT NULL,
        verdict TEXT NOT NULL,
        outcome TEXT NOT NULL,
        reason TEXT NOT NULL,
        count INTEGER NOT NULL,
        turn_lost INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE INDEX incident_events_by_incident ON incident_events (incident_id, seq)",
    # A page for each subject of an incident. covered_by is the incident whose page tells of this one too; empty for
    # a page of its own.
    """
    CREATE TABLE pages (
        incident_id TEXT NOT NULL REFERENCES incidents (id),
        about TEXT NOT NULL,
        due_at_ns INTEGER NOT NULL,
        sent_at_ns INTEGER,
        gave_up_at_ns INTEGER,
        attempts INTEGER NOT NULL DEFAULT 0,
        last_error TEXT NOT NULL DEFAULT '',
        covered_by TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (incident_id, about)
    ) STRICT
    """,
    """
    CREATE INDEX pages_pending ON pages (due_at_ns)
    WHERE sent_at_ns IS NULL AND gave_up_at_ns IS NULL AND covered_by = ''
    """,
    # A destination is named by a digest of its URL, which holds secrets.
    """
    CREATE TABLE page_deliveries (
        incident_id TEXT NOT NULL,
        about TEXT NOT NULL,
        destination TEXT NOT NULL,
        at_ns INTEGER NOT NULL,
        PRIMARY KEY (incident_id, about, destination),
        FOREIGN KEY (incident_id, about) REFERENCES pages (incident_id, about)
    ) STRICT, WITHOUT ROWID
    """,
    # The chain of what was saved, see sidecar.store.audit. Not bound to an incident, which may be gone.
    """
    CREATE TABLE audit (
        seq INTEGER PRIMARY KEY,
        at_ns INTEGER NOT NULL,
        step TEXT NOT NULL,
        subject TEXT NOT NULL,
        record BLOB NOT NULL,
        history BLOB NOT NULL,
        pages BLOB NOT NULL,
        previous BLOB NOT NULL,
        hash BLOB NOT NULL
    ) STRICT
    """,
    "CREATE INDEX audit_by_subject ON audit (subject, seq)",
    # What budgets are counted from; not bound to an incident, which may be forgotten earlier.
    """
    CREATE TABLE recoveries (
        at_ns INTEGER NOT NULL,
        session_file BLOB NOT NULL,
        incident_id TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX recoveries_by_time ON recoveries (at_ns)",
    # The body is the chain of custody of one file; the columns are only what is searched for.
    """
    CREATE TABLE chains (
        file BLOB PRIMARY KEY,
        session BLOB NOT NULL,
        file_name BLOB NOT NULL,
        file_stem BLOB NOT NULL,
        watched_ns INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX chains_by_time ON chains (watched_ns)",
    # One row: until when a sidecar is known to have watched.
    "CREATE TABLE watched (only_one INTEGER PRIMARY KEY CHECK (only_one = 1), at_ns INTEGER NOT NULL) STRICT",
    # A zlib stream of JSON: the events of the window that led to the incident.
    """
    CREATE TABLE recordings (
        incident_id TEXT PRIMARY KEY REFERENCES incidents (id),
        body BLOB NOT NULL
    ) STRICT
    """,
)

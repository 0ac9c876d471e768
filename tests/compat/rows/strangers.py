"""What a process without a link does to an agent's database."""

import json
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

BUSY_SECONDS: Final = 10.0


@contextmanager
def opened(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection that may write."""
    with closing(sqlite3.connect(database, isolation_level=None, timeout=BUSY_SECONDS)) as connection:
        # What the schema's checks ask for, and Python's SQLite may be too old to have.
        connection.create_function("octet_length", 1, _octets, deterministic=True)
        yield connection


def _octets(value: str | bytes | None) -> int | None:
    return None if value is None else len(value.encode() if isinstance(value, str) else value)


def _message(connection: sqlite3.Connection, session_id: str, role: str, *, named: bool = True) -> None:
    [(seq, parent)] = connection.execute(
        "SELECT seq, event_id FROM transcript_event_identities WHERE session_id = ? ORDER BY seq DESC LIMIT 1",
        (session_id,),
    )
    name = str(uuid.uuid4())
    message = {"role": role, "content": [{"type": "text", "text": "a stranger's"}], "timestamp": 1}
    event = {"type": "message", "id": name, "parentId": parent, "timestamp": "2026-01-01T00:00:00.000Z"}
    connection.execute(
        "INSERT INTO transcript_events (session_id, seq, event_json, created_at) VALUES (?, ?, ?, 1)",
        (session_id, seq + 1, json.dumps({**event, "message": message})),
    )
    if named:
        connection.execute(
            "INSERT INTO transcript_event_identities (session_id, event_id, seq, event_type, parent_id, created_at)"
            " VALUES (?, ?, ?, 'message', ?, 1)",
            (session_id, name, seq + 1, parent),
        )


def _user(connection: sqlite3.Connection, session_id: str) -> None:
    _message(connection, session_id, "user")


def _assistant(connection: sqlite3.Connection, session_id: str) -> None:
    _message(connection, session_id, "assistant")


def _nameless(connection: sqlite3.Connection, session_id: str) -> None:
    _message(connection, session_id, "user", named=False)


def _rewrite(connection: sqlite3.Connection, session_id: str) -> None:
    connection.execute(
        "UPDATE transcript_events SET event_json = replace(event_json, 'first', 'FIRST')"
        " WHERE session_id = ? AND event_json LIKE '%the first question%'",
        (session_id,),
    )


def _delete_last(connection: sqlite3.Connection, session_id: str) -> None:
    _delete(connection, session_id, "seq = (SELECT max(seq) FROM transcript_events WHERE session_id = ?1)")


def _delete_all(connection: sqlite3.Connection, session_id: str) -> None:
    _delete(connection, session_id, "TRUE")


def _delete(connection: sqlite3.Connection, session_id: str, which: str) -> None:
    # The identities first: which row is the last one is asked of the events.
    for table in ("transcript_event_identities", "transcript_events"):
        connection.execute(f"DELETE FROM {table} WHERE session_id = ?1 AND {which}", (session_id,))


def _generation(connection: sqlite3.Connection, session_id: str) -> None:
    connection.execute(
        "UPDATE transcript_rewrite_watermarks SET generation = 'a stranger''s' WHERE session_id = ?", (session_id,)
    )


def _claim(connection: sqlite3.Connection, session_id: str) -> None:
    connection.execute(
        "UPDATE session_nodes SET entry_json = json_set(entry_json, '$.activeWriterRunId', 'a stranger''s')"
        " WHERE current_session_id = ?",
        (session_id,),
    )


def _nothing(_connection: sqlite3.Connection, _session_id: str) -> None:
    pass


STRANGERS: Final[Mapping[str, Callable[[sqlite3.Connection, str], None]]] = {
    "nothing": _nothing,
    "user": _user,
    "assistant": _assistant,
    "nameless": _nameless,
    "rewrite": _rewrite,
    "delete_last": _delete_last,
    "delete_all": _delete_all,
    "generation": _generation,
    "claim": _claim,
}
"""Each makes one change to the transcript of a session, in a transaction of the caller's."""

"""A session in a database on stage: its rows, and another process that writes to it."""

import asyncio
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

from sidecar.demo.errors import ForeignActError

_INSERT: Final = """
import json, sqlite3, sys, uuid
database, session = sys.argv[1:]
connection = sqlite3.connect(database, timeout=10)
# The schema's checks ask for a function that the SQLite of an older Python does not have.
connection.create_function("octet_length", 1, lambda v: v if v is None else len(str(v).encode()), deterministic=True)
[[parent, last]] = connection.execute(
    "SELECT event_id, (SELECT max(seq) FROM transcript_events WHERE session_id = ?1)"
    " FROM transcript_event_identities WHERE session_id = ?1 ORDER BY seq DESC LIMIT 1", [session])
name = str(uuid.uuid4())
message = {"role": "user", "content": [{"type": "text", "text": "A stranger was here."}], "timestamp": 1}
event = {"type": "message", "id": name, "parentId": parent, "timestamp": "2026-01-01T00:00:00.000Z", "message": message}
connection.execute("INSERT INTO transcript_events (session_id, seq, event_json, created_at) VALUES (?, ?, ?, 1)",
    [session, last + 1, json.dumps(event)])
connection.execute("INSERT INTO transcript_event_identities"
    " (session_id, event_id, seq, event_type, parent_id, created_at) VALUES (?, ?, ?, 'message', ?, 1)",
    [session, name, last + 1, parent])
connection.commit()
"""


class SessionRows:
    """The rows of one session.

    Args:
        database: The agent's database, `sidecar.demo.gateway.Gateway.database`.
        session_key: For example ``agent:main:main``.
    """

    def __init__(self, database: Path, session_key: str) -> None:
        self._database = database
        self._key = session_key

    @property
    def session_id(self) -> str:
        """The id of the key's session now."""
        with self._reading() as connection:
            [(found,)] = connection.execute(
                "SELECT current_session_id FROM session_nodes WHERE session_key = ?", (self._key,)
            )
        return str(found)

    @property
    def transcript(self) -> str:
        """The name by which the sidecar knows it."""
        return f"{self._database.resolve()}#{self.session_id}"

    def lost_messages(self) -> int:
        """How many messages are in the database but no longer in the conversation, between its root and its end."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT event_id, parent_id, event_type FROM transcript_event_identities WHERE session_id = ?"
                " ORDER BY seq",
                (self.session_id,),
            ).fetchall()
        parents = {name: parent for name, parent, _kind in rows}
        messages = [name for name, _parent, kind in rows if kind == "message"]
        here, kept = messages[-1] if messages else None, set()
        while here is not None:
            kept.add(here)
            here = parents.get(here)
        return len(set(messages) - kept)

    async def insert_as_stranger(self) -> None:
        """Have a process that the gateway knows nothing of add a user's message.

        Raises:
            ForeignActError: It could not.
        """
        pipe = asyncio.subprocess.PIPE
        stranger = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-c", _INSERT, str(self._database), self.session_id), stderr=pipe
        )
        _, errors = await stranger.communicate()
        if stranger.returncode:
            raise ForeignActError("insert", errors.decode("utf-8", "replace"))

    def _reading(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True))

"""Where databases are: an agent's own, and the one that all agents of a state directory share."""

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final
from urllib.parse import quote

DATABASE: Final = "openclaw-agent.sqlite"
SUFFIXES: Final = ("-wal", "-shm", "-journal", "")
"""Of the files of a database, behind its name."""

SHARED: Final = "state/openclaw.sqlite"
QUARANTINE: Final = "state/openclaw-quarantine.sqlite"
"""OpenClaw's list of the databases that it found damaged."""

_WRITTEN: Final = (".sqlite", ".sqlite-wal", ".sqlite-journal")
_BUSY_SECONDS: Final = 1.0


def database_of(session_file: Path) -> Path:
    """The database that the sessions of the same agent are in, if they are in one: ``agents/ID/agent/``."""
    return session_file.parent.parent / "agent" / DATABASE


def written_database(name: str) -> str:
    """The name of the database that a write to a file of this name is one to; empty where it is to none.

    ``-shm`` is mapped into memory and holds nothing of the database.
    """
    return f"{name.partition('.sqlite')[0]}.sqlite" if name.endswith(_WRITTEN) else ""


def holds_sessions(database: Path) -> bool:
    """Sessions are in this database. False where it is not there, or can't be read."""
    if not database.is_file():
        return False
    uri = f"file:{quote(str(database))}?mode=ro"
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)) as connection,
    ):
        return connection.execute("SELECT 1 FROM transcript_events LIMIT 1").fetchone() is not None
    return False


def databases_of(state_dir: Path) -> tuple[str, ...]:
    """The real paths of all databases that a gateway keeps below its state directory; the shared one is the last."""
    found = [*sorted(state_dir.glob(f"agents/*/agent/{DATABASE}")), state_dir / SHARED]
    return tuple(os.path.realpath(path) for path in found if path.is_file())

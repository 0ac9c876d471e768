"""Short read-only queries of what OpenClaw keeps about its databases. Columns are looked at first: schemas differ."""

import contextlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

BUSY_SECONDS: Final = 0.25


def lease_owners(shared: Path) -> set[tuple[int, int | None]]:
    """Who says that it has a database of an agent open: pid, and its start in clock ticks where that is kept.

    Raises:
        sqlite3.Error: It can't be read now.
    """
    rows = _select(shared, "agent_database_leases", ("owner_pid", "owner_start_time"))
    return {(pid, start if isinstance(start, int) else None) for pid, start in rows if isinstance(pid, int)}


def quarantined(store: Path) -> tuple[str, ...]:
    """The databases that OpenClaw refuses to open, because it found them damaged, by the names that it has for them.

    Raises:
        sqlite3.Error: It can't be read now.
    """
    return tuple(sorted(str(path) for (path,) in _select(store, "quarantined_databases", ("path",))))


def _select(database: Path, table: str, columns: Iterable[str]) -> list[Any]:
    """Those columns of all rows; none where there is no such file or table, or it has not all of them."""
    if not database.is_file():
        return []
    wanted = tuple(columns)
    uri = f"file:{quote(str(database))}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as connection:
        there = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        if not there.issuperset(wanted):
            return []
        return connection.execute(f"SELECT {', '.join(wanted)} FROM {table}").fetchall()  # noqa: S608 - names of ours

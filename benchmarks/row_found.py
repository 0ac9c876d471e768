"""How soon a row that a stranger commits is found, while a run stands on the transcript."""

import asyncio
import sqlite3
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sidecar.demo.companion import Companion
from sidecar.demo.packages import default_cache_dir, ensure_gateway
from sidecar.preload import preload_path
from tests.compat.measure import LineProcess
from tests.compat.rows.measure import database_of, driven_gateway
from tests.compat.rows.strangers import STRANGERS, opened

RELEASE: Final = "2026.9.6"
ROWS: Final = 200
WARM_UP: Final = 5


def measure_row_found() -> Iterator[dict[str, Any]]:
    """From the return of the stranger's COMMIT to the verdict, each in a session of its own."""
    yield asyncio.run(_measure())


async def _measure() -> dict[str, Any]:
    package = ensure_gateway(RELEASE, default_cache_dir(), lambda _line: None)
    with tempfile.TemporaryDirectory(prefix="ocr-") as directory:
        work = Path(directory)
        (work / "state").mkdir()
        async with AsyncExitStack() as stack:
            sidecar = Companion(work / "state", work / "sidecar", work / "s.sock", believes=package.node)
            await stack.enter_async_context(sidecar)
            preload = ("--import", str(preload_path()))
            gateway = await stack.enter_async_context(driven_gateway(package, work, preload))
            await sidecar.wait_linked(gateway.pid)
            found = [await _found(gateway, sidecar, database_of(work)) for _ in range(WARM_UP + ROWS)][WARM_UP:]
    found.sort()
    return {
        "rows": len(found),
        "median_ms": round(statistics.median(found), 1),
        "p99_ms": round(found[int(len(found) * 0.99)], 1),
        "highest_ms": round(found[-1], 1),
    }


async def _found(gateway: LineProcess, sidecar: Companion, database: Path) -> float:
    """Milliseconds for one row."""
    session_id = str(uuid.uuid4())
    await gateway.tell({"id": session_id, "operation": "nothing", "tool": False, "held": False})
    await gateway.hear()
    await sidecar.wait_for(lambda status: status["windows"] > 0)
    with opened(database) as connection:
        committed = _committed(connection, session_id)
    incident: dict[str, Any] = {}
    while not incident:
        incident = next(iter(await sidecar.incidents(f"agent:main:{session_id}")), {})
        await asyncio.sleep(0.05)
    await gateway.tell({"go": True})
    await gateway.hear()
    await sidecar.wait_for(lambda status: status["windows"] == 0)
    return datetime.fromisoformat(incident["opened_at"]).timestamp() * 1000 - committed


def _committed(connection: sqlite3.Connection, session_id: str) -> float:
    """A stranger commits a row; when, in milliseconds since the epoch."""
    connection.execute("BEGIN IMMEDIATE")
    STRANGERS["user"](connection, session_id)
    connection.execute("COMMIT")
    return time.time() * 1000

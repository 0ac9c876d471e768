"""What a sidecar costs where nothing happens: with session files and no gateway, and with databases of a linked one."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import psutil

from sidecar.demo.companion import Companion
from sidecar.wire import messages as wire
from sidecar.wire.codec import encode

ROOMS: Final = ((1, 0, False), (10_000, 0, False), (1, 0, True), (1, 10, True))
"""Session files, databases that somebody has open, and whether a gateway is linked and has spoken of these."""

HOLD: Final = """
import sqlite3, sys
opened = [sqlite3.connect(path) for path in sys.argv[1:]]
for database in opened:
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE transcript_events (session_id, seq, event_json, created_at)")
    database.execute("CREATE TABLE transcript_rewrite_watermarks (session_id, generation)")
    database.execute("CREATE TABLE transcript_event_identities"
                     " (session_id, event_id, seq, event_type, parent_id, message_idempotency_key)")
    database.execute("INSERT INTO transcript_events VALUES ('s', 0, '{}', 0)")
    database.commit()
print(flush=True)
sys.stdin.readline()
"""
"""A process that has databases open."""
FIRST_SECONDS: Final = 30.0
AFTER_SECONDS: Final = 60.0


def measure_idle() -> Iterator[dict[str, Any]]:
    """Share of one core, in the first half minute with the start and after it, and memory; with few and many files."""
    yield from asyncio.run(_all())


async def _all() -> list[dict[str, Any]]:
    """One beside the other: each spends what it spends in CPU time, which the other does not change."""
    return await asyncio.gather(*(_one(*room) for room in ROOMS))


async def _one(files: int, databases: int, linked: bool) -> dict[str, Any]:  # noqa: FBT001 - of the table above
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        sessions = work / "state" / "agents" / "main" / "sessions"
        sessions.mkdir(parents=True)
        for number in range(files):
            (sessions / f"{number:08x}-5f0e-4a7e-9c55-3d1f20b7c8aa.jsonl").write_bytes(b'{"type":"session"}\n')
        async with (
            _opened(work / "state", databases) as names,
            Companion(work / "state", work, work / "link.sock", believes=Path(sys.executable)) as sidecar,
            _linked(sidecar.socket, names) if linked else nullcontext(),
        ):
            process = psutil.Process(sidecar.pid)
            start = cpu_seconds(process)
            await asyncio.sleep(FIRST_SECONDS - (time.time() - process.create_time()))
            first, began = cpu_seconds(process), time.monotonic()
            await asyncio.sleep(AFTER_SECONDS)
            after = (cpu_seconds(process) - first) / (time.monotonic() - began)
            return {
                "session_files": files,
                "databases": databases,
                "linked": linked,
                "startcpu_seconds": round(start, 2),
                "first_30_s": f"{first / FIRST_SECONDS:.2%}",
                "after": f"{after:.2%}",
                "rss_mb": round(process.memory_info().rss / 1e6, 1),
            }


@asynccontextmanager
async def _opened(state_dir: Path, count: int) -> AsyncIterator[list[str]]:
    """Databases that a process has open."""
    agents = [state_dir / "agents" / f"agent-{number}" / "agent" for number in range(count)]
    for agent in agents:
        agent.mkdir(parents=True)
    names = [str(agent.resolve() / "openclaw-agent.sqlite") for agent in agents]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLD, *names), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        if process.stdout is not None:
            await process.stdout.readline()
        yield names
    finally:
        await process.communicate(b"\n")


@asynccontextmanager
async def _linked(socket: Path, databases: list[str]) -> AsyncIterator[None]:
    """A gateway that has spoken of these databases, and says nothing more."""
    reader, writer = await asyncio.open_unix_connection(socket)
    at = str(time.time_ns())
    hello = wire.Hello(seq=1, at=at, protocol=wire.PROTOCOL, pid=os.getpid(), openclaw="2026.9.6", preload="bench")
    writer.write(encode(hello))
    await reader.readline()  # the challenge
    await reader.readline()
    for seq, database in enumerate(databases, 2):
        who = wire.WireWriter(kind="user_turn", run="run-1")
        row = wire.WireRow(seq=0, size=2, sha256="0" * 64)
        after = f"rows:g1:0:{'0' * 64}"
        told = wire.Committed(
            seq=seq, at=at, file=f"{database}#s", change=f"r{seq}", op="append", after=after, writer=who, rows=(row,)
        )
        writer.write(encode(told))
    await writer.drain()
    try:
        yield
    finally:
        writer.close()


def cpu_seconds(process: psutil.Process) -> float:
    """What a process has spent until now."""
    times = process.cpu_times()
    return float(times.user + times.system)

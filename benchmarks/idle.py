"""What a sidecar costs with which no gateway is linked."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psutil

from sidecar.demo.companion import Companion

FILES: Final = (1, 10_000)
FIRST_SECONDS: Final = 30.0
AFTER_SECONDS: Final = 60.0


def measure_idle() -> Iterator[dict[str, Any]]:
    """Share of one core, in the first half minute with the start and after it, and memory; with one file and many."""
    yield from asyncio.run(_all())


async def _all() -> list[dict[str, Any]]:
    """One beside the other: each spends what it spends in CPU time, which the other does not change."""
    return await asyncio.gather(*(_one(count) for count in FILES))


async def _one(count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        sessions = work / "state" / "agents" / "main" / "sessions"
        sessions.mkdir(parents=True)
        for number in range(count):
            (sessions / f"{number:08x}-5f0e-4a7e-9c55-3d1f20b7c8aa.jsonl").write_bytes(b'{"type":"session"}\n')
        async with Companion(work / "state", work, work / "link.sock") as sidecar:
            process = psutil.Process(sidecar.pid)
            start = cpu_seconds(process)
            await asyncio.sleep(FIRST_SECONDS - (time.time() - process.create_time()))
            first, began = cpu_seconds(process), time.monotonic()
            await asyncio.sleep(AFTER_SECONDS)
            after = (cpu_seconds(process) - first) / (time.monotonic() - began)
            return {
                "session_files": count,
                "startcpu_seconds": round(start, 2),
                "first_30_s": f"{first / FIRST_SECONDS:.2%}",
                "after": f"{after:.2%}",
                "rss_mb": round(process.memory_info().rss / 1e6, 1),
            }


def cpu_seconds(process: psutil.Process) -> float:
    """What a process has spent until now."""
    times = process.cpu_times()
    return float(times.user + times.system)

"""What preload and sidecar cost a whole gateway whose sessions are in a database: its start, and a turn."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from sidecar.demo.companion import Companion
from sidecar.demo.gateway import Gateway
from sidecar.demo.model import SlowModel
from sidecar.demo.packages import default_cache_dir, ensure_gateway
from sidecar.preload import preload_path

RELEASE: Final = "2026.9.6"
WARM_UP: Final = 5
TURNS: Final = 60
STARTS: Final = 8
START_SECONDS: Final = 240.0
TURN_SECONDS: Final = 90.0


def measure_turn() -> Iterator[dict[str, Any]]:
    """Turns of two gateways that take turns; the model answers at once. Each has one session, which grows."""
    yield asyncio.run(_turns())


def measure_boot() -> Iterator[dict[str, Any]]:
    """From the start of the process to "ready", of two gateways that are started one after the other."""
    yield asyncio.run(_starts())


async def _turns() -> dict[str, Any]:
    times: dict[str, list[float]] = {"plain": [], "watched": []}
    async with _gateways() as gateways:
        for gateway in gateways.values():
            await gateway.start(START_SECONDS)
        for number in range(WARM_UP + TURNS):
            for name in list(times)[:: 1 if number % 2 else -1]:
                done = await gateways[name].turn("agent:main:bench", f"question {number}", TURN_SECONDS)
                assert done.answered, done
                if number >= WARM_UP:
                    times[name].append(done.elapsed_seconds)
    return _compared(times)


async def _starts() -> dict[str, Any]:
    times: dict[str, list[float]] = {"plain": [], "watched": []}
    async with _gateways() as gateways:
        for number in range(1 + STARTS):
            for name in list(times)[:: 1 if number % 2 else -1]:
                began = time.monotonic()
                await gateways[name].start(START_SECONDS)
                if number:  # the first one makes its state
                    times[name].append(time.monotonic() - began)
                await gateways[name].stop()
    return _compared(times)


@asynccontextmanager
async def _gateways() -> AsyncIterator[Mapping[str, Gateway]]:
    """One by itself, and one with preload and sidecar; not started, and stopped at the end."""
    package = ensure_gateway(RELEASE, default_cache_dir(), lambda _line: None)
    with tempfile.TemporaryDirectory(prefix="ocg-") as directory:
        work = Path(directory)
        async with AsyncExitStack() as stack:
            model = await stack.enter_async_context(SlowModel(answer_after_seconds=0.0))
            linked = {
                "NODE_OPTIONS": f"--import={preload_path()}",
                "OPENCLAW_SIDECAR_SOCKET": str(work / "s.sock"),
            }
            gateways = {
                name: Gateway(package, work / name, model.base_url, env)
                for name, env in {"plain": {}, "watched": linked}.items()
            }
            watched = gateways["watched"]
            watched.state_dir.mkdir(parents=True)
            await stack.enter_async_context(Companion(watched.state_dir, work, work / "s.sock"))
            for gateway in gateways.values():
                stack.push_async_callback(gateway.stop)
            yield gateways


def _compared(times: Mapping[str, list[float]]) -> dict[str, Any]:
    ratios = sorted(watched / plain for plain, watched in zip(times["plain"], times["watched"], strict=True))
    return {
        **{f"{name}_ms": round(1000 * statistics.median(found), 1) for name, found in times.items()},
        "ratio": round(statistics.median(ratios), 3),
        "ratio_quartiles": [round(q, 3) for q in statistics.quantiles(ratios)[::2]],
    }

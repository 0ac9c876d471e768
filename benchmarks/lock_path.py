"""What preload and sidecar cost the session lock of a release: acquired, a record appended, given back."""

import asyncio
import os
import re
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from benchmarks.attribution_worker import Worker, working
from sidecar.demo.companion import Companion
from sidecar.demo.packages import default_cache_dir, ensure_gateway
from sidecar.preload import preload_path

RELEASE: Final = "2026.5.18"
MODES: Final = ("stock", "preload", "preload and sidecar")
ROUNDS: Final = 30
CYCLES: Final = 200
"""Of each mode in a round: the modes take turns, so that what else the machine does meets all of them."""

_DECLARED: Final = re.compile(r"^(?:async )?function acquireSessionWriteLock\(", re.MULTILINE)


def measure_lock_path() -> Iterator[dict[str, Any]]:
    """Medians, and their ratios to stock in the same round.

    First with gateway and sidecar on any core, then each on a core of its own: there the ratio is the preload's work
    alone. What the first row has beyond that is two processes that share the machine.
    """
    yield asyncio.run(_measure(apart=False))
    if len(os.sched_getaffinity(0)) > 1:
        yield asyncio.run(_measure(apart=True))


async def _measure(*, apart: bool) -> dict[str, Any]:
    package = ensure_gateway(RELEASE, default_cache_dir(), lambda _line: None)
    module = next(p for p in sorted(package.cli.with_name("dist").glob("*.js")) if _DECLARED.search(p.read_text()))
    first, second, *_ = [*sorted(os.sched_getaffinity(0)), -1]
    with tempfile.TemporaryDirectory(prefix="ocl-") as directory:
        root = Path(directory)
        sessions = root / "state" / "agents" / "main" / "sessions"
        sessions.mkdir(parents=True)
        companion = Companion(root / "state", root, root / "s.sock", believes=package.node)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(companion)
            workers: dict[str, Worker] = {}
            for mode in MODES:
                environment = {
                    "PATH": os.environ.get("PATH", os.defpath),
                    "HOME": directory,
                    "OPENCLAW_STATE_DIR": str(root / "state"),
                    "OPENCLAW_SIDECAR_SOCKET": str(root / ("s.sock" if mode == MODES[2] else "none.sock")),
                }
                preload = () if mode == MODES[0] else ("--import", preload_path())
                command = (package.node, *preload, Path(__file__).with_name("lock_path.mjs"), module.as_uri())
                workers[mode] = await stack.enter_async_context(working(command, environment, root / "stderr.log"))
                await workers[mode].ready()
            if apart:
                _pin(companion.pid, second)
                for worker in workers.values():
                    _pin(worker.pid, first)
            times: dict[str, list[float]] = {mode: [] for mode in MODES}
            spent: dict[str, list[float]] = {mode: [] for mode in MODES}
            for number in range(ROUNDS + 1):
                for mode, worker in workers.items():
                    done = await worker.do("cycles", file=str(sessions / f"{mode}.jsonl"), count=str(CYCLES))
                    if number:  # the first round compiles
                        times[mode].append(statistics.median(done["times"]))
                        spent[mode].append(done["cpu"])
    found: dict[str, Any] = {"cores": "one each" if apart else "shared"}
    for mode in MODES:
        name = mode.replace(" ", "_")
        found[f"{name}_us"], found[f"{name}_cpu_us"] = (round(statistics.median(x[mode])) for x in (times, spent))
        if mode != MODES[0]:
            found[f"{name}_ratio"] = _ratio(times[mode], times[MODES[0]])
            found[f"{name}_cpu_ratio"] = _ratio(spent[mode], spent[MODES[0]])
    return found


def _ratio(found: list[float], stock: list[float]) -> float:
    """The median of the rounds' ratios."""
    return round(statistics.median(a / b for a, b in zip(found, stock, strict=True)), 3)


def _pin(pid: int, core: int) -> None:
    """Keep all threads of a process on one core; those that it starts later inherit that."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})

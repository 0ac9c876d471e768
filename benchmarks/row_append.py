"""What preload and sidecar cost a run's append to a database: from BEGIN to the return of COMMIT."""

import asyncio
import os
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.attribution_worker import Worker, working
from sidecar.demo.companion import Companion
from sidecar.demo.packages import default_cache_dir, ensure_gateway
from sidecar.preload import preload_path
from tests.compat.rows.measure import HARNESS

RELEASE: Final = "2026.9.6"
AGENTS: Final = ("plain", "hooked")
WARM_UP: Final = 3
APPENDS: Final = 10
"""Of each agent in a round: they take turns, so that what else the machine does meets both."""
THINKING_MS: Final = {"burst": (0, 300), "turn": (40, 60)}
"""Between two appends of a run, and rounds: one after the other, and as a run does that awaits its model."""

APART_SECONDS: Final = 0.02
"""Between two turns: what the sidecar does with one is over before the next."""


def measure_row_append() -> Iterator[dict[str, Any]]:
    """Medians of one process in which one agent's database is hooked, and their ratio in the same round."""
    for name, (thinking_ms, rounds) in THINKING_MS.items():
        yield {"appends": name, **asyncio.run(_measure(thinking_ms, rounds))}


async def _measure(thinking_ms: int, rounds: int) -> dict[str, Any]:
    package = ensure_gateway(RELEASE, default_cache_dir(), lambda _line: None)
    with tempfile.TemporaryDirectory(prefix="ocl-") as directory:
        root = Path(directory)
        (root / "state").mkdir()
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": directory,
            "OPENCLAW_STATE_DIR": str(root / "state"),
            "OPENCLAW_SIDECAR_SOCKET": str(root / "s.sock"),
            "COMPAT_DIST": str(package.cli.with_name("dist")),
        }
        command = (package.node, "--import", HARNESS / "loader.mjs", "--import", preload_path())
        script = Path(__file__).with_name("row_append.mjs")
        async with (
            Companion(root / "state", root, root / "s.sock", believes=package.node) as companion,
            working((*command, script), environment, root / "stderr.log") as worker,
        ):
            await companion.wait_linked(worker.pid)
            # The first ones compile.
            done = [await _round(worker, number, thinking_ms) for number in range(WARM_UP + rounds)][WARM_UP:]
    found: dict[str, Any] = {}
    for what in ("times", "cpu"):
        by_agent = {agent: [found[agent][what] for found in done] for agent in AGENTS}
        plain, hooked = (by_agent[agent] for agent in AGENTS)
        found |= {f"{agent}_{what}_us": round(statistics.median(values)) for agent, values in by_agent.items()}
        ratios = sorted(after / before for after, before in zip(hooked, plain, strict=True))
        found[f"{what}_ratio"] = round(statistics.median(ratios), 3)
        found[f"{what}_ratio_quartiles"] = [round(q, 3) for q in statistics.quantiles(ratios)[::2]]
    return found


async def _round(worker: Worker, number: int, thinking_ms: int) -> dict[str, dict[str, float]]:
    found = {}
    for agent in AGENTS if number % 2 else AGENTS[::-1]:
        done = await worker.do("appends", agent=agent, count=str(APPENDS), thinking=str(thinking_ms))
        found[agent] = {"times": statistics.median(done["times"]), "cpu": done["cpu"]}
        await asyncio.sleep(APART_SECONDS)
    return found

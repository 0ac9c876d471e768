"""What the account of writes costs the gateway, per append."""

import json
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sidecar.demo.packages import default_cache_dir, ensure_gateway
from sidecar.preload import preload_path

ROUNDS: Final = 2000
TURNS: Final = 5


def measure_account() -> Iterator[dict[str, Any]]:
    """Median time of one append of 1.5 kB with and without the account, in processes of real Node that take turns."""
    node = ensure_gateway("2026.5.18", default_cache_dir(), lambda _line: None).node
    runs: dict[str, list[dict[str, float]]] = {"plain": [], "watched": []}
    for _ in range(TURNS):
        for mode, found in runs.items():
            found.append(_run(node, mode))
    assert all(run["reports"] == ROUNDS for run in runs["watched"])
    for file in ("session", "other"):
        plain, watched = (statistics.median(run[file] for run in runs[mode]) for mode in ("plain", "watched"))
        yield {
            "file": file,
            "plain_us": round(plain, 1),
            "watched_us": round(watched, 1),
            "ratio": round(watched / plain, 2),
        }


def _run(node: Path, mode: str) -> dict[str, float]:
    script = Path(__file__).with_name("account.mjs")
    with tempfile.TemporaryDirectory() as directory:
        output = subprocess.run(
            [str(node), str(script), directory, str(preload_path().parent), mode, str(ROUNDS)],
            check=True,
            capture_output=True,
            timeout=120,
        ).stdout
    found: dict[str, float] = json.loads(output)
    return found

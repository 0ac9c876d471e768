"""What the account of writes costs the gateway, per append."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sidecar.demo.packages import default_cache_dir, ensure_gateway
from sidecar.preload import preload_path

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS: Final = 4000


def measure_account() -> Iterator[dict[str, Any]]:
    """Median time of one append of 1.5 kB, with and without the account, alternating in one process of real Node."""
    node = ensure_gateway("2026.5.18", default_cache_dir(), lambda _line: None).node
    script = Path(__file__).with_name("account.mjs")
    with tempfile.TemporaryDirectory() as directory:
        output = subprocess.run(
            [str(node), str(script), directory, str(preload_path().parent), str(ROUNDS)],
            check=True,
            capture_output=True,
            timeout=120,
        ).stdout
    found = json.loads(output)
    assert found["reports"] == ROUNDS
    for path in ("session", "other"):
        row = found[path]
        yield {
            "file": path,
            "plain_us": round(row["plain_us"], 1),
            "watched_us": round(row["watched_us"], 1),
            "ratio": round(row["watched_us"] / row["plain_us"], 2),
        }

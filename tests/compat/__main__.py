"""`make compat`: measure every release and write docs/compatibility.md."""

import asyncio
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.compat import table
from tests.compat.catalogue import measure_release
from tests.compat.expectations import disagreements, problems
from tests.compat.measure import Measured
from tests.compat.scenarios import RELEASES, stock_matrix

DOCUMENT = Path(__file__).parents[2] / "docs" / "compatibility.md"


async def main() -> int:
    """Measure one release after the other; the exit code is 1 when a cell is not as it must be."""
    measured: list[Measured] = []
    wrong = 0
    matrix = stock_matrix()
    for version in RELEASES:
        started = time.monotonic()
        release = await measure_release(version)
        measured.append(release)
        said = [
            f"    stock: {name} ({writer}): {what}"
            for (name, writer), what in disagreements(matrix[version], release.stock).items()
        ]
        said += [
            f"    {name} ({writer}): {what}"
            for (name, writer), cell in release.guarded.items()
            for what in problems(name, writer, release.stock[name, writer], cell)
        ]
        wrong += len(said)
        _say(f"{version:10} {release.adapter:8} {time.monotonic() - started:5.1f} s", *said)
    DOCUMENT.write_text(table.document(measured, datetime.now(UTC).date()))
    _say(f"wrote {DOCUMENT.name}; {wrong} cells are not as they must be")
    return 1 if wrong else 0


def _say(*lines: str) -> None:
    sys.stdout.write("\n".join([*lines, ""]))
    sys.stdout.flush()


sys.exit(asyncio.run(main()))

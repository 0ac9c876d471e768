"""`make compat`: measure every release and write docs/compatibility.md."""

import asyncio
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from sidecar.demo.packages import default_cache_dir, ensure_gateway
from tests.compat import table
from tests.compat.catalogue import measure_release
from tests.compat.expectations import disagreements, problems
from tests.compat.measure import Measured
from tests.compat.rows.expectations import problems as row_problems
from tests.compat.rows.measure import MeasuredRows, measure_rows
from tests.compat.rows.scenarios import RELEASES as ROW_RELEASES
from tests.compat.scenarios import RELEASES, stock_matrix

DOCUMENT = Path(__file__).parents[2] / "docs" / "compatibility.md"


async def main() -> int:
    """Measure one release after the other; the exit code is 1 when a cell is not as it must be."""
    files, wrong_files = await _files()
    rows, wrong_rows = await _rows()
    wrong = wrong_files + wrong_rows
    DOCUMENT.write_text(table.document(files, rows, datetime.now(UTC).date()))
    _say(f"wrote {DOCUMENT.name}; {wrong} cells are not as they must be")
    return 1 if wrong else 0


async def _files() -> tuple[list[Measured], int]:
    """The releases whose fence is on a file, and how many cells are wrong."""
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
    return measured, wrong


async def _rows() -> tuple[list[MeasuredRows], int]:
    """The releases whose sessions are rows of a database, and how many cells are wrong."""
    measured: list[MeasuredRows] = []
    wrong = 0
    for version in ROW_RELEASES:
        started = time.monotonic()
        package = await asyncio.to_thread(ensure_gateway, version, default_cache_dir(), _say)
        release = await measure_rows(package)
        measured.append(release)
        said = [f"    {name}: {what}" for name, found in row_problems(release).items() for what in found]
        wrong += len(said)
        _say(f"{version:10} {release.adapter:8} {time.monotonic() - started:5.1f} s", *said)
    return measured, wrong


def _say(*lines: str) -> None:
    sys.stdout.write("\n".join([*lines, ""]))
    sys.stdout.flush()


sys.exit(asyncio.run(main()))

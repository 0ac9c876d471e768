"""docs/compatibility.md: written from what was measured, and read again to be compared."""

import re
from collections.abc import Sequence
from datetime import date
from typing import Final

from tests.compat.measure import Cell, Measured
from tests.compat.rows import table as row_table
from tests.compat.rows.measure import MeasuredRows
from tests.compat.scenarios import SCENARIOS, Scenario, Writer

_TITLES: Final = {
    Writer.COTENANT: "A co-tenant in the gateway's process",
    Writer.DECLARED: "A declared co-tenant outside the gateway",
    Writer.FOREIGN: "A foreign process",
    Writer.OWN: "The run itself",
}

_METADATA: Final = "own metadata records outside the lock; custom; label; session_info; model_change"
_MIRRORS: Final = "own delivery mirrored; mirror by the release's own append; delivery-mirror; side mirror + leaf(side)"

_REPORTS: Final = (
    ("#84046, #95228, #86572", "the run writes outside its lock", "own unlocked write + onMessagePersisted refresh"),
    (
        "(2026.5.18, 5.19)",
        "a write under the lock throws, and the fence is not refreshed",
        "own locked write that then throws",
    ),
    (
        "#90729",
        "auto-compaction while the model is called",
        "own compaction record outside the lock; compaction-style shrink rewrite",
    ),
    ("#95672", "tool results are cut to size", "own tool results truncated"),
    ("#93193", "metadata records, by the run or beside it", f"{_METADATA}; thinking_level_change"),
    ("#90307", "a delivered message is mirrored into the session", _MIRRORS),
    (
        "#86801, #113019",
        "the lock is held for longer than the run waits",
        "one lock timeout, then retry; lock timeout while a user msg is written",
    ),
)
"""Upstream's numbers, what was reported, and which columns show it."""

_HEAD: Final = """\
# Compatibility

Every stable release from 2026.5.18 to 2026.9.6, driven through changes to a session while the model is called, by
itself and with preload and sidecar. Written by `make compat`; do not edit. Measured on {date}.

Up to 2026.7.35 a session is a file, and the fence is on that file: what follows is about these releases. From 2026.8.1
on it is rows of a database: [Sessions in a database](#sessions-in-a-database).

The release by itself is held against the fence matrix that was measured before (`tests/compat/fence-matrix.tsv`).
In every column the run writes twice after the change. Not in that matrix:
`{extra}`.

In each cell: what the release does by itself → what it does with the sidecar.

| word | meaning |
|---|---|
| ok | the run goes on, every record is on the one line of history |
| fork | the run goes on, but a record is beside the line of history: the conversation goes on without it |
| trip | the fence stops the run |
| recovered | the fence was moved (or the run was let wait for the lock), it goes on, nothing off the line of history |
| refused | the fence stops the run: a known writer rewrote what the run can't read again |
| reset | the fence stops the run: the gateway itself removed the session |
| stopped | the fence stops the run: the bytes came from outside |
| ! | and a person is paged, once |

## The gateway's own false alarms

Each of these reports is a column below, or two; the test fails where the run is lost in it, or a person is paged.

{reports}

## What is real here and what is driven

- Real, from the published package: the fence (`createEmbeddedAttemptSessionLockController`), the session lock
  (`acquireSessionWriteLock`), the session manager, its guard and its preparation (`guardSessionManager`,
  `prepareSessionManagerForRun`) and the append that channels and injected notes go through
  (`appendSessionTranscriptMessage`), and the truncation of tool results
  (`truncateOversizedToolResultsInSessionManager`), each with every declaration of the bundle that it reaches, unchanged
  (`tests/compat/harness/region.mjs`). Releases before 2026.5.28 have their session manager from
  `@earendil-works/pi-coding-agent`, in the version that they name.
- Real, from here: the preload in the gateway's process, the sidecar as a process of its own, and the page.
- Driven: the run between them. `tests/compat/harness/run.mjs` opens, fences, appends and cleans up in the order of the
  bundle's `runEmbeddedAttempt`; there is no agent and no model in it. Whole gateways are run by `tests/e2e`.
- It comes to its fence before each record. In a whole 2026.5.22 (and, as read, 2026.5.26 and 2026.5.27) it does so only
  as the model's call begins: the agent of these releases has no more the method that the gateway guards. There no turn
  is stopped. By itself such a run goes on beside what came in; with a sidecar, a co-tenant's record is on the line that
  the run continues, if it was approved by then (`tests/e2e/test_unwatched_fence.py`).
- Replaced: npm packages that the reached code imports. None does work in these scenarios, but to make identifiers:
  {stand_ins}.
- A co-tenant writes in the gateway's process through `node:fs`, under the session lock, outside the run. A foreign
  process has no preload, and no lock but where the column is about one.
- A declared co-tenant is a process of its own with the code of `openclaw-sidecar write`: it links to the sidecar, takes
  the session lock, announces its bytes and writes them. Where no byte changes, and where the session is deleted, its
  COMMAND does so to the session itself. What it only adds it appends, to the same inode. By itself it does the same
  with nobody to announce to.
- A `fork` in 2026.5.20 to 2026.6.8 is an accident: the run does not know of the record. From 2026.6.9 the release puts
  what it forgives beside the line on purpose, and says so in a `leaf` record.
"""


def document(measured: Sequence[Measured], rows: Sequence[MeasuredRows], today: date) -> str:
    """The whole page."""
    stand_ins = sorted({name.partition(" (")[2].rstrip(")") for release in measured for name in release.stand_ins})
    parts = [head(today.isoformat(), ", ".join(f"`{name}`" for name in stand_ins))]
    for writer in Writer:
        chosen = [scenario for scenario in SCENARIOS if writer in scenario.writers]
        lines = [_line(["release", *map(_heading, chosen)]), "|---" * (len(chosen) + 1) + "|"]
        lines += [row(release, writer) for release in measured]
        parts.append(f"## {_TITLES[writer]}\n\n" + "\n".join(lines) + "\n")
    lines = ["| release | adapter | npm integrity |", "|---|---|---|", *(package_row(release) for release in measured)]
    parts.append("## Packages\n\n" + "\n".join(lines) + "\n")
    parts.append(row_table.part(rows, today))
    return "\n".join(parts)


def head(date: str, stand_ins: str) -> str:
    """All before the tables."""
    extra = "`, `".join(_heading(scenario) for scenario in SCENARIOS if not scenario.in_matrix)
    reports = "\n".join(map(_line, (("reported", "what it was", "column"), ("---",) * 3, *_REPORTS)))
    return _HEAD.format(date=date, stand_ins=stand_ins, extra=extra, reports=reports)


def headings() -> list[str]:
    """The names of all columns."""
    return [_heading(scenario) for scenario in SCENARIOS]


def row(release: Measured, writer: Writer) -> str:
    """A release's line in the table of a writer."""
    keys = [(scenario.name, writer) for scenario in SCENARIOS if writer in scenario.writers]
    return _line(
        [release.version, *(f"{_stock(release.stock[key])} → {_guarded(release.guarded[key])}" for key in keys)]
    )


def package_row(release: Measured) -> str:
    """A release's line in the table of packages."""
    return _line([release.version, release.adapter, f"`{release.integrity}`"])


def rows_of(release: Measured) -> list[str]:
    """All lines of a release that the document must have."""
    return [*(row(release, writer) for writer in Writer), package_row(release)]


def _heading(scenario: Scenario) -> str:
    return re.sub(r" \((?!new|unpub|pub).*?\)", "", scenario.name.removeprefix("append "))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _stock(cell: Cell) -> str:
    if cell.tripped:
        return "trip"
    return "fork" if cell.lost else "ok"


def _guarded(cell: Cell) -> str:
    return _outcome(cell) + ("!" * cell.pages)


def _outcome(cell: Cell) -> str:
    if cell.tripped:
        words = {"external": "stopped", "reset": "reset", "co_tenant": "refused"}
        return words.get(cell.verdict, "trip") if cell.outcome == "refused" else "trip"
    if cell.lost:
        return "fork"
    return "recovered" if cell.outcome == "effective" else "ok"

"""`make bench-attribution`: labelled changes by several processes at once, and what a real sidecar makes of them.

A change counts as recovered when the run in whose window it was made passed its check, so that its turn went on. A
foreign change counts as found when its window ended with the verdict `external`. A co-tenant's change in a window that
a stranger has changed, too, can't be recovered and must not be; such changes are a row of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.attribution_work import Label, Played, Work, attributed, plan
from sidecar.core.incident import Outcome
from sidecar.core.lineage import off_path
from sidecar.store.incidents import DATABASE_NAME
from sidecar.store.reader import IncidentReader
from sidecar.watch.records import read_records

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sidecar.core.incident import Incident

RELEASE: Final = "2026.5.18"
"""Its fence forgives nothing, so that each change needs the sidecar."""

BESIDE: Final = "co-tenant beside a stranger"
RECOVERED: Final = "recovered"
LATE: Final = "explained, too late"
"""The command reached a gateway that waits 250 ms no longer: its own fence stopped the run."""

NO_INCIDENT: Final = "stopped, no incident"
REPORTS: Final = "reports alone"
KERNEL: Final = "reports and fanotify"


@dataclass(frozen=True, slots=True)
class Found:
    """What came of the work.

    Attributes:
        matrix: Changes by who made them and what came of their window.
        grades: Recovered windows by grade of evidence.
        named: Windows with a stranger, and in how many of them its pid is in the incident.
        ranges: Records that strangers appended, and how many of them lie within the ranges that are called unexplained.
        lost: Records of recovered windows that are missing, or beside the one line of history.
        seconds: How long it took.
        unsettled: What was not as it must be, in words.
    """

    matrix: Mapping[tuple[str, str], int]
    grades: Mapping[str, int]
    named: tuple[int, int]
    ranges: tuple[int, int]
    lost: int
    seconds: float
    unsettled: tuple[str, ...]


def evaluate(work: Work) -> Found:
    """Compare the labels with the incidents."""
    with IncidentReader(work.data_dir / DATABASE_NAME) as reader:
        stored = reader.find(None, None, None, 1_000_000)
    incidents = {s.incident.session_file: s.incident for s in stored}
    matrix: Counter[tuple[str, str]] = Counter()
    grades: Counter[str] = Counter()
    named = found = records = covered = lost = 0
    unsettled: list[str] = []
    for window in work.windows:
        incident = incidents.get(str(window.file.resolve()))
        outcome = _outcome(window, incident)
        for change in window.changes:
            row = BESIDE if window.foreign and change.label is not Label.FOREIGN else change.label.value
            matrix[row, outcome] += 1
        if window.foreign:
            found += 1
            named += incident is not None and window.strangers <= _pids(incident)
            here, inside = _ranges(window, incident)
            records, covered = records + here, covered + inside
            if outcome != "external":
                unsettled.append(
                    f"foreign ({', '.join(c.deed for c in window.changes)}) is {outcome}: {_why(incident)}"
                )
        else:
            grades[incident.grade.value if incident else "none"] += 1
            lost += len(off_path(read_records(window.file)[0], [c.marker for c in window.changes]))
            if outcome != RECOVERED:
                unsettled.append(f"co-tenants alone are {outcome}: {_why(incident)}; checks {window.checks}")
    return Found(matrix, grades, (found, named), (records, covered), lost, work.seconds, tuple(unsettled))


def _outcome(window: Played, incident: Incident | None) -> str:
    if not window.stopped and set(window.checks) == {"ok"}:
        return RECOVERED
    if incident is None:
        return NO_INCIDENT
    return LATE if incident.recovery.outcome is Outcome.INEFFECTIVE else incident.verdict.value


def _why(incident: Incident | None) -> str:
    return f"{incident.reason}; {incident.recovery.reason}" if incident else "-"


def _pids(incident: Incident) -> set[int]:
    return {p.pid for u in incident.unexplained for p in u.processes}


def _ranges(window: Played, incident: Incident | None) -> tuple[int, int]:
    """Strangers' records that are in the file, and how many of them are called unexplained."""
    data = window.file.read_bytes()
    places = [data.find(c.marker.encode()) for c in window.changes if c.deed in {"append", "partial", "replace"}]
    there = [place for place in places if place >= 0]
    unexplained = incident.unexplained if incident else ()
    return len(there), sum(any(u.offset <= p < u.offset + u.length for u in unexplained) for p in there)


def table(found: Found) -> Iterable[str]:
    """The confusion matrix, for a terminal or a page."""
    rows = [*(label.value for label in Label), BESIDE]
    columns = [RECOVERED, *sorted({outcome for _, outcome in found.matrix} - {RECOVERED})]
    yield "| changes by | " + " | ".join(columns) + " |"
    yield "|---|" + "---:|" * len(columns)
    for row in rows:
        yield f"| {row} | " + " | ".join(str(found.matrix.get((row, column), 0)) for column in columns) + " |"


def failures(found: Found) -> Iterable[str]:
    """What must not be."""
    across = found.matrix.get((Label.FOREIGN.value, RECOVERED), 0) + found.matrix.get((BESIDE, RECOVERED), 0)
    if across:
        yield f"foreign changes recovered across: {across}"
    yield from found.unsettled
    records, covered = found.ranges
    if covered < records:
        yield f"{records - covered} foreign records are not within the unexplained ranges"
    if found.lost:
        yield f"{found.lost} records of recovered windows are lost"


async def run(
    count: int, release: str, seed: int, at_once: int, *, kernel: bool, loss: float = 0.0
) -> tuple[Found, Work]:
    """Do the work once and evaluate it."""
    windows = plan(count, seed)
    options = (*(("--who", "kernel") if kernel else ()), *(("--simulate-loss", str(loss)) if loss else ()))
    async with attributed(release, windows, at_once, options) as work:
        return await asyncio.to_thread(evaluate, work), work


def main() -> int:
    """Print a matrix without and one with fanotify; the exit code is 1 when something is not as it must be."""
    parser = argparse.ArgumentParser(prog="make bench-attribution", description=__doc__)
    parser.add_argument("--changes", type=int, default=10_000, help="how many (default: %(default)s)")
    parser.add_argument("--release", default=RELEASE, help="whose lock and fence (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the workload (default: %(default)s)")
    parser.add_argument("--at-once", type=int, default=2, help="windows open at a time (default: %(default)s)")
    options = parser.parse_args()
    kernel_release = platform.release().split("-")[0]
    print(f"Linux {kernel_release}, {platform.machine()}; OpenClaw {options.release}, {options.at_once} at once")
    wrong = 0
    for kernel in (False, True):
        found, work = asyncio.run(run(options.changes, options.release, options.seed, options.at_once, kernel=kernel))
        wrong += _print(KERNEL if kernel else REPORTS, found, work)
    return 1 if wrong else 0


def _print(title: str, found: Found, work: Work) -> int:
    changes = sum(found.matrix.values())
    print(f"\n{title}: {changes} changes in {len(work.windows)} windows, {found.seconds:.0f} s\n")
    print("\n".join(table(found)))
    print(f"\nrecovered windows by grade: {', '.join(f'{k} {v}' for k, v in sorted(found.grades.items()))}")
    print(f"foreign records called unexplained: {found.ranges[1]} of {found.ranges[0]}")
    kernel = work.status["kernel"]
    if kernel["wanted"]:
        print(f"windows in which each stranger's pid is in the incident: {found.named[1]} of {found.named[0]}")
        state = "proven by the canary" if kernel["on"] else kernel["reason"]
        print(f"kernel evidence: {state}; {kernel['events']} events, {kernel['unknown']} of processes already gone")
    print(f"custody losses: {work.status['custody_losses'] or 'none'}")
    wrong = list(failures(found))
    for line in wrong[:20]:
        print(f"WRONG: {line}")
    print(f"{len(wrong)} not as it must be")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main())

"""`make bench-attribution`: labelled changes by several processes at once, and what a real sidecar makes of them.

A change counts as recovered when the run in whose window it was made passed its check, so that its turn went on. A
foreign change counts as found when its window ended with the verdict `external`. A co-tenant's change in a window that
a stranger has changed, too, can't be recovered and must not be; such changes are a row of their own.

The work comes at a steady rate, as gateways' model calls would: what is measured is who is told from whom, not how much
two cores can take. An answer that comes too late is counted as such, however busy the machine was.
"""

import argparse
import asyncio
import os
import platform
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.attribution_watchers import Watched, Watchers, cannot_tell
from benchmarks.attribution_watchers import table as watchers_table
from benchmarks.attribution_work import Label, Pace, Planned, Played, Work, attributed, plan
from sidecar.core.custody.lineage import off_path
from sidecar.core.facts.reasons import ReasonCode
from sidecar.core.verdict.incident import Incident, Outcome
from sidecar.core.verdict.judge import Verdict
from sidecar.store.incidents import DATABASE_NAME
from sidecar.store.reader import IncidentReader
from sidecar.watch.records import read_records
from sidecar.words import sentence

RELEASE: Final = "2026.5.18"
"""Its fence forgives nothing, so that each change needs the sidecar."""

BESIDE: Final = "co-tenant beside a stranger"
RECOVERED: Final = "recovered"
LATE: Final = "explained, too late"
"""The command reached a gateway that waits 250 ms no longer, or another process was not heard in time: stopped by the
gateway's own fence."""

QUANTILES: Final = {"half": 0.5, "99 %": 0.99, "all": 1.0}

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
        seen: Changes that are in the sidecar's account: a write by a known process, or a takeover found.
        seconds: How long it took.
        unsettled: What was not as it must be, in words.
    """

    matrix: Mapping[tuple[str, str], int]
    grades: Mapping[str, int]
    named: tuple[int, int]
    ranges: tuple[int, int]
    lost: int
    seen: int
    seconds: float
    unsettled: tuple[str, ...]


def evaluate(work: Work) -> Found:
    """Compare the labels with the incidents."""
    with IncidentReader(work.data_dir / DATABASE_NAME) as reader:
        stored = reader.find(None, None, None, 1_000_000)
    incidents = {s.incident.session_file: s.incident for s in stored}
    matrix: Counter[tuple[str, str]] = Counter()
    grades: Counter[str] = Counter()
    named = found = records = covered = lost = seen = 0
    unsettled: list[str] = []
    for window in work.windows:
        incident = incidents.get(str(window.file.resolve()))
        outcome = _outcome(window, incident)
        seen += _seen(window, incident)
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
                    f"foreign ({', '.join(c.request for c in window.changes)}) is {outcome}: {_why(incident)}"
                )
        else:
            grades[incident.grade.value if incident else "none"] += 1
            lost += len(off_path(read_records(window.file)[0], [c.marker for c in window.changes]))
            if outcome != RECOVERED:
                unsettled.append(f"co-tenants alone are {outcome}: {_why(incident)}; checks {window.checks}")
    return Found(matrix, grades, (found, named), (records, covered), lost, seen, work.seconds, tuple(unsettled))


def _outcome(window: Played, incident: Incident | None) -> str:
    if not window.stopped and set(window.checks) == {"ok"}:
        return RECOVERED
    if incident is None:
        return NO_INCIDENT
    late = incident.recovery.outcome is Outcome.LATE or incident.reason.has(ReasonCode.PROCESS_UNHEARD)
    return LATE if late and incident.verdict is not Verdict.EXTERNAL else incident.verdict.value


def _seen(window: Played, incident: Incident | None) -> int:
    """Strangers' changes when the takeover was found; of the others as many as the timeline has writes of theirs."""
    if incident is None:
        return 0
    strange = sum(c.label is Label.FOREIGN for c in window.changes)
    others = len(window.changes) - strange
    writes = sum(m.what == "write" for m in incident.timeline)
    return (strange if incident.verdict is Verdict.EXTERNAL else 0) + min(others, writes)


def _why(incident: Incident | None) -> str:
    return f"{sentence(incident.reason)}; {sentence(incident.recovery.reason)}" if incident else "-"


def _pids(incident: Incident) -> set[int]:
    return {p.pid for u in incident.unexplained for p in u.processes}


def _ranges(window: Played, incident: Incident | None) -> tuple[int, int]:
    """Strangers' records that are in the file, and how many of them are called unexplained."""
    data = window.file.read_bytes()
    places = [data.find(c.marker.encode()) for c in window.changes if c.request in {"append", "partial", "replace"}]
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
    windows: Sequence[tuple[Planned, ...]],
    pace: Pace,
    *,
    release: str = RELEASE,
    kernel: bool = False,
    loss: float = 0.0,
    watchers: Watchers | None = None,
    progress: Callable[[str], None] | None = None,
) -> tuple[Found, Work]:
    """Do the work once and evaluate it."""
    options = (*(("--who", "kernel") if kernel else ()), *(("--simulate-loss", str(loss)) if loss else ()))
    async with attributed(release, windows, pace, options, watchers=watchers, progress=progress) as work:
        return await asyncio.to_thread(evaluate, work), work


def main() -> int:
    """Print a matrix without and one with fanotify; the exit code is 1 when something is not as it must be."""
    parser = argparse.ArgumentParser(
        prog="make bench-attribution", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--changes", type=int, default=10_000, help="how many (default: %(default)s)")
    parser.add_argument("--release", default=RELEASE, help="whose lock and fence (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the workload (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=16.0, help="windows that open in a second (default: %(default)s)")
    parser.add_argument("--at-once", type=int, default=4, help="windows open at a time, at most (default: %(default)s)")
    parser.add_argument("--alone", action="store_true", help="without watchdog, watchfiles and inotifywait beside it")
    options = parser.parse_args()
    pace = Pace(options.rate, options.at_once)
    windows = plan(options.changes, options.seed)
    print(f"{_machine()}; OpenClaw {options.release}")
    print(f"asked for {pace.per_second:g} windows in a second, at most {pace.at_once} at once", flush=True)
    wrong = 0
    for kernel in (False, True):
        watchers = None if kernel or options.alone else Watchers()
        work_done = run(windows, pace, release=options.release, kernel=kernel, watchers=watchers, progress=_progress)
        found, work = asyncio.run(work_done)
        wrong += _print(KERNEL if kernel else REPORTS, found, work)
        if watchers is not None:
            _side_by_side(watchers.compare(work.made), found, work)
    return 1 if wrong else 0


def _machine() -> str:
    """Where this is measured."""
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    kernel = platform.release().split("-")[0]
    return f"Linux {kernel}, {platform.machine()}, {os.cpu_count()} processors, load {load}"


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _side_by_side(watched: Sequence[Watched], found: Found, work: Work) -> None:
    print("\nThe same work, seen by file watchers beside the sidecar:\n")
    print("\n".join(watchers_table(watched, len(work.made), found.seen)))
    print("\n" + "\n".join(cannot_tell(watched)), flush=True)


def lateness(metrics: str) -> Iterable[str]:
    """How long answers took, and how late the sidecar came to what was due: the bounds of its histograms' buckets."""
    for name, what in (
        ("openclaw_sidecar_verdict_latency_seconds", "question to answer, in the sidecar"),
        ("openclaw_sidecar_recovery_latency_seconds", "question to moved fence, by the gateway's clock"),
        ("openclaw_sidecar_loop_delay_seconds", "lateness of the sidecar's loop"),
    ):
        buckets: Counter[float] = Counter()
        for family in text_string_to_metric_families(metrics):
            for sample in family.samples:
                if sample.name == f"{name}_bucket":
                    buckets[float(sample.labels["le"])] += int(sample.value)
        total = buckets.get(inf, 0)
        if total:
            said = ", ".join(f"{title} {_bound(buckets, share * total)}" for title, share in QUANTILES.items())
            yield f"{what} ({total}): {said}"


def _bound(buckets: Mapping[float, int], wanted: float) -> str:
    limits = sorted(buckets)
    bound = next(limit for limit in limits if buckets[limit] >= wanted)
    return f"<= {bound * 1000:g} ms" if bound != inf else f"> {limits[-2] * 1000:g} ms"


def _print(title: str, found: Found, work: Work) -> int:
    changes = sum(found.matrix.values())
    rate = len(work.windows) / found.seconds
    print(f"\n{title}: {changes} changes in {len(work.windows)} windows, {found.seconds:.0f} s ({rate:.1f} windows/s)")
    print(f"{_machine()}\n")
    print("\n".join(table(found)))
    print(f"\nrecovered windows by grade: {', '.join(f'{k} {v}' for k, v in sorted(found.grades.items()))}")
    print(f"foreign records called unexplained: {found.ranges[1]} of {found.ranges[0]}")
    kernel = work.status["kernel"]
    if kernel["wanted"]:
        print(f"windows in which each stranger's pid is in the incident: {found.named[1]} of {found.named[0]}")
        state = "proven by the canary" if kernel["on"] else kernel["reason"]
        print(f"kernel evidence: {state}; {kernel['events']} events, {kernel['unknown']} of processes already gone")
    print(f"custody losses: {work.status['custody_losses'] or 'none'}")
    print("\n".join(lateness(work.metrics)))
    late = sum(count for (_, outcome), count in found.matrix.items() if outcome == LATE)
    print(f"changes whose answer came too late: {late}")
    wrong = Counter(failures(found))
    for line, count in wrong.most_common(20):
        print(f"WRONG{f' ({count} times)' if count > 1 else ''}: {line}")
    print(f"{wrong.total()} not as it must be", flush=True)
    return wrong.total()


if __name__ == "__main__":
    sys.exit(main())

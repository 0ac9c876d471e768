"""Windows, and the changes in them."""

from collections import Counter
from typing import Final

from sidecar.core.events import FileChanged
from sidecar.core.facts.change import Operation
from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.core.facts.writer import WriterKind
from sidecar.core.outcomes import ChangesJudged, Ending, UnexplainedFound, WindowEnded
from sidecar.core.verdict.judge import Verdict
from sidecar.telemetry.metrics.counting import BY_AGENT, BY_WRITER, Counting, Handlers, kind_of
from sidecar.telemetry.metrics.instrument import LOCK_BUCKETS, counter, histogram, values
from sidecar.telemetry.names.labels import NONE
from sidecar.telemetry.names.names import Label

WINDOW_LENGTH = histogram(
    "window.length",
    "Time from the setting of a fence to the end of its window.",
    LOCK_BUCKETS,
    {Label.OUTCOME: values(Ending)},
)
WINDOWS_CLOSED = counter(
    "windows.closed",
    "{window}",
    "Windows that ended: whose, the gravest verdict on what they met, and how they ended.",
    {
        **BY_AGENT,
        Label.RUN_KIND: values(WriterKind),
        Label.VERDICT: values(Verdict, NONE),
        Label.OUTCOME: values(Ending),
    },
)
CHANGES = counter(
    "changes", "{change}", "Reported changes of session files.", {Label.OPERATION: values(Operation), **BY_WRITER}
)
CHANGES_JUDGED = counter(
    "changes.judged",
    "{change}",
    "Changes inside windows, by the verdict on them and who made them.",
    {**BY_AGENT, Label.VERDICT: values(Verdict, NONE), **BY_WRITER},
)
WRITTEN = counter("written", "By", "Bytes reported as written to session files.", {**BY_AGENT, **BY_WRITER})


def _changed(into: Counting, event: FileChanged) -> None:
    change = event.change
    if not change.finished:
        return
    kind = kind_of(change.writer)
    into.meters.add(CHANGES, labels={Label.OPERATION: change.operation.value, **kind})
    if change.written:
        into.meters.add(WRITTEN, change.written, {Label.AGENT: into.agents.of(event.file), **kind})


def _ended(into: Counting, outcome: WindowEnded) -> None:
    if outcome.partial:
        return
    run, incident, ending = outcome.run, outcome.incident, {Label.OUTCOME: outcome.ending.value}
    seconds = (outcome.at_ns - outcome.opened_at_ns) / NS_PER_SECOND
    into.meters.record(WINDOW_LENGTH, seconds, ending, into.runs.get(run.run_id))
    labels = {
        Label.AGENT: into.agents.of(outcome.file),
        Label.RUN_KIND: run.kind or WriterKind.UNKNOWN.value,
        Label.VERDICT: incident.verdict.value if incident is not None else NONE,
        **ending,
    }
    into.meters.add(WINDOWS_CLOSED, labels=labels)


def _judged(into: Counting, outcome: ChangesJudged) -> None:
    verdict = outcome.verdict.value if outcome.verdict else NONE
    for kind, count in Counter(change.writer.kind for change in outcome.changes).items():
        _count(into, outcome.file, verdict, kind, count)


def _unexplained(into: Counting, outcome: UnexplainedFound) -> None:
    """Bytes without a writer are one change."""
    if outcome.first:
        kind = WriterKind.FOREIGN if outcome.verdict is Verdict.EXTERNAL else WriterKind.UNKNOWN
        _count(into, outcome.file, outcome.verdict.value, kind, 1)


def _count(into: Counting, file: str, verdict: str, kind: WriterKind, count: int) -> None:
    labels = {Label.AGENT: into.agents.of(file), Label.VERDICT: verdict, Label.WRITER_KIND: kind.value}
    into.meters.add(CHANGES_JUDGED, count, labels)


HANDLERS: Final[Handlers] = {
    FileChanged: _changed,
    WindowEnded: _ended,
    ChangesJudged: _judged,
    UnexplainedFound: _unexplained,
}

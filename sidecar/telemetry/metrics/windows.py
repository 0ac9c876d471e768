"""Windows, and the changes in them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sidecar.core.events import FileChanged
from sidecar.core.facts.change import Operation
from sidecar.core.facts.writer import WriterKind
from sidecar.core.outcomes import ChangesJudged, Ending, UnexplainedFound, WindowEnded
from sidecar.core.verdict.judge import Verdict
from sidecar.telemetry.metrics.counting import BY_AGENT, BY_WRITER, NS_PER_SECOND, Family, kind_of
from sidecar.telemetry.metrics.instrument import LOCK_BUCKETS, counter, histogram, values
from sidecar.telemetry.names.labels import NONE
from sidecar.telemetry.names.names import Label

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WINDOW_LENGTH = histogram(
    "openclaw.sidecar.window.length",
    "Time from the setting of a fence to the end of its window.",
    LOCK_BUCKETS,
    {Label.OUTCOME: values(Ending)},
)
WINDOWS_CLOSED = counter(
    "openclaw.sidecar.windows.closed",
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
    "openclaw.sidecar.changes",
    "{change}",
    "Reported changes of session files.",
    {Label.OPERATION: values(Operation), **BY_WRITER},
)
CHANGES_JUDGED = counter(
    "openclaw.sidecar.changes.judged",
    "{change}",
    "Changes inside windows, by the verdict on them and who made them.",
    {**BY_AGENT, Label.VERDICT: values(Verdict, NONE), **BY_WRITER},
)
WRITTEN = counter(
    "openclaw.sidecar.written", "By", "Bytes reported as written to session files.", {**BY_AGENT, **BY_WRITER}
)


class WindowCounts(Family):
    """Counts reported changes, and what the core says of windows."""

    def handlers(self) -> Mapping[type, Callable[[Any], None]]:
        """See `Family.handlers`."""
        return {
            FileChanged: self._changed,
            WindowEnded: self._ended,
            ChangesJudged: self._judged,
            UnexplainedFound: self._unexplained,
        }

    def _changed(self, event: FileChanged) -> None:
        change = event.change
        if not change.finished:
            return
        kind = kind_of(change.writer)
        self._meters.add(CHANGES, labels={Label.OPERATION: change.operation.value, **kind})
        if change.sha256:  # of a truncation, the length is what is left
            self._meters.add(WRITTEN, change.length, {Label.AGENT: self._agents.of(event.file), **kind})

    def _ended(self, outcome: WindowEnded) -> None:
        if outcome.partial:
            return
        run, incident, ending = outcome.run, outcome.incident, {Label.OUTCOME: outcome.ending.value}
        seconds = (outcome.at_ns - outcome.opened_at_ns) / NS_PER_SECOND
        self._meters.record(WINDOW_LENGTH, seconds, ending, self._runs.get(run.run_id))
        labels = {
            Label.AGENT: self._agents.of(outcome.file),
            Label.RUN_KIND: run.kind or WriterKind.UNKNOWN.value,
            Label.VERDICT: incident.verdict.value if incident is not None else NONE,
            **ending,
        }
        self._meters.add(WINDOWS_CLOSED, labels=labels)

    def _judged(self, outcome: ChangesJudged) -> None:
        verdict = outcome.verdict.value if outcome.verdict else NONE
        for kind, count in Counter(change.writer.kind for change in outcome.changes).items():
            self._count(outcome.file, verdict, kind, count)

    def _unexplained(self, outcome: UnexplainedFound) -> None:
        """Bytes without a writer are one change."""
        if outcome.first:
            kind = WriterKind.FOREIGN if outcome.verdict is Verdict.EXTERNAL else WriterKind.UNKNOWN
            self._count(outcome.file, outcome.verdict.value, kind, 1)

    def _count(self, file: str, verdict: str, kind: WriterKind, count: int) -> None:
        labels = {Label.AGENT: self._agents.of(file), Label.VERDICT: verdict, Label.WRITER_KIND: kind.value}
        self._meters.add(CHANGES_JUDGED, count, labels)

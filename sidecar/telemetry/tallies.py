"""What came of windows and of the changes in them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sidecar.core.verdict import Verdict
from sidecar.core.writer import WriterKind
from sidecar.telemetry.labels import NONE
from sidecar.telemetry.names import Label, Metric
from sidecar.telemetry.table import OpenTable

if TYPE_CHECKING:
    from sidecar.core.change import Change
    from sidecar.core.events import FenceSet
    from sidecar.core.incident import Incident
    from sidecar.telemetry.agents import Agents
    from sidecar.telemetry.labels import Ending
    from sidecar.telemetry.runs import RunTraces
    from sidecar.telemetry.series import Meters

MAX_WINDOWS: Final = 4_096

_NS_PER_SECOND: Final = 1_000_000_000
_STRANGERS: Final = {Verdict.EXTERNAL: WriterKind.FOREIGN, Verdict.UNATTRIBUTED: WriterKind.UNKNOWN}


@dataclass(slots=True)
class _Tally:
    opened: FenceSet
    agent: str
    link: str
    """Whose window it is: of a gateway that has linked anew, the new one's."""
    verdict: str = NONE
    waiting: Counter[tuple[str, bool]] = field(default_factory=Counter)
    """Changes that nobody has judged, by kind of writer and whether it is the fenced run itself."""
    strange: set[Verdict] = field(default_factory=set)
    """Verdicts under which the bytes without a writer have been counted."""


class Tallies:
    """Counts windows, and each change in a window once, when it is clear what became of it."""

    def __init__(self, meters: Meters, agents: Agents, runs: RunTraces) -> None:
        """No window is open; results go to ``meters``."""
        self._runs = runs
        self._meters = meters
        self._agents = agents
        self._open: OpenTable[str, _Tally] = OpenTable(MAX_WINDOWS)

    def opened(self, event: FenceSet) -> None:
        """A fence was set, or moved: what came before it and met no verdict was let pass by the gateway's own fence."""
        known = self._open.get(event.window)
        if known is None:
            self._open.put(event.window, _Tally(event, self._agents.of(event.file), event.link))
        else:
            known.link = event.link
            self._passed(known)

    def changed(self, file: str, change: Change) -> None:
        """Someone wrote."""
        for tally in self._open.values():
            if tally.opened.file == file:
                run_id = tally.opened.run.run_id
                own = bool(run_id) and change.writer.run_id == run_id
                tally.waiting[change.writer.kind.value, own] += 1

    def judged(self, incident: Incident) -> None:
        """The window's incident was saved: what waited for a verdict has it."""
        tally = self._open.get(incident.controller)
        if tally is None:
            return
        verdict = incident.verdict
        if not incident.taken_in:  # what waits came after that
            tally.verdict = verdict.value
            for (kind, _own), count in tally.waiting.items():
                self._count(tally, verdict.value, kind, count)
            tally.waiting.clear()
        stranger = _STRANGERS.get(verdict)
        if stranger is not None and verdict not in tally.strange:
            tally.strange.add(verdict)
            self._count(tally, verdict.value, stranger.value, 1)

    def closed(self, window: str, at_ns: int, ending: Ending) -> FenceSet | None:
        """A window has ended.

        Returns:
            How it began; None for one that was not seen, which is not counted.
        """
        tally = self._open.pop(window)
        if tally is None:
            return None
        self._passed(tally)
        outcome = {Label.OUTCOME: ending.value}
        where = self._runs.get(tally.opened.run.run_id)
        self._meters.record(Metric.WINDOW_LENGTH, (at_ns - tally.opened.at_ns) / _NS_PER_SECOND, outcome, where)
        kind = tally.opened.run.kind or WriterKind.UNKNOWN.value
        labels = {Label.AGENT: tally.agent, Label.RUN_KIND: kind, Label.VERDICT: tally.verdict, **outcome}
        self._meters.add(Metric.WINDOWS_CLOSED, labels=labels)
        return tally.opened

    def verdict(self, window: str) -> str:
        """The gravest verdict so far; ``none`` when there was none."""
        tally = self._open.get(window)
        return tally.verdict if tally is not None else NONE

    def run(self, window: str) -> str:
        """The id of the run of a window; empty when it is not known."""
        tally = self._open.get(window)
        return tally.opened.run.run_id if tally is not None else ""

    def on_link(self, link: str) -> list[str]:
        """The open windows of a link."""
        return [tally.opened.window for tally in self._open.values() if tally.link == link]

    def _passed(self, tally: _Tally) -> None:
        for (kind, own), count in tally.waiting.items():
            self._count(tally, Verdict.OWN.value if own else NONE, kind, count)
        tally.waiting.clear()

    def _count(self, tally: _Tally, verdict: str, kind: str, count: int) -> None:
        labels = {Label.AGENT: tally.agent, Label.VERDICT: verdict, Label.WRITER_KIND: kind}
        self._meters.add(Metric.CHANGES_JUDGED, count, labels)

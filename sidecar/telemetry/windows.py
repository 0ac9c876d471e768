"""Fence windows, from the first setting of the fence to the end, with all that was seen in between.

A window becomes spans only when it is over and its incident is final: then its run's trace is known, and what came of a
recovery. The service tells an event first and the decisions that it led to after it. So a window without an incident is
finished with `FenceClosed`; one with an incident is finished when the closed incident is saved, right after; and one
that took records in waits for `LineageChecked`, and once more for the incident if the history has forked or could not
be read.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from sidecar.core.verdict import Verdict
from sidecar.core.writer import Writer, WriterKind
from sidecar.telemetry.describe import of_gateway, of_incident, of_run, of_writer, token
from sidecar.telemetry.labels import NONE, Ending
from sidecar.telemetry.names import Attribute, Moment, Span
from sidecar.telemetry.recoveries import recovery_span
from sidecar.telemetry.span import SpanFact, SpanMoment
from sidecar.telemetry.table import OpenTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.core.change import Change
    from sidecar.core.events import RecoveryApplied
    from sidecar.core.gateway import Gateway, Run
    from sidecar.core.incident import Incident

MAX_WINDOWS: Final = 512
MAX_MOMENTS: Final = 128
"""Events kept on a span, as by the SDK's default; the first to come are the first to go."""
MAX_CHILDREN: Final = 128


class Awaited(Enum):
    """What must still come before the incident of a window is final."""

    NOTHING = auto()
    LINEAGE = auto()
    """The history is being read again."""
    SAVE = auto()
    """It had forked, or could not be read: the incident changes once more."""


@dataclass(slots=True, kw_only=True)
class OpenWindow:
    """A window that has not become spans.

    Attributes:
        window_id: The controller's id.
        file: The session file.
        link: Whose window it is.
        gateway: The same, as far as known.
        run: The fenced run.
        opened_ns: When the fence was first set.
        size_bytes: Of the file then.
        partial: Its beginning was not seen.
        moves: How often the fence was set again.
        moments: What happened, oldest first.
        children: Spans below it.
        unjudged: Attributes of the changes that no verdict was given on yet.
        strange: Bytes without a writer that have been told.
        incident: What it met.
        taken_in: What its fence took in, of which a person was told.
        asked: When each question came that has no answer yet.
        looked_ns: When the last thing happened that made the core look.
        awaits: What must still come before the incident is final.
        ended_ns: When it ended; 0 while it is open.
        ending: How.
    """

    window_id: str
    file: str
    link: str
    gateway: Gateway | None
    run: Run
    opened_ns: int
    size_bytes: int
    partial: bool = False
    moves: int = 0
    moments: deque[SpanMoment] = field(default_factory=lambda: deque(maxlen=MAX_MOMENTS))
    children: deque[SpanFact] = field(default_factory=lambda: deque(maxlen=MAX_CHILDREN))
    unjudged: deque[dict[Attribute, str | int | float | bool]] = field(
        default_factory=lambda: deque(maxlen=MAX_MOMENTS)
    )
    strange: set[tuple[int, int]] = field(default_factory=set)
    incident: Incident | None = None
    taken_in: Incident | None = None
    asked: dict[str, int] = field(default_factory=dict)
    looked_ns: int = 0
    awaits: Awaited = Awaited.NOTHING
    ended_ns: int = 0
    ending: Ending = Ending.ENDED

    def note(self, at_ns: int, name: Moment, attributes: dict[Attribute, str | int | float | bool]) -> None:
        """Add an event to the span."""
        self.moments.append(SpanMoment(at_ns, name, attributes))

    def changed(self, change: Change) -> None:
        """Someone wrote."""
        attributes = {
            Attribute.CHANGE_OPERATION: change.operation.value,
            Attribute.CHANGE_LENGTH: change.length,
            **of_writer(change.writer, self.run.run_id),
        }
        if change.offset >= 0:
            attributes[Attribute.CHANGE_OFFSET] = change.offset
        self.note(change.at_ns, Moment.CHANGE, attributes)
        self.unjudged.append(attributes)

    def judged(self, incident: Incident) -> None:
        """The incident was saved: what waited for a verdict has it, and bytes without a writer are told."""
        self.incident = incident
        for attributes in self.unjudged:
            attributes[Attribute.VERDICT] = incident.verdict.value
        self.unjudged.clear()
        self._strangers(incident)

    def took_in(self, incident: Incident) -> None:
        """Its fence has taken in bytes without a writer; what it goes on to meet is another incident."""
        self.taken_in = incident
        self._strangers(incident)

    def _strangers(self, incident: Incident) -> None:
        for item in incident.unexplained:
            if (item.offset, item.length) in self.strange:
                continue
            self.strange.add((item.offset, item.length))
            kind = WriterKind.FOREIGN if incident.verdict is Verdict.EXTERNAL else WriterKind.UNKNOWN
            attributes = {
                Attribute.CHANGE_OFFSET: item.offset,
                Attribute.CHANGE_LENGTH: item.length,
                Attribute.VERDICT: incident.verdict.value,
                **of_writer(Writer(kind, pid=item.pid)),
            }
            self.note(self.looked_ns, Moment.CHANGE, attributes)

    def let_pass(self) -> None:
        """The run went on: what nobody had to judge is its own, or was let pass by the gateway's own fence."""
        for attributes in self.unjudged:
            own = attributes.get(Attribute.WRITER_OWN, False)
            attributes[Attribute.VERDICT] = Verdict.OWN.value if own else NONE
        self.unjudged.clear()

    def end(self, at_ns: int, ending: Ending) -> None:
        """The window has ended; the first ending counts. No history is read of a run that was stopped."""
        if not self.ended_ns:
            self.let_pass()
            self.ended_ns = at_ns
            self.ending = ending
            if ending is Ending.TAKEOVER:
                self.awaits = Awaited.NOTHING

    def recovered(self, event: RecoveryApplied) -> None:
        """The preload answered a command; after a recovery that took records in, the history is read again."""
        self.children.append(recovery_span(event))
        if event.applied and event.records:
            self.awaits = Awaited.LINEAGE

    @property
    def finished(self) -> bool:
        """It has ended and nothing more is to come."""
        if not self.ended_ns:
            return False
        return self.incident is None or (self.incident.closed_at_ns > 0 and self.awaits is Awaited.NOTHING)

    def span(self) -> SpanFact:
        """The window and all below it."""
        lost = self.incident is not None and self.incident.turn_lost
        ending = Ending.TAKEOVER if lost and self.ending is Ending.ENDED else self.ending
        attributes = {
            Attribute.FILE_PATH: self.file,
            Attribute.WINDOW_ID: token(self.window_id),
            Attribute.FENCE_SIZE: self.size_bytes,
            Attribute.FENCE_MOVES: self.moves,
            **of_run(self.run),
            **of_gateway(self.gateway),
            **of_incident(self.incident),
        }
        if self.partial:
            attributes[Attribute.WINDOW_PARTIAL] = True
        return SpanFact(
            name=Span.FENCE,
            start_ns=self.opened_ns,
            end_ns=self.ended_ns,
            attributes=attributes,
            moments=tuple(self.moments),
            error="" if ending is Ending.ENDED else ending.value,
            description=ending.sentence,
            children=tuple(self.children),
        )


class OpenWindows:
    """The windows that have not become spans."""

    def __init__(self, dropped: Callable[[Span], None]) -> None:
        """None is open; ``dropped`` is told of windows that the table had no room for."""
        self._open: OpenTable[str, OpenWindow] = OpenTable(MAX_WINDOWS, lambda _: dropped(Span.FENCE))

    def __len__(self) -> int:
        return len(self._open)

    def put(self, window: OpenWindow) -> None:
        """A window opens."""
        self._open.put(window.window_id, window)

    def get(self, window_id: str) -> OpenWindow | None:
        """The window of that id."""
        return self._open.get(window_id)

    def on_file(self, file: str) -> list[OpenWindow]:
        """The windows on a file that have not ended."""
        return [w for w in self._open.values() if w.file == file and not w.ended_ns]

    def on_link(self, link: str) -> list[OpenWindow]:
        """The windows of a link that have not ended."""
        return [w for w in self._open.values() if w.link == link and not w.ended_ns]

    def all(self) -> list[OpenWindow]:
        """Every window."""
        return self._open.values()

    def take_finished(self) -> list[OpenWindow]:
        """Take out those that are finished."""
        return self._open.take(lambda window: window.finished)

    def take_ended_before(self, at_ns: int) -> list[OpenWindow]:
        """Take out those that ended before a time, final or not."""
        return self._open.take(lambda window: 0 < window.ended_ns < at_ns)

    def take(self) -> list[OpenWindow]:
        """Take out all."""
        return self._open.take()

"""Every event passes through here to the engine; kept for each open window, so that its incident can be replayed."""

from dataclasses import dataclass, field
from typing import Final

from sidecar.core import events as ev
from sidecar.core.decisions import Decision, KeepRecording, SaveIncident
from sidecar.core.engine import Engine
from sidecar.core.facts.rows import Row, RowSnapshot, place_of
from sidecar.core.facts.value import replace
from sidecar.core.policy.policy import Mode, Policy
from sidecar.core.replay.preamble import preamble
from sidecar.core.replay.recording import MAX_DIGESTS, MAX_EVENTS, Looked, Recording, digests_of, listening, sealed
from sidecar.core.verdict.incident import Incident

_OPENING: Final = (ev.FenceSet, ev.VerdictAsked, ev.LockTimedOut, ev.TurnTripped)
_OF_WINDOW: Final = (
    ev.FenceClosed,
    ev.LockWaitEnded,
    ev.AnswerLate,
    ev.CommandWithheld,
    ev.RecoveryApplied,
    ev.TurnLost,
    ev.LineageChecked,
)
_OF_ALL: Final = (ev.LinkOpened, ev.LinkLost, ev.KernelOverflowed, ev.SidecarHalted, ev.PolicyChanged, ev.PauseChanged)
_LEFT_OUT: Final = (ev.TimelineNote, ev.TimePassed, ev.WriterClaimed)
"""Names for people, and what has no part in any verdict."""


@dataclass(slots=True)
class _Tape:
    """The events of one window."""

    window: str
    file: str
    policy: Policy
    mode: Mode
    events: list[ev.Event]
    digests: int = 0
    whole: bool = True
    incidents: dict[str, Incident] = field(default_factory=dict)
    on_file: set[str] = field(default_factory=set)
    rows: tuple[Row, ...] = ()

    def add(self, event: ev.Event) -> None:
        """One more, or the end of it. Of rows that were read before, nothing is kept again."""
        if isinstance(event, Looked) and isinstance(event.snapshot, RowSnapshot) and event.snapshot.rows:
            before, self.rows = self.rows, event.snapshot.rows
            event = replace(event, snapshot=event.snapshot.without(before))
        self.digests += digests_of(event)
        if len(self.events) >= MAX_EVENTS or self.digests > MAX_DIGESTS:
            self.whole = False
            self.events.clear()
        elif self.whole:
            self.events.append(event)

    def recordings(self) -> list[Decision]:
        """What is kept of it: the same events for each incident that the window has met."""
        events = tuple(self.events)
        return [
            KeepRecording(incident=incident, recording=Recording(name, self.policy, self.mode, events, self.whole))
            for name, incident in self.incidents.items()
        ]


class Recorder:
    """Hands every event on to the engine, and adds `KeepRecording` to its decisions where a window has ended."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tapes: dict[str, _Tape] = {}
        self._heard: ev.KernelDrained | None = None

    def handle(self, event: ev.Event) -> list[Decision]:
        """Take in one event."""
        if isinstance(event, ev.KernelDrained):
            # Of many in a row only the last one matters.
            self._heard = event
            return self._engine.handle(event)
        replaced: list[Decision] = []
        if isinstance(event, _OPENING) and self._engine.window(event.window) is None:
            # A window's first word: what is known ahead of it is where its replay begins.
            before = self._tapes.pop(event.window, None)
            replaced = before.recordings() if before is not None else []
            tape = _Tape(event.window, event.file, self._engine.policy, self._engine.mode, [])
            tape.events += preamble(self._engine, event.file, event.at_ns)
            self._tapes[event.window] = tape
        if not self._tapes:
            return self._engine.handle(event)
        return [*replaced, *self._taped(event)]

    def _taped(self, event: ev.Event) -> list[Decision]:
        passed = listening(event) if isinstance(event, Looked) else event
        decisions = self._engine.handle(passed)
        kept = sealed(passed) if isinstance(passed, Looked | ev.ChainRecalled) else passed
        heard, self._heard = self._heard, None
        for tape in self._tapes.values():
            if heard is not None:
                tape.add(heard)
            if self._is_of(kept, tape):
                tape.add(kept)
        for decision in decisions:
            if isinstance(decision, SaveIncident):
                incident = decision.incident
                met = self._tapes.get(incident.controller)
                if met is not None:
                    met.incidents[incident.window] = incident
        return [*decisions, *self._ended(event)]

    def _is_of(self, event: ev.Event, tape: _Tape) -> bool:
        if isinstance(event, _LEFT_OUT):
            return False
        if isinstance(event, _OF_ALL):
            return True
        if isinstance(event, ev.KernelListening):
            return tape.file.startswith(event.directory + "/")
        if isinstance(event, _OPENING) and event.file == tape.file:
            tape.on_file.add(event.window)
        if isinstance(event, _OF_WINDOW):
            return event.window in tape.on_file
        file = event.chain.file if isinstance(event, ev.ChainRecalled) else getattr(event, "file", None)
        return file in {tape.file, place_of(tape.file), ""}

    def _ended(self, event: ev.Event) -> list[Decision]:
        """The recordings of windows that are over, and of one whose turn was stopped."""
        made: list[Decision] = []
        for window in [w for w in self._tapes if self._engine.run_of(w) is None]:
            made += self._tapes.pop(window).recordings()
        if isinstance(event, ev.TurnTripped) and event.window in self._tapes:
            made += self._tapes[event.window].recordings()
        return made

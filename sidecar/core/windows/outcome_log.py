"""Emits the outcomes of each event, each once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sidecar.core import outcomes as out
from sidecar.core.decisions import AnswerWait, Approve, Decision, Refuse, SaveIncident
from sidecar.core.facts.bounded import Bounded
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.version import AnyChange
from sidecar.core.policy.blocked import BlockReason
from sidecar.core.verdict.incident import Incident, Outcome
from sidecar.core.verdict.judge import Verdict
from sidecar.core.windows.takeovers import Takeovers
from sidecar.core.windows.window import Window

MAX_REMEMBERED: Final = 4_096
"""Incidents and lost turns of which it is remembered what has been said."""

_UNEXPLAINED: Final = frozenset({Verdict.EXTERNAL, Verdict.UNATTRIBUTED})


@dataclass(slots=True)
class _Said:
    """What has been said of an incident."""

    grade: Grade
    state: tuple[Verdict, Outcome, bool, bool]
    verdicts: set[Verdict] = field(default_factory=set)
    outcomes: set[Outcome] = field(default_factory=set)
    holds: set[BlockReason] = field(default_factory=lambda: {BlockReason.NONE})


class OutcomeLog:
    """Collects the outcomes of one event at a time."""

    def __init__(self) -> None:
        self.made: list[out.AnyOutcome] = []
        self._incidents: Bounded[str, _Said] = Bounded(MAX_REMEMBERED)
        self._lost: Bounded[str, bool] = Bounded(MAX_REMEMBERED)
        self._takeovers = Takeovers()

    def add(self, outcome: out.AnyOutcome) -> None:
        """This came of the event."""
        self.made.append(outcome)

    def opened(self, window: Window, *, partial: bool = False) -> None:
        """A window was opened."""
        window.tally.partial = partial
        self.add(
            out.WindowOpened(
                window=window.window_id,
                file=window.file,
                run=window.run,
                gateway=window.gateway,
                size=window.fence.size,
                at_ns=window.opened_at_ns,
                partial=partial,
            )
        )

    def moved(self, window: Window, size: int, at_ns: int) -> None:
        """The run recorded a new fence: what came before it is behind."""
        self.passed(window)
        self.add(out.FenceMoved(window=window.window_id, size=size, at_ns=at_ns))

    def passed(self, window: Window) -> None:
        """The run went on or is done: what nobody had to judge is its own, or its gateway's fence let it pass."""
        run_id = window.run.run_id
        own: list[AnyChange] = []
        others: list[AnyChange] = []
        for change in window.tally.unjudged:
            (own if change.writer.is_of(run_id) else others).append(change)
        self._judged(window, Verdict.OWN, own)
        self._judged(window, None, others)
        window.tally.unjudged.clear()

    def ended(self, window: Window, ending: out.Ending, at_ns: int, *, final: bool) -> None:
        """A window is over; its incident is as it will be saved."""
        self.passed(window)
        self.add(
            out.WindowEnded(
                window=window.window_id,
                file=window.file,
                run=window.run,
                gateway=window.gateway,
                ending=ending,
                opened_at_ns=window.opened_at_ns,
                at_ns=at_ns,
                partial=window.tally.partial,
                incident=window.incident,
                final=final,
            )
        )

    def turn_lost(self, window: str, verdict: Verdict | None, at_ns: int = 0) -> None:
        """The gateway stopped the turn of a window. It says so twice, with the trip and with the end of the window."""
        if self._lost.get(window) is None:
            self._lost.put(window, value=True)
            self.add(out.TurnLost(window=window, verdict=verdict, at_ns=at_ns))

    def tripped(self, window: Window, at_ns: int) -> None:
        """A fence stopped the run of a window."""
        self._takeover(self._takeovers.tripped(window.run.run_id or window.window_id, window.file, at_ns))

    def takeover_logged(self, file: str, at_ns: int) -> None:
        """The gateway's log reported a takeover of this file."""
        self._takeover(self._takeovers.logged(file, at_ns))

    def decided(self, decisions: Iterable[Decision], windows: Mapping[str, Window], at_ns: int) -> None:
        """The core decided this on the event, which came at that time; ``windows`` are open."""
        unanswered: dict[str, SaveIncident] = {}
        for decision in decisions:
            match decision:
                case SaveIncident():
                    if self._saved(decision.incident, windows.get(decision.incident.controller), at_ns):
                        unanswered[decision.incident.window] = decision
                case Approve() | Refuse():
                    unanswered.pop(decision.window, None)
                    if (window := windows.get(decision.window)) is not None:
                        self._answered(window, decision, at_ns)
                case AnswerWait(granted=False):
                    self.add(out.LockTimeoutSettled(result=out.LockTimeout.REFUSED))
                case _:
                    pass
        for saved in unanswered.values():
            incident = saved.incident
            self._verdict(incident.controller, incident.verdict, out.Answer.NONE, incident, at_ns)

    def _saved(self, incident: Incident, window: Window | None, at_ns: int) -> bool:
        """An incident is saved. True when its verdict is news of an open window."""
        recovery = incident.recovery
        state = (incident.verdict, recovery.outcome, incident.turn_lost, incident.closed_at_ns > 0)
        known = self._incidents.get(incident.incident_id)
        said = known or _Said(incident.grade, state)
        new_verdict = known is None or (said.state[0], said.grade) != (incident.verdict, incident.grade)
        if known is None or said.state != state:
            self.add(
                out.IncidentChanged(
                    incident=incident,
                    new_verdict=incident.verdict not in said.verdicts,
                    new_outcome=recovery.outcome not in said.outcomes,
                )
            )
        if recovery.hold not in said.holds:
            self.add(out.RecoveryWithheld(incident_id=incident.incident_id, hold=recovery.hold))
        said.grade, said.state = incident.grade, state
        said.verdicts.add(incident.verdict)
        said.outcomes.add(recovery.outcome)
        said.holds.add(recovery.hold)
        self._incidents.put(incident.incident_id, said)
        if window is None:
            return False
        if not incident.taken_in:  # what nobody has judged came after that
            self._judged(window, incident.verdict, window.tally.unjudged)
            window.tally.unjudged.clear()
        self._unexplained(window, incident, at_ns)
        return new_verdict

    def _judged(self, window: Window, verdict: Verdict | None, changes: list[AnyChange]) -> None:
        if changes:
            self.add(
                out.ChangesJudged(
                    window=window.window_id,
                    file=window.file,
                    run=window.run,
                    verdict=verdict,
                    changes=tuple(changes),
                )
            )

    def _unexplained(self, window: Window, incident: Incident, at_ns: int) -> None:
        tally = window.tally
        if incident.verdict not in _UNEXPLAINED:
            return
        ranges = tuple(r for r in incident.unexplained if (r.offset, r.length) not in tally.ranges)
        first = incident.verdict not in tally.verdicts
        if first or ranges:
            tally.verdicts.add(incident.verdict)
            tally.ranges |= {(r.offset, r.length) for r in ranges}
            self.add(
                out.UnexplainedFound(
                    window=window.window_id,
                    file=window.file,
                    verdict=incident.verdict,
                    ranges=ranges,
                    first=first,
                    at_ns=at_ns,
                )
            )

    def _answered(self, window: Window, decision: Approve | Refuse, at_ns: int) -> None:
        incident = window.incident
        if isinstance(decision, Refuse):
            self._verdict(window.window_id, decision.verdict, out.Answer.REFUSED, incident, at_ns)
        elif incident is not None:
            self._verdict(window.window_id, incident.verdict, out.Answer.APPROVED, incident, at_ns)

    def _verdict(
        self, window: str, verdict: Verdict, answer: out.Answer, incident: Incident | None, at_ns: int
    ) -> None:
        self.add(out.VerdictGiven(window=window, verdict=verdict, answer=answer, incident=incident, asked_at_ns=at_ns))

    def _takeover(self, found: out.TakeoverReported | None) -> None:
        if found is not None:
            self.add(found)

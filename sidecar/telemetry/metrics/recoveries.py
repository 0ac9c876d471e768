"""Incidents, what was done about them, and the turns that were lost."""

from typing import Final

from sidecar.core.facts.turn_loss import LossCause
from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.core.outcomes import (
    IncidentChanged,
    LossExplained,
    RecoveryAnswered,
    RecoveryWithheld,
    TakeoverReported,
    TakeoverSource,
    TurnLost,
)
from sidecar.core.policy.blocked import BlockReason
from sidecar.core.verdict.incident import Outcome
from sidecar.core.verdict.judge import Verdict
from sidecar.telemetry.metrics.counting import Counting, Guarded, Handlers, by, guarded
from sidecar.telemetry.metrics.instrument import LATENCY_BUCKETS, counter, histogram, values
from sidecar.telemetry.names.labels import NONE
from sidecar.telemetry.names.names import Label

_BY_WAY = {Label.WAY: frozenset({"pushed", "asked"})}

INCIDENTS = counter(
    "incidents", "{incident}", "Incidents, once under each verdict that they reached.", {Label.VERDICT: values(Verdict)}
)
RECOVERIES = counter(
    "recoveries",
    "{incident}",
    "Incidents, once under each outcome that their recovery reached.",
    {Label.OUTCOME: values(Outcome)},
)
RECOVERY_COMMANDS = counter(
    "recovery.commands",
    "{command}",
    "Commands to move a fence, as the preload answered them.",
    {Label.RESULT: frozenset({"applied", "refused"}), **_BY_WAY},
)
RECOVERY_LATENCY = histogram(
    "recovery.latency", "Time from question to moved fence, gateway's clock.", LATENCY_BUCKETS, _BY_WAY
)
RECOVERY_HOLDS = counter(
    "recovery.holds",
    "{incident}",
    "Incidents, once under each thing that held back their recovery though the evidence allowed it.",
    {Label.REASON: values(BlockReason) - {BlockReason.NONE.value}},
)
VERDICT_LATENCY = histogram("verdict.latency", "Time from a gateway's question to its answer.", LATENCY_BUCKETS)
TURNS_LOST = counter(
    "turns.lost",
    "{turn}",
    "Turns that a gateway's own fence stopped, by the verdict on the change.",
    {Label.VERDICT: values(Verdict, NONE)},
)
TURN_LOSSES = counter(
    "turn.losses",
    "{turn}",
    "Turns that were lost where sessions are in a database, by the first error of their run.",
    {Label.CAUSE: values(LossCause)},
)
TAKEOVERS = counter(
    "gateway.takeovers",
    "{takeover}",
    "Takeovers that a gateway reported, once for each run and file, by where they were heard of first.",
    {Label.SOURCE: values(TakeoverSource)},
)


def _incident(into: Counting, outcome: IncidentChanged) -> None:
    incident = outcome.incident
    if outcome.new_verdict:
        into.meters.add(INCIDENTS, labels={Label.VERDICT: incident.verdict.value})
    if outcome.new_outcome:
        into.meters.add(RECOVERIES, labels={Label.OUTCOME: incident.recovery.outcome.value})


def _answered(into: Counting, outcome: RecoveryAnswered) -> None:
    answer = outcome.answer
    way = {Label.WAY: "pushed" if answer.pushed else "asked"}
    result = {Label.RESULT: "applied" if answer.applied else "refused"}
    into.meters.add(RECOVERY_COMMANDS, labels={**result, **way})
    if answer.applied:
        where = into.runs.get(outcome.run.run_id) if outcome.run is not None else None
        into.meters.record(RECOVERY_LATENCY, answer.latency_ns / NS_PER_SECOND, way, where)


HANDLERS: Final[Handlers] = {
    IncidentChanged: _incident,
    **by(RecoveryWithheld, RECOVERY_HOLDS, Label.REASON, lambda withheld: withheld.hold.value),
    RecoveryAnswered: _answered,
    **by(TurnLost, TURNS_LOST, Label.VERDICT, lambda lost: lost.verdict.value if lost.verdict else NONE),
    **by(LossExplained, TURN_LOSSES, Label.CAUSE, lambda lost: lost.cause.value),
    **by(TakeoverReported, TAKEOVERS, Label.SOURCE, lambda takeover: takeover.source.value),
}


class AnswerCounts(Guarded):
    """Measures answers."""

    @guarded
    def answered(self, seconds: float) -> None:
        """A gateway's question was answered, so long after it came."""
        self._meters.record(VERDICT_LATENCY, seconds)

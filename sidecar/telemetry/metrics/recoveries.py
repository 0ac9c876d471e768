"""Incidents, what was done about them, and the turns that were lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sidecar.core.outcomes import (
    IncidentChanged,
    RecoveryAnswered,
    RecoveryWithheld,
    TakeoverReported,
    TakeoverSource,
    TurnLost,
)
from sidecar.core.policy.blocked import BlockReason
from sidecar.core.verdict.incident import Outcome
from sidecar.core.verdict.judge import Verdict
from sidecar.telemetry.metrics.counting import NS_PER_SECOND, Family, Guarded, guarded
from sidecar.telemetry.metrics.instrument import LATENCY_BUCKETS, counter, histogram, values
from sidecar.telemetry.names.labels import NONE
from sidecar.telemetry.names.names import Label

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BY_WAY = {Label.WAY: frozenset({"pushed", "asked"})}

INCIDENTS = counter(
    "openclaw.sidecar.incidents",
    "{incident}",
    "Incidents, once under each verdict that they reached.",
    {Label.VERDICT: values(Verdict)},
)
RECOVERIES = counter(
    "openclaw.sidecar.recoveries",
    "{incident}",
    "Incidents, once under each outcome that their recovery reached.",
    {Label.OUTCOME: values(Outcome)},
)
RECOVERY_COMMANDS = counter(
    "openclaw.sidecar.recovery.commands",
    "{command}",
    "Commands to move a fence, as the preload answered them.",
    {Label.RESULT: frozenset({"applied", "refused"}), **_BY_WAY},
)
RECOVERY_LATENCY = histogram(
    "openclaw.sidecar.recovery.latency",
    "Time from question to moved fence, gateway's clock.",
    LATENCY_BUCKETS,
    _BY_WAY,
)
RECOVERY_HOLDS = counter(
    "openclaw.sidecar.recovery.holds",
    "{incident}",
    "Incidents, once under each thing that held back their recovery though the evidence allowed it.",
    {Label.REASON: values(BlockReason) - {BlockReason.NONE.value}},
)
VERDICT_LATENCY = histogram(
    "openclaw.sidecar.verdict.latency", "Time from a gateway's question to its answer.", LATENCY_BUCKETS
)
TURNS_LOST = counter(
    "openclaw.sidecar.turns.lost",
    "{turn}",
    "Turns that a gateway's own fence stopped, by the verdict on the change.",
    {Label.VERDICT: values(Verdict, NONE)},
)
TAKEOVERS = counter(
    "openclaw.sidecar.gateway.takeovers",
    "{takeover}",
    "Takeovers that a gateway reported, once for each run and file, by where they were heard of first.",
    {Label.SOURCE: values(TakeoverSource)},
)


class RecoveryCounts(Family):
    """Counts what the core says of incidents."""

    def handlers(self) -> Mapping[type, Callable[[Any], None]]:
        """See `Family.handlers`."""
        return {
            IncidentChanged: self._incident,
            RecoveryWithheld: self._withheld,
            RecoveryAnswered: self._answered,
            TurnLost: self._turn_lost,
            TakeoverReported: self._takeover,
        }

    def _incident(self, outcome: IncidentChanged) -> None:
        incident = outcome.incident
        if outcome.new_verdict:
            self._meters.add(INCIDENTS, labels={Label.VERDICT: incident.verdict.value})
        if outcome.new_outcome:
            self._meters.add(RECOVERIES, labels={Label.OUTCOME: incident.recovery.outcome.value})

    def _withheld(self, outcome: RecoveryWithheld) -> None:
        self._meters.add(RECOVERY_HOLDS, labels={Label.REASON: outcome.hold.value})

    def _answered(self, outcome: RecoveryAnswered) -> None:
        way = {Label.WAY: "pushed" if outcome.pushed else "asked"}
        result = {Label.RESULT: "applied" if outcome.applied else "refused"}
        self._meters.add(RECOVERY_COMMANDS, labels={**result, **way})
        if outcome.applied:
            where = self._runs.get(outcome.run.run_id) if outcome.run is not None else None
            self._meters.record(RECOVERY_LATENCY, outcome.latency_ns / NS_PER_SECOND, way, where)

    def _turn_lost(self, outcome: TurnLost) -> None:
        self._meters.add(TURNS_LOST, labels={Label.VERDICT: outcome.verdict.value if outcome.verdict else NONE})

    def _takeover(self, outcome: TakeoverReported) -> None:
        self._meters.add(TAKEOVERS, labels={Label.SOURCE: outcome.source.value})


class AnswerCounts(Guarded):
    """Measures answers."""

    @guarded
    def answered(self, seconds: float) -> None:
        """A gateway's question was answered, so long after it came."""
        self._meters.record(VERDICT_LATENCY, seconds)

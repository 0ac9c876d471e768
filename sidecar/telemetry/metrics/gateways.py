"""What gateways say of themselves: model calls and lines of their log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sidecar.core.outcomes import Ending
from sidecar.core.reports import Diagnostic
from sidecar.telemetry.metrics.counting import Family
from sidecar.telemetry.metrics.instrument import counter, histogram, values
from sidecar.telemetry.names.labels import PROVIDERS, CallError, CallOutcome, LogEvent
from sidecar.telemetry.names.names import Label, Span
from sidecar.telemetry.names.traceref import TraceRef
from sidecar.telemetry.traces import model_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LOG: Final = "log."
_TAKEOVER: Final = "takeover"
_MS_PER_SECOND: Final = 1_000

MODEL_CALLS = counter(
    "openclaw.sidecar.model.calls", "{call}", "Model calls, by outcome.", {Label.OUTCOME: values(CallOutcome)}
)
MODEL_DURATION = histogram(
    "gen_ai.client.operation.duration",
    "GenAI operation duration.",
    # What the gen_ai conventions advise, carried on to ten minutes.
    (
        *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
        *(1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68, 655.36),
    ),
    {
        Label.GEN_AI_OPERATION: frozenset({Span.CHAT.value}),
        Label.GEN_AI_PROVIDER: values(PROVIDERS.values()),
        Label.ERROR_TYPE: values(CallError),
    },
)
GATEWAY_LOG = counter(
    "openclaw.sidecar.gateway.log.events",
    "{line}",
    "Lines of the gateway's log of which a user had something, by what they say.",
    {Label.EVENT: values(LogEvent)},
)
TURN_LOST_WAIT = histogram(
    "openclaw.sidecar.turn.lost.wait",
    "Time that a user had waited when the gateway gave the turn up, by the gateway's log.",
    (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0),
)


class GatewayCounts(Family):
    """Counts calls that are over, and lines of the log."""

    def handlers(self) -> Mapping[type, Callable[[Any], None]]:
        """See `Family.handlers`."""
        return {model_calls.CallEnded: self._call_ended, Diagnostic: self._logged}

    def _call_ended(self, call: model_calls.CallEnded) -> None:
        report = call.report
        if call.ending is not Ending.ENDED:
            self._meters.add(MODEL_CALLS, labels={Label.OUTCOME: CallOutcome.ABANDONED.value})
            return
        outcome = CallOutcome.ERROR if report.event == model_calls.ERROR else CallOutcome.COMPLETED
        self._meters.add(MODEL_CALLS, labels={Label.OUTCOME: outcome.value})
        labels = {
            Label.GEN_AI_OPERATION: Span.CHAT.value,
            Label.GEN_AI_PROVIDER: model_calls.provider_name(report.provider),
        }
        if outcome is CallOutcome.ERROR:
            labels[Label.ERROR_TYPE] = report.error
        where = model_calls.place(report) or self._runs.get(report.run)
        self._meters.record(MODEL_DURATION, report.duration_ms / _MS_PER_SECOND, labels, where)

    def _logged(self, report: Diagnostic) -> None:
        """A line of the gateway's log; of the two lanes' lines, the session's has the session."""
        if not report.event.startswith(_LOG):
            return
        event = report.event.removeprefix(_LOG)
        self._meters.add(GATEWAY_LOG, labels={Label.EVENT: event})
        if report.reason == _TAKEOVER and event == LogEvent.LANE_TASK_ERROR and report.session:
            seconds = report.duration_ms / _MS_PER_SECOND
            self._meters.record(TURN_LOST_WAIT, seconds, where=TraceRef.parse(report.trace, report.span))

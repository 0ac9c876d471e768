"""What gateways say of themselves: model calls and lines of their log."""

from typing import Final

from sidecar.core.outcomes import Ending
from sidecar.core.reports import Diagnostic
from sidecar.telemetry.metrics.counting import Counting, Handlers
from sidecar.telemetry.metrics.instrument import Instrument, Kind, counter, histogram, values
from sidecar.telemetry.metrics.meters import Meters
from sidecar.telemetry.names.labels import PROVIDERS
from sidecar.telemetry.names.names import Label, Span
from sidecar.telemetry.names.traceref import TraceRef
from sidecar.telemetry.traces import model_calls

_LOG: Final = "log."
_TAKEOVER: Final = "takeover"
_MS_PER_SECOND: Final = 1_000
_ERRORS: Final = frozenset(
    {"aborted", "connection_closed", "connection_reset", "terminated", "timeout", "Error", "TypeError"}
)
"""Why a model call failed, in the gateway's words for it."""

MODEL_CALLS = counter(
    "model.calls",
    "{call}",
    "Model calls, by outcome.",
    {Label.OUTCOME: frozenset({"completed", "error", "abandoned"})},  # abandoned: the link was lost during the call
)
MODEL_DURATION = Instrument(
    name="gen_ai.client.operation.duration",
    kind=Kind.HISTOGRAM,
    unit="s",
    help="GenAI operation duration.",
    # What the gen_ai conventions advise, carried on to ten minutes.
    buckets=(
        *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
        *(1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68, 655.36),
    ),
    labels={
        Label.GEN_AI_OPERATION: frozenset({Span.CHAT.value}),
        Label.GEN_AI_PROVIDER: values(PROVIDERS.values()),
        Label.ERROR_TYPE: _ERRORS,
    },
)
GATEWAY_LOG = counter(
    "gateway.log.events",
    "{line}",
    "Lines of the gateway's log of which a user had something, by what they say.",
    {Label.EVENT: frozenset({"lane_task_error", "candidate_failed", "recovery_none"})},
)
TURN_LOST_WAIT = histogram(
    "turn.lost.wait",
    "Time that a user had waited when the gateway gave the turn up, by the gateway's log.",
    (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0),
)


def _call_ended(into: Counting, call: model_calls.CallEnded) -> None:
    report = call.report
    if call.ending is not Ending.ENDED:
        into.meters.add(MODEL_CALLS, labels={Label.OUTCOME: "abandoned"})
        return
    outcome = "error" if report.event == model_calls.ERROR else "completed"
    into.meters.add(MODEL_CALLS, labels={Label.OUTCOME: outcome})
    labels = {
        Label.GEN_AI_OPERATION: Span.CHAT.value,
        Label.GEN_AI_PROVIDER: model_calls.provider_name(report.provider),
    }
    if outcome == "error":
        labels[Label.ERROR_TYPE] = report.error
    where = call.where or into.runs.get(report.run)
    into.meters.record(MODEL_DURATION, report.duration_ms / _MS_PER_SECOND, labels, where)


def count_log_line(meters: Meters, report: Diagnostic) -> None:
    """Count a line of the gateway's log; of the two lanes' lines, the session's has the session."""
    event = report.event.removeprefix(_LOG)
    meters.add(GATEWAY_LOG, labels={Label.EVENT: event})
    if report.reason == _TAKEOVER and event == "lane_task_error" and report.session:
        seconds = report.duration_ms / _MS_PER_SECOND
        meters.record(TURN_LOST_WAIT, seconds, where=TraceRef.parse(report.trace, report.span))


HANDLERS: Final[Handlers] = {model_calls.CallEnded: _call_ended}

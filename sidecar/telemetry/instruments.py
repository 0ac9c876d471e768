"""The catalogue: every metric with its kind, unit, help text, labels with their closed sets, and buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core.budget import Scope
from sidecar.core.change import Operation
from sidecar.core.gateway import Adapter
from sidecar.core.hold import Hold
from sidecar.core.incident import Outcome
from sidecar.core.loss import Loss
from sidecar.core.policy import Mode
from sidecar.core.verdict import Verdict
from sidecar.core.writer import WriterKind
from sidecar.telemetry.delivery import Signal
from sidecar.telemetry.instrument import Instrument, Kind
from sidecar.telemetry.labels import (
    NONE,
    PROVIDERS,
    CallError,
    CallOutcome,
    Ending,
    LockFailure,
    LockTimeout,
    LogEvent,
    OtlpDrop,
    PageOutcome,
    PolicyLoad,
    PolicySource,
    Queue,
    Rejection,
    StaleLock,
    Stall,
    TakeoverSource,
)
from sidecar.telemetry.names import Label, Metric, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LOCK_BUCKETS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)
"""Seconds, 1 ms to 10 min: 60 s is the gateway's time-out, 300 s its longest hold."""

LATENCY_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Seconds: a gateway waits 250 ms for an answer."""

MODEL_BUCKETS: Final = (
    *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
    *(1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68, 655.36),
)
"""Seconds: what the gen_ai conventions advise, carried on to ten minutes."""

WAIT_BUCKETS: Final = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Seconds: what a person waits for a turn."""


def _set(values: Iterable[str], *more: str) -> frozenset[str]:
    return frozenset(str(value) for value in values) | frozenset(more)


_WRITER: Final = {Label.WRITER_KIND: _set(WriterKind)}
_AGENT: Final[Mapping[Label, frozenset[str] | None]] = {Label.AGENT: None}
_JUDGED: Final = {Label.VERDICT: _set(Verdict, NONE)}
_YES_NO: Final = frozenset({"true", "false"})
_WAY: Final = {Label.WAY: frozenset({"pushed", "asked"})}

_C, _H, _G = Kind.COUNTER, Kind.HISTOGRAM, Kind.GAUGE


def _instrument(
    name: Metric,
    kind: Kind,
    unit: str,
    help_: str,
    labels: Mapping[Label, frozenset[str] | None] | None = None,
    *,
    buckets: tuple[float, ...] = (),
) -> Instrument:
    return Instrument(name=name, kind=kind, unit=unit, help=help_, labels=labels or {}, buckets=buckets)


INSTRUMENTS: Final = (
    _instrument(Metric.LOCK_WAIT, _H, "s", "Time a writer waited for the session lock.", _WRITER, buckets=LOCK_BUCKETS),
    _instrument(Metric.LOCK_HOLD, _H, "s", "Time a writer held the session lock.", _WRITER, buckets=LOCK_BUCKETS),
    _instrument(
        Metric.LOCK_FAILURES, _C, "{failure}", "Session locks not had, by reason.", {Label.REASON: _set(LockFailure)}
    ),
    _instrument(
        Metric.LOCK_STALE,
        _C,
        "{lock}",
        "Lock files that nobody will give back, once each, by reason.",
        {Label.REASON: _set(StaleLock)},
    ),
    _instrument(Metric.LOCKS_HELD, _G, "{lock}", "Session locks held now, by anyone."),
    _instrument(Metric.LOCK_HELD_AGE, _G, "s", "Age of the oldest session lock held now; 0 when none is."),
    _instrument(
        Metric.LOCK_TIMEOUTS,
        _C,
        "{timeout}",
        "Lock timeouts of fenced runs, by what came of them.",
        {Label.OUTCOME: _set(LockTimeout)},
    ),
    _instrument(
        Metric.WINDOW_LENGTH,
        _H,
        "s",
        "Time from the setting of a fence to the end of its window.",
        {Label.OUTCOME: _set(Ending)},
        buckets=LOCK_BUCKETS,
    ),
    _instrument(
        Metric.WINDOWS_CLOSED,
        _C,
        "{window}",
        "Windows that ended: whose, the gravest verdict on what they met, and how they ended.",
        {**_AGENT, Label.RUN_KIND: _set(WriterKind), **_JUDGED, Label.OUTCOME: _set(Ending)},
    ),
    _instrument(
        Metric.CHANGES,
        _C,
        "{change}",
        "Reported changes of session files.",
        {Label.OPERATION: _set(Operation), **_WRITER},
    ),
    _instrument(
        Metric.CHANGES_JUDGED,
        _C,
        "{change}",
        "Changes inside windows, by the verdict on them and who made them.",
        {**_AGENT, **_JUDGED, **_WRITER},
    ),
    _instrument(Metric.WRITTEN, _C, "By", "Bytes reported as written to session files.", {**_AGENT, **_WRITER}),
    _instrument(
        Metric.VERDICT_LATENCY, _H, "s", "Time from a gateway's question to its answer.", buckets=LATENCY_BUCKETS
    ),
    _instrument(
        Metric.LOOP_DELAY,
        _H,
        "s",
        "How late the sidecar came to something that was due, looked at ten times a second.",
        buckets=LATENCY_BUCKETS,
    ),
    _instrument(
        Metric.INCIDENTS,
        _C,
        "{incident}",
        "Incidents, once under each verdict that they reached.",
        {Label.VERDICT: _set(Verdict)},
    ),
    _instrument(
        Metric.RECOVERIES,
        _C,
        "{incident}",
        "Incidents, once under each outcome that their recovery reached.",
        {Label.OUTCOME: _set(Outcome)},
    ),
    _instrument(
        Metric.RECOVERY_COMMANDS,
        _C,
        "{command}",
        "Commands to move a fence, as the preload answered them.",
        {Label.RESULT: frozenset({"applied", "refused"}), **_WAY},
    ),
    _instrument(
        Metric.RECOVERY_LATENCY,
        _H,
        "s",
        "Time from question to moved fence, gateway's clock.",
        _WAY,
        buckets=LATENCY_BUCKETS,
    ),
    _instrument(
        Metric.RECOVERY_HOLDS,
        _C,
        "{incident}",
        "Incidents, once under each thing that held back their recovery though the evidence allowed it.",
        {Label.REASON: _set(Hold) - {Hold.NONE.value}},
    ),
    _instrument(
        Metric.POLICY_LOADS,
        _C,
        "{load}",
        "Times that a policy file was read, by what became of it.",
        {Label.OUTCOME: _set(PolicyLoad)},
    ),
    _instrument(Metric.PAGES, _C, "{page}", "Notifications, by outcome.", {Label.OUTCOME: _set(PageOutcome)}),
    _instrument(
        Metric.TURNS_LOST,
        _C,
        "{turn}",
        "Turns that a gateway's own fence stopped, by the verdict on the change.",
        _JUDGED,
    ),
    _instrument(
        Metric.TURN_LOST_WAIT,
        _H,
        "s",
        "Time that a user had waited when the gateway gave the turn up, by the gateway's log.",
        buckets=WAIT_BUCKETS,
    ),
    _instrument(
        Metric.TAKEOVERS,
        _C,
        "{takeover}",
        "Takeovers that a gateway reported, once for each run and file, by where they were heard of first.",
        {Label.SOURCE: _set(TakeoverSource)},
    ),
    _instrument(
        Metric.GATEWAY_LOG,
        _C,
        "{line}",
        "Lines of the gateway's log of which a user had something, by what they say.",
        {Label.EVENT: _set(LogEvent)},
    ),
    _instrument(Metric.MODEL_CALLS, _C, "{call}", "Model calls, by outcome.", {Label.OUTCOME: _set(CallOutcome)}),
    _instrument(
        Metric.MODEL_DURATION,
        _H,
        "s",
        "GenAI operation duration.",
        {
            Label.GEN_AI_OPERATION: frozenset({Span.CHAT.value}),
            Label.GEN_AI_PROVIDER: _set(PROVIDERS.values()),
            Label.ERROR_TYPE: _set(CallError),
        },
        buckets=MODEL_BUCKETS,
    ),
    _instrument(
        Metric.STALLS,
        _C,
        "{episode}",
        "Times that a session did not go on, each episode once, by what the gateway called it.",
        {Label.STATE: _set(Stall)},
    ),
    _instrument(
        Metric.SESSIONS_STALLED,
        _G,
        "{session}",
        "Sessions that do not go on now.",
        {Label.STATE: _set(Stall)},
    ),
    _instrument(Metric.REPORTS, _C, "{report}", "Messages received from preloads."),
    _instrument(Metric.REPORT_GAPS, _C, "{gap}", "Gaps in the sequence of a link's messages."),
    _instrument(Metric.REPORTS_LOST, _C, "{report}", "Messages that preloads had to drop."),
    _instrument(Metric.WATCH_OVERFLOWS, _C, "{overflow}", "Overflows of the kernel's queue of file events."),
    _instrument(
        Metric.CUSTODY_LOSSES,
        _C,
        "{loss}",
        "Times that custody became unknown, by class of reason.",
        {Label.REASON: _set(Loss)},
    ),
    _instrument(
        Metric.CUSTODY_UNKNOWN,
        _C,
        "s",
        "Time that custody of a fenced file was unknown, added up over the files.",
    ),
    _instrument(Metric.CUSTODY_UNKNOWN_FILES, _G, "{file}", "Fenced files of which custody is unknown now."),
    _instrument(Metric.REJECTED, _C, "{input}", "Input not taken, by reason.", {Label.REASON: _set(Rejection)}),
    _instrument(Metric.LINKS, _G, "{link}", "Links open."),
    _instrument(
        Metric.GATEWAYS,
        _G,
        "{gateway}",
        "OpenClaw processes seen, by the adapter for their fence and whether they are linked.",
        {Label.ADAPTER: _set(Adapter, NONE), Label.LINKED: _YES_NO},
    ),
    _instrument(
        Metric.PRELOAD_MISMATCHES,
        _G,
        "{gateway}",
        "Linked processes whose preload is not of this sidecar's version.",
    ),
    _instrument(Metric.WINDOWS_OPEN, _G, "{window}", "Fences set now."),
    _instrument(Metric.READY, _G, "1", "1 when socket, watch and store are in place."),
    _instrument(Metric.MODE, _G, "1", "1 for the mode in force.", {Label.MODE: _set(Mode)}),
    _instrument(Metric.PROBLEMS, _G, "{problem}", "Problems that an operator should mend."),
    _instrument(Metric.PAGES_PENDING, _G, "{page}", "Notifications that wait for an attempt."),
    _instrument(
        Metric.QUEUE_BYTES,
        _G,
        "By",
        "What waits to be read or taken.",
        {Label.QUEUE: _set((Queue.LINK, Queue.WATCH))},
    ),
    _instrument(
        Metric.QUEUE_ITEMS,
        _G,
        "{item}",
        "Spans and log records that wait.",
        {Label.QUEUE: _set((Queue.SPANS, Queue.OTLP_TRACES, Queue.OTLP_LOGS))},
    ),
    _instrument(Metric.WATCH_FILES, _G, "{file}", "Session files known."),
    _instrument(Metric.WATCH_DIRECTORIES, _G, "{directory}", "Sessions directories watched."),
    _instrument(
        Metric.POLICY_INFO,
        _G,
        "1",
        "1 for where the policy in force comes from.",
        {Label.SOURCE: _set(PolicySource)},
    ),
    _instrument(Metric.POLICY_RULES, _G, "{rule}", "Rules of the policy in force."),
    _instrument(
        Metric.POLICY_GOOD, _G, "1", "1 when the policy file as it was read last is in force, 0 when it was refused."
    ),
    _instrument(Metric.POLICY_LOAD_TIME, _G, "s", "When the policy in force was taken, seconds since the epoch."),
    _instrument(
        Metric.BUDGET_LIMIT,
        _G,
        "{recovery}",
        "Recoveries that the policy allows in a period; nothing where it has no budget.",
        {Label.SCOPE: _set(Scope)},
    ),
    _instrument(
        Metric.BUDGET_REMAINING,
        _G,
        "{recovery}",
        "Recoveries left now, for the session with the fewest and for the gateway; nothing where there is no budget.",
        {Label.SCOPE: _set(Scope)},
    ),
    _instrument(Metric.PAUSED, _G, "1", "1 while an operator has paused recovery."),
    _instrument(Metric.STORM, _G, "1", "1 while recovery is stopped because many sessions changed at once."),
    _instrument(Metric.START_TIME, _G, "s", "When the sidecar started, seconds since the epoch."),
    _instrument(Metric.BUILD_INFO, _G, "1", "1; the labels tell what runs.", {Label.VERSION: None, Label.PYTHON: None}),
    _instrument(Metric.SPANS, _C, "{span}", "Spans made.", {Label.SPAN: _set(Span)}),
    _instrument(
        Metric.SPANS_DROPPED, _C, "{span}", "Spans given up because a table was full.", {Label.SPAN: _set(Span)}
    ),
    _instrument(Metric.SERIES_DROPPED, _C, "{measurement}", "Measurements dropped by the cap on series."),
    _instrument(
        Metric.EXPORTS,
        _C,
        "{export}",
        "OTLP exports, by what came of them.",
        {Label.SIGNAL: _set(Signal), Label.OUTCOME: frozenset({"delivered", "failed"})},
    ),
    _instrument(
        Metric.OTLP_DROPPED,
        _C,
        "{item}",
        "Spans and log records that no backend took, by reason.",
        {Label.SIGNAL: _set((Signal.TRACES, Signal.LOGS)), Label.REASON: _set(OtlpDrop)},
    ),
    _instrument(Metric.ERRORS, _C, "{error}", "Errors inside telemetry that were kept from the service."),
    _instrument(
        Metric.LOG_LINES,
        _C,
        "{line}",
        "Log lines, by level.",
        {Label.LEVEL: frozenset({"debug", "info", "warning", "error", "critical"})},
    ),
)
"""Every metric there is."""

BY_NAME: Final = {instrument.name: instrument for instrument in INSTRUMENTS}

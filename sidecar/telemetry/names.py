"""Every name that telemetry uses: spans, their events and attributes, metrics and their labels.

OpenTelemetry's semantic conventions where they have a name (``gen_ai.*``, ``error.type``, ``file.path``), else the
namespace ``openclaw.``, which the gateway's own plugin uses too; the two never share a name. Metrics live below
``openclaw.sidecar.``, which Prometheus shows as ``openclaw_sidecar_``. The gen_ai names are copied because the package
with the conventions marks its module as private; a test compares them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

SCOPE: Final = "openclaw.sidecar"
"""The instrumentation scope of every span and metric."""

SERVICE: Final = "openclaw-sidecar"
"""``service.name`` unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES names another."""


class Span(StrEnum):
    """Span names. The one of a model call is followed by a space and the model."""

    RUN = "invoke_agent"
    LOCK = "session.lock"
    FENCE = "session.fence"
    VERDICT = "session.verdict"
    RECOVERY = "session.recovery"
    CHAT = "chat"


class Moment(StrEnum):
    """Events on spans."""

    LOCK_ACQUIRED = "lock.acquired"
    FENCE_MOVED = "fence.moved"
    CHANGE = "session.change"
    CUSTODY_LOST = "custody.lost"
    TURN_STOPPED = "turn.stopped"


class Attribute(StrEnum):
    """Attributes of spans and of their events."""

    FILE_PATH = "file.path"
    ERROR_TYPE = "error.type"

    GEN_AI_OPERATION = "gen_ai.operation.name"
    GEN_AI_PROVIDER = "gen_ai.provider.name"
    GEN_AI_MODEL = "gen_ai.request.model"
    GEN_AI_CONVERSATION = "gen_ai.conversation.id"
    GEN_AI_INPUT_TOKENS = "gen_ai.usage.input_tokens"
    GEN_AI_OUTPUT_TOKENS = "gen_ai.usage.output_tokens"

    GATEWAY_PID = "openclaw.gateway.pid"
    GATEWAY_VERSION = "openclaw.gateway.version"
    GATEWAY_ADAPTER = "openclaw.gateway.adapter"

    RUN_ID = "openclaw.run.id"
    RUN_KIND = "openclaw.run.kind"
    RUN_NAME = "openclaw.run.name"
    SESSION = "openclaw.session.hash"
    WINDOW_ID = "openclaw.window.id"
    WINDOW_PARTIAL = "openclaw.window.partial"

    WRITER_KIND = "openclaw.writer.kind"
    WRITER_NAME = "openclaw.writer.name"
    WRITER_PID = "openclaw.writer.pid"
    WRITER_RUN = "openclaw.writer.run_id"
    WRITER_OWN = "openclaw.writer.own"

    LOCK_WAIT = "openclaw.lock.wait_seconds"
    LOCK_HOLD = "openclaw.lock.hold_seconds"
    LOCK_PREVIOUS_KIND = "openclaw.lock.previous.writer.kind"
    LOCK_PREVIOUS_NAME = "openclaw.lock.previous.writer.name"

    FENCE_SIZE = "openclaw.fence.size_bytes"
    FENCE_MOVES = "openclaw.fence.moves"

    CHANGE_OPERATION = "openclaw.change.operation"
    CHANGE_LENGTH = "openclaw.change.length_bytes"
    CHANGE_OFFSET = "openclaw.change.offset_bytes"

    CUSTODY_REASON = "openclaw.custody.reason"

    INCIDENT_ID = "openclaw.incident.id"
    VERDICT = "openclaw.verdict"
    EVIDENCE = "openclaw.evidence"
    ANSWER = "openclaw.verdict.answer"
    UNEXPLAINED = "openclaw.unexplained_bytes"
    TURN_LOST = "openclaw.turn.lost"

    RECOVERY_OUTCOME = "openclaw.recovery.outcome"
    RECOVERY_MODE = "openclaw.recovery.mode"
    RECOVERY_APPLIED = "openclaw.recovery.applied"
    RECOVERY_PUSHED = "openclaw.recovery.pushed"
    RECOVERY_RECORDS = "openclaw.recovery.records"
    RECOVERY_COUNT = "openclaw.recovery.count"

    CALL_ID = "openclaw.call.id"
    CALL_DURATION = "openclaw.call.duration_seconds"


class Label(StrEnum):
    """Labels of metrics. Each has a closed set of values, see `sidecar.telemetry.instruments`."""

    WRITER_KIND = "writer_kind"
    RUN_KIND = "run_kind"
    OPERATION = "operation"
    REASON = "reason"
    OUTCOME = "outcome"
    VERDICT = "verdict"
    RESULT = "result"
    WAY = "way"
    STATE = "state"
    ADAPTER = "adapter"
    LINKED = "linked"
    MODE = "mode"
    SCOPE = "scope"
    SOURCE = "source"
    SPAN = "span"
    SIGNAL = "signal"
    LEVEL = "level"
    VERSION = "version"
    PYTHON = "python"
    AGENT = "agent"
    QUEUE = "queue"
    EVENT = "event"
    GEN_AI_OPERATION = "gen_ai.operation.name"
    GEN_AI_PROVIDER = "gen_ai.provider.name"
    ERROR_TYPE = "error.type"


class Metric(StrEnum):
    """Metric names, without the suffixes for unit and type that Prometheus adds."""

    LOCK_WAIT = "openclaw.sidecar.lock.wait"
    LOCK_HOLD = "openclaw.sidecar.lock.hold"
    LOCK_FAILURES = "openclaw.sidecar.lock.failures"
    LOCK_STALE = "openclaw.sidecar.lock.stale"
    LOCKS_HELD = "openclaw.sidecar.locks.held"
    LOCK_HELD_AGE = "openclaw.sidecar.lock.held.age"
    LOCK_TIMEOUTS = "openclaw.sidecar.lock.timeouts"
    WINDOW_LENGTH = "openclaw.sidecar.window.length"
    WINDOWS_CLOSED = "openclaw.sidecar.windows.closed"
    CHANGES = "openclaw.sidecar.changes"
    CHANGES_JUDGED = "openclaw.sidecar.changes.judged"
    WRITTEN = "openclaw.sidecar.written"
    VERDICT_LATENCY = "openclaw.sidecar.verdict.latency"
    LOOP_DELAY = "openclaw.sidecar.loop.delay"
    INCIDENTS = "openclaw.sidecar.incidents"
    RECOVERIES = "openclaw.sidecar.recoveries"
    RECOVERY_COMMANDS = "openclaw.sidecar.recovery.commands"
    RECOVERY_LATENCY = "openclaw.sidecar.recovery.latency"
    RECOVERY_HOLDS = "openclaw.sidecar.recovery.holds"
    POLICY_LOADS = "openclaw.sidecar.policy.loads"
    PAGES = "openclaw.sidecar.pages"
    TURNS_LOST = "openclaw.sidecar.turns.lost"
    TURN_LOST_WAIT = "openclaw.sidecar.turn.lost.wait"
    TAKEOVERS = "openclaw.sidecar.gateway.takeovers"
    GATEWAY_LOG = "openclaw.sidecar.gateway.log.events"
    MODEL_CALLS = "openclaw.sidecar.model.calls"
    MODEL_DURATION = "gen_ai.client.operation.duration"
    STALLS = "openclaw.sidecar.session.stalls"
    SESSIONS_STALLED = "openclaw.sidecar.sessions.stalled"
    REPORTS = "openclaw.sidecar.reports"
    REPORT_GAPS = "openclaw.sidecar.report.gaps"
    REPORTS_LOST = "openclaw.sidecar.reports.lost"
    WATCH_OVERFLOWS = "openclaw.sidecar.watch.overflows"
    CUSTODY_LOSSES = "openclaw.sidecar.custody.losses"
    CUSTODY_UNKNOWN = "openclaw.sidecar.custody.unknown"
    CUSTODY_UNKNOWN_FILES = "openclaw.sidecar.custody.unknown.files"
    REJECTED = "openclaw.sidecar.input.rejected"

    LINKS = "openclaw.sidecar.links"
    GATEWAYS = "openclaw.sidecar.gateways"
    PRELOAD_MISMATCHES = "openclaw.sidecar.preload.mismatches"
    WINDOWS_OPEN = "openclaw.sidecar.windows.open"
    READY = "openclaw.sidecar.ready"
    MODE = "openclaw.sidecar.mode"
    PROBLEMS = "openclaw.sidecar.problems"
    PAGES_PENDING = "openclaw.sidecar.pages.pending"
    QUEUE_BYTES = "openclaw.sidecar.queue"
    QUEUE_ITEMS = "openclaw.sidecar.queue.items"
    WATCH_FILES = "openclaw.sidecar.watch.files"
    WATCH_DIRECTORIES = "openclaw.sidecar.watch.directories"
    POLICY_INFO = "openclaw.sidecar.policy.info"
    POLICY_RULES = "openclaw.sidecar.policy.rules"
    POLICY_GOOD = "openclaw.sidecar.policy.reload.successful"
    POLICY_LOAD_TIME = "openclaw.sidecar.policy.load.time"
    BUDGET_LIMIT = "openclaw.sidecar.recovery.budget.limit"
    BUDGET_REMAINING = "openclaw.sidecar.recovery.budget.remaining"
    PAUSED = "openclaw.sidecar.paused"
    STORM = "openclaw.sidecar.storm"
    START_TIME = "openclaw.sidecar.start.time"
    BUILD_INFO = "openclaw.sidecar.build.info"

    SPANS = "openclaw.sidecar.spans"
    SPANS_DROPPED = "openclaw.sidecar.spans.dropped"
    SERIES_DROPPED = "openclaw.sidecar.series.dropped"
    EXPORTS = "openclaw.sidecar.otlp.exports"
    OTLP_DROPPED = "openclaw.sidecar.otlp.dropped"
    ERRORS = "openclaw.sidecar.telemetry.errors"
    LOG_LINES = "openclaw.sidecar.log.lines"

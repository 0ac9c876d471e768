"""The names of spans, their events and attributes, and of the labels of metrics.

OpenTelemetry's semantic conventions where they have a name (``gen_ai.*``, ``error.type``, ``file.path``), else the
namespace ``openclaw.``, which the gateway's own plugin uses too; the two never share a name. Metrics live below
``openclaw.sidecar.``, which Prometheus shows as ``openclaw_sidecar_``. The gen_ai names are copied because the package
with the conventions marks its module as private; a test compares them.
"""

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
    DATABASE_LOCK = "db.lock"
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
    TURN_LOST = "turn.lost"
    SESSION_CLAIMED = "session.claimed"


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
    GATEWAY_VERIFIED = "openclaw.gateway.verified"

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

    LOCK_OPERATION = "openclaw.lock.operation"
    LOCK_ROWS = "openclaw.lock.rows"
    LOCK_HOLDER_PID = "openclaw.lock.holder.pid"
    LOCK_HOLDER_COMMAND = "openclaw.lock.holder.command"
    LOCK_HOLDER_CONTAINER = "openclaw.lock.holder.container"
    THREAD_ID = "thread.id"

    FENCE_SIZE = "openclaw.fence.size_bytes"
    FENCE_MOVES = "openclaw.fence.moves"

    CHANGE_OPERATION = "openclaw.change.operation"
    CHANGE_LENGTH = "openclaw.change.length_bytes"
    CHANGE_OFFSET = "openclaw.change.offset_bytes"

    CUSTODY_REASON = "openclaw.custody.reason"

    INCIDENT_ID = "openclaw.incident.id"
    RECORD = "openclaw.record"
    VERDICT = "openclaw.verdict"
    VERDICT_REASON = "openclaw.verdict.reason"
    EVIDENCE = "openclaw.evidence"
    ANSWER = "openclaw.verdict.answer"
    UNEXPLAINED = "openclaw.unexplained_bytes"
    TURN_LOST = "openclaw.turn.lost"
    LOSS_CAUSE = "openclaw.turn.loss.cause"
    CLAIM_RUN = "openclaw.claim.run_id"
    CLAIM_PREVIOUS = "openclaw.claim.previous_run_id"
    CLAIM_SUPERSEDED = "openclaw.claim.superseded"

    RECOVERY_OUTCOME = "openclaw.recovery.outcome"
    RECOVERY_REASON = "openclaw.recovery.reason"
    RECOVERY_MODE = "openclaw.recovery.mode"
    RECOVERY_APPLIED = "openclaw.recovery.applied"
    RECOVERY_PUSHED = "openclaw.recovery.pushed"
    RECOVERY_RECORDS = "openclaw.recovery.records"
    RECOVERY_COUNT = "openclaw.recovery.count"

    CALL_ID = "openclaw.call.id"
    CALL_DURATION = "openclaw.call.duration_seconds"


class Label(StrEnum):
    """Labels of metrics. Each has a closed set of values, see `sidecar.telemetry.metrics`."""

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
    PART = "part"
    TROUBLE = "trouble"
    LINKED = "linked"
    MODE = "mode"
    SCOPE = "scope"
    SOURCE = "source"
    CAUSE = "cause"
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

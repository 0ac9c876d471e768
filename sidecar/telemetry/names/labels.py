"""The closed sets that labels of metrics are taken from, where the core has no enum for them."""

from enum import StrEnum
from typing import Final

OTHER: Final = "other"
"""Stands for every value outside a closed set."""

NONE: Final = "none"
"""Stands for the absence of a value, where an empty label would read as a missing one."""


class Rejection(StrEnum):
    """Why input was not taken."""

    MALFORMED = "malformed"
    """No message of this protocol, or not at this place."""
    PROTOCOL_VERSION = "protocol_version"
    NO_HELLO = "no_hello"
    TOO_LARGE = "too_large"
    FOREIGN_UID = "foreign_uid"
    PID_MISMATCH = "pid_mismatch"
    NOT_JSONL = "not_jsonl"
    NOT_A_GATEWAY = "not_a_gateway"
    """A gateway's message from a co-tenant that is none."""
    NOT_DECLARED = "not_declared"
    """A program outside of OpenClaw that the policy does not make a co-tenant."""
    NO_COTENANT = "no_cotenant"
    """One that it would, and that is a tool of a gateway's agent, or can't be seen and did not prove the token."""
    HOOK_REFUSED = "hook_refused"
    """An announcement over HTTP: no token, a wrong one, no end, or not what the file holds."""
    BAD_NAME = "bad_name"
    SYMLINK_OUTSIDE = "symlink_outside"
    UNREADABLE = "unreadable"
    BAD_REQUEST = "bad_request"
    """Of the HTTP interface."""


class PageOutcome(StrEnum):
    """What became of a notification."""

    SENT = "sent"
    RETRIED = "retried"
    FAILED = "failed"
    COVERED = "covered"
    """Not made: a page for the same session tells of it."""


class PolicyLoad(StrEnum):
    """What became of a policy file that was read."""

    LOADED = "loaded"
    REFUSED = "refused"


class StaleLock(StrEnum):
    """Why nobody will give a lock back, in the words of the gateway's own check (docs/telemetry.md)."""

    MISSING_PID = "missing_pid"
    """The lock file names no process."""
    DEAD_PID = "dead_pid"
    RECYCLED_PID = "recycled_pid"
    """The process of that id started at another time than the one that took the lock."""
    INVALID_CREATED_AT = "invalid_created_at"
    TOO_OLD = "too_old"
    HOLD_EXCEEDED = "hold_exceeded"
    """Held for longer than its holder said it would."""
    NON_OPENCLAW_OWNER = "non_openclaw_owner"
    """The process of that id is no gateway."""
    ORPHAN_SELF_PID = "orphan_self_pid"
    """The process of that id has said that it holds no lock of this file."""


class Queue(StrEnum):
    """What may pile up."""

    LINK = "link"
    """Messages of gateways that are not read, and commands that they have not read."""
    WATCH = "watch"
    """File events that the kernel keeps for us."""
    SPANS = "spans"
    """Spans that wait to know their trace."""
    OTLP_TRACES = "otlp_traces"
    OTLP_LOGS = "otlp_logs"


class Signal(StrEnum):
    """What is exported."""

    TRACES = "traces"
    METRICS = "metrics"
    LOGS = "logs"


class OtlpDrop(StrEnum):
    """Why a backend will not see a span or log record."""

    QUEUE_FULL = "queue_full"
    EXPORT_FAILED = "export_failed"


class Stall(StrEnum):
    """How a session fails to go on; the gateway's diagnostics events ``session.*``."""

    LONG_RUNNING = "long_running"
    STALLED = "stalled"
    STUCK = "stuck"


class DatabaseWork(StrEnum):
    """What a write transaction of an agent's database was for."""

    TRANSCRIPT = "transcript"
    """It stored rows of a transcript, or says so."""
    SESSION = "session"
    """What the gateway keeps of a session beside its transcript."""
    RECLAMATION = "reclamation"
    """Sessions are put away or brought up to date."""
    AGENT = "agent"
    """Anything else that the gateway calls an agent's."""


class DatabaseTrouble(StrEnum):
    """What is wrong, or is about to be, with a database of OpenClaw."""

    SPLIT = "split"
    """A process works on a file of it that nobody else finds."""
    QUARANTINED = "quarantined"
    """OpenClaw found it damaged, and does not open it any more."""
    WAL_GROWTH = "wal_growth"
    DISK_LOW = "disk_low"
    STRANGER = "stranger"
    """A process that is none of OpenClaw's keeps it open."""


PROVIDERS: Final = {
    "amazon-bedrock": "aws.bedrock",
    "anthropic": "anthropic",
    "azure-openai": "azure.ai.openai",
    "azure-openai-responses": "azure.ai.openai",
    "cerebras": "cerebras",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "github-copilot": "github-copilot",
    "google": "gcp.gemini",
    "google-vertex": "gcp.vertex_ai",
    "groq": "groq",
    "litellm": "litellm",
    "microsoft-foundry": "azure.ai.inference",
    "minimax": "minimax",
    "mistral": "mistral_ai",
    "moonshot": "moonshot",
    "ollama": "ollama",
    "openai": "openai",
    "openai-codex": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "vllm": "vllm",
    "xai": "x_ai",
    "zai": "zai",
}
"""OpenClaw's provider ids, and how the gen_ai conventions call the same where they know it."""

"""Who wrote."""

from __future__ import annotations

from enum import StrEnum

from sidecar.core.facts.value import Value


class WriterKind(StrEnum):
    """The closed set of writers; `UNKNOWN` stands for a kind that a newer preload names and we do not know."""

    USER_TURN = "user_turn"
    HEARTBEAT = "heartbeat"
    CRON = "cron"
    CHANNEL = "channel"
    COMMAND = "command"
    INJECT = "inject"
    MIRROR = "mirror"
    COMPACTION = "compaction"
    TRUNCATION = "truncation"
    MAINTENANCE = "maintenance"
    SESSIONS_SEND = "sessions_send"
    SUBAGENT = "subagent"
    MESSAGE_TOOL = "message_tool"
    CLI = "cli"
    GATEWAY = "gateway"
    DECLARED = "declared"
    FOREIGN = "foreign"
    UNKNOWN = "unknown"

    @classmethod
    def of(cls, text: str) -> WriterKind:
        """The kind of that name, `UNKNOWN` for any other text."""
        try:
            return cls(text)
        except ValueError:
            return cls.UNKNOWN


class Writer(Value, frozen=True):
    """A writer of session bytes.

    Attributes:
        name: Job id, channel or label; empty when there is none.
        pid: The process that wrote; 0 when not known.
        run_id: The agent run it belongs to; empty outside a run.
        uid: The user of that process, as the kernel told; -1 when not known.
        exe: The executable of that process, looked up when it linked; empty when not known.
        token: A program outside of OpenClaw, and it has proved that it knows the hooks token.
    """

    kind: WriterKind
    name: str = ""
    pid: int = 0
    run_id: str = ""
    uid: int = -1
    exe: str = ""
    token: bool = False

    def is_of(self, run_id: str) -> bool:
        """It belongs to this run, whose id is known."""
        return bool(run_id) and self.run_id == run_id

    def label(self) -> str:
        """A short name for people, such as ``cron daily-digest``."""
        return f"{self.kind.value} {self.name}" if self.name else self.kind.value

"""The locks of an agent's database: who was seen to hold one, and why one was not had."""

from enum import StrEnum

from sidecar.core.facts.process import Process
from sidecar.core.facts.value import Value


class LockError(StrEnum):
    """Why a write transaction was not had, or committed nothing: SQLite's result codes, in classes."""

    BUSY = "busy"
    """Somebody else held the lock until the gateway's patience was over."""
    FULL = "full"
    READONLY = "readonly"
    CORRUPT = "corrupt"
    OTHER = "other"


class LockKind(StrEnum):
    """Locks of a database in WAL mode (sqlite.org/walformat.html, "WAL Locks")."""

    WRITE = "write"
    """One writer at a time holds it, from BEGIN IMMEDIATE to COMMIT."""
    CHECKPOINT = "checkpoint"
    RECOVERY = "recovery"
    READ_MARK = "read_mark"
    """A reader holds it: the WAL can't be begun anew while it does."""
    OPEN = "open"
    """Everybody holds it who has the database open."""


class DatabaseHold(Value, frozen=True):
    """A process that was seen to hold a lock of a database. It is looked now and then: it may have held it for longer.

    Attributes:
        process: Who.
        command: Its program and the words behind it that can be no text; empty when not known.
        since_ns: When it was seen first.
        until_ns: When it was seen last; 0 while it holds the lock still.
    """

    process: Process
    command: str
    kind: LockKind
    since_ns: int
    until_ns: int = 0

    def overlaps(self, since_ns: int, until_ns: int) -> bool:
        """It was seen to hold the lock at some time between these."""
        return self.since_ns <= until_ns and (not self.until_ns or self.until_ns >= since_ns)

    def label(self) -> str:
        """For people."""
        process = self.process
        if process.tool is not None:
            return process.tool.label(process.pid)
        command = self.command or process.exe
        where = f" in container {process.container[:12]}" if process.container else ""
        return f"process {process.pid} ({command}){where}" if command else f"process {process.pid}{where}"

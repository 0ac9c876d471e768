"""A process that touched a file, as the kernel reported it."""

from enum import Enum

from sidecar.core.facts.value import Value


class Act(Enum):
    """What a process was seen to do."""

    WRITE = "write"
    """It changed, moved or removed the file."""
    CLOSE = "close"
    """It had it open for writing. A mapped file is written without any other sign."""
    METADATA = "metadata"
    """Times, mode, owner or links."""


class Process(Value, frozen=True):
    """A process as it was found when the kernel named it.

    Attributes:
        pid: Process id; 0 when the kernel does not tell (it lives in another pid namespace).
        started_at_ns: When it was started, nanoseconds since the epoch; 0 when it was gone before we could look.
        exe: Its executable; empty likewise.
        cgroup: Its control group; empty when it has none but the root.
        container: Id of its container as the control group names it; empty outside one.
        uid: Its effective user; -1 when it was gone before we could look.
    """

    pid: int
    started_at_ns: int = 0
    exe: str = ""
    cgroup: str = ""
    container: str = ""
    uid: int = -1

    def may_be(self, pid: int, started_at_ns: int) -> bool:
        """Nothing speaks against this being the process with that id and start."""
        return self.pid == pid != 0 and (not self.started_at_ns or started_at_ns in {0, self.started_at_ns})

    def label(self) -> str:
        """For people."""
        return f"process {self.pid} ({self.exe})" if self.exe else f"process {self.pid}"

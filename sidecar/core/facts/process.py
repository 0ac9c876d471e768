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


class Ancestor(Value, frozen=True):
    """A process that started another one.

    Attributes:
        command: Its program and the first words behind it that can be no text; empty when not known.
    """

    pid: int
    command: str = ""


class Tool(Value, frozen=True):
    """A program that an agent of a linked gateway started. It speaks for nobody: what it writes is foreign.

    Attributes:
        command: The program and the first words behind it that can be no text; empty when not known.
        parents: Who started it, and who that one, up to the gateway; empty where they are gone.
        gateway: Process id of the gateway.
        run_id: The run whose tool call it was, by the gateway's word; empty where none or several may have been.
        session: Hash of that run's session key; empty likewise.
        call: The name of the agent's tool, such as ``exec``; empty likewise.
    """

    command: str
    parents: tuple[Ancestor, ...]
    gateway: int
    run_id: str = ""
    session: str = ""
    call: str = ""

    def label(self, pid: int) -> str:
        """For people; ``pid`` is the tool's own."""
        said = f"a program that the agent started: {self.command or 'not known'} (process {pid})"
        in_run = f", in a tool call ({self.call}) of run {self.run_id}" if self.run_id else ""
        if not self.parents:
            return f"{said}, in the control group of gateway {self.gateway}; what started it is gone{in_run}"
        by = "".join(f", started by {p.command or 'a program not known'} ({p.pid})" for p in self.parents[:-1])
        return f"{said}{by}, started by gateway {self.gateway}{in_run}"


class Process(Value, frozen=True):
    """A process as it was found when the kernel named it.

    Attributes:
        pid: Process id; 0 when the kernel does not tell (it lives in another pid namespace).
        started_at_ns: When it was started, nanoseconds since the epoch; 0 when it was gone before we could look.
        exe: Its executable; empty likewise.
        cgroup: Its control group; empty when it has none but the root.
        container: Id of its container as the control group names it; empty outside one.
        uid: Its effective user; -1 when it was gone before we could look.
        tool: What is known of it as a program that an agent started; None where it is not known to be one.
    """

    pid: int
    started_at_ns: int = 0
    exe: str = ""
    cgroup: str = ""
    container: str = ""
    uid: int = -1
    tool: Tool | None = None

    def may_be(self, pid: int, started_at_ns: int) -> bool:
        """Nothing speaks against this being the process with that id and start."""
        return self.pid == pid != 0 and (not self.started_at_ns or started_at_ns in {0, self.started_at_ns})

    def label(self) -> str:
        """For people."""
        if self.tool is not None:
            return self.tool.label(self.pid)
        return f"process {self.pid} ({self.exe})" if self.exe else f"process {self.pid}"

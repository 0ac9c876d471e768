"""What the kernel shows of a process that has connected. `sidecar.identity.reader` reads it, the steps judge it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Seen:
    """A process, read at one moment.

    Attributes:
        pid: Its id in our namespace; 0 when it lives in one that we can't see.
        start: When it was started, in clock ticks since the machine was; -1 when not known.
        exe: Its executable, as the kernel tells; empty when it can't be read.
        hidden: It has written another title over its command line.
        script: Its main script, the links on the way followed; by its own word where the command line is hidden; empty
            when there is none, or none was told.
        package: The directory of the openclaw package that the script lies in; empty when it lies in none.
        ancestors: Its parent, the parent of that and so on, each with its start.
        orphan: Its parent is gone, and the init process of its namespace or a service manager has taken it over.
        cgroup: Its control group; empty for the root.
        lock: The gateway's lock that it holds; empty when it holds none.
        same: The process is the one that had connected, from before the first thing that was read to after the last.
    """

    pid: int
    start: int = -1
    exe: str = ""
    hidden: bool = False
    script: str = ""
    package: str = ""
    ancestors: tuple[tuple[int, int], ...] = ()
    orphan: bool = False
    cgroup: str = ""
    lock: str = ""
    same: bool = True

    @property
    def visible(self) -> bool:
        """Something can be told of the process itself."""
        return self.pid > 0 and bool(self.exe)

    @property
    def process(self) -> tuple[int, int]:
        """What no other process has as long as the machine runs."""
        return self.pid, self.start

    def of_the_program(self, other: "Seen") -> bool:
        """It runs the same program as another; of one whose package is not known, the executable has to do."""
        return self.exe == other.exe and other.package in {self.package, ""}

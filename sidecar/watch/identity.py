"""Who a process is, from /proc, read at once: it may be gone a moment later, and its id another's."""

import os
import re
import signal
import time
from pathlib import Path
from typing import Final

from sidecar.core.facts.process import Process

_PROC: Final = Path("/proc")
_TICK_NS: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_BOOTED_AT_NS: Final = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
"""Fixed for the life of this process: a start time serves to tell processes apart, whatever the clock does."""

_START_FIELD: Final = 19
"""Of /proc/PID/stat behind the name, which may hold blanks and parentheses itself (proc(5), field 22)."""

_CONTAINER: Final = re.compile(r"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])")
_EFFECTIVE_UID: Final = re.compile(r"^Uid:\s+\d+\s+(\d+)", re.MULTILINE)
_PARTS_OF_GROUP: Final = 3
_UNIFIED: Final = "0"


def identify(pid: int, pidfd: int = -1) -> Process:
    """The process as it is now. What could be another's of the same id is left out.

    Args:
        pid: Process id; 0 when not known.
        pidfd: A descriptor of the process, if there is one; it is not closed.
    """
    if not pid:
        return Process(0)
    started_at_ns = started(pid)
    found = Process(pid, started_at_ns, executable_of(pid), cgroup := cgroup_of(pid), container_of(cgroup), _uid(pid))
    gone = (pidfd >= 0 and not lives(pidfd)) or not started_at_ns or started(pid) != started_at_ns
    return Process(pid) if gone else found


def started(pid: int) -> int:
    """When the process was started, nanoseconds since the epoch, to a clock tick; 0 when it is gone."""
    ticks = start_ticks(pid)
    return 0 if ticks is None else started_at_ns(ticks)


def started_at_ns(ticks: int) -> int:
    """Clock ticks since the machine was started, as nanoseconds since the epoch."""
    return _BOOTED_AT_NS + ticks * _TICK_NS


def start_ticks(pid: int, proc: Path = _PROC) -> int | None:
    """When the process was started, in clock ticks since the machine was; None when it can't be seen."""
    try:
        stat = (proc / str(pid) / "stat").read_text(encoding="ascii", errors="replace")
        return int(stat.rpartition(")")[2].split()[_START_FIELD])
    except (OSError, ValueError, IndexError):
        return None


def cgroup_of(pid: int, proc: Path = _PROC) -> str:
    """The control group's path: of the unified hierarchy, or the longest of the older ones; empty for the root."""
    try:
        text = (proc / str(pid) / "cgroup").read_text(encoding="utf-8", errors="backslashreplace")
    except OSError:
        return ""
    # A group's name holds any character but a newline, what other programs take for the end of a line included.
    lines = (line.split(":", 2) for line in text.split("\n"))
    paths = {number: path for number, _, path in (line for line in lines if len(line) == _PARTS_OF_GROUP)}
    unified = paths.pop(_UNIFIED, "/")
    found = unified if unified != "/" else max(paths.values(), key=len, default="/")
    return "" if found == "/" else found


def container_of(cgroup: str) -> str:
    """The id that Docker, containerd, CRI-O and Podman put into the path: 64 hexadecimal digits; empty when none."""
    found = _CONTAINER.findall(cgroup)
    return found[-1] if found else ""


def executable_of(pid: int) -> str:
    """Path of a process' executable; empty when it is gone or not ours to see."""
    try:
        return str((_PROC / str(pid) / "exe").readlink())
    except OSError:
        return ""


def _uid(pid: int) -> int:
    try:
        status = (_PROC / str(pid) / "status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return -1
    found = _EFFECTIVE_UID.search(status)
    return int(found[1]) if found else -1


def lives(pidfd: int) -> bool:
    """The process of this descriptor has not ended; False without one."""
    if pidfd < 0:
        return False
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's
    return True

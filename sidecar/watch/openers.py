"""Who has a file open for writing now, from /proc: a hint for people, and no evidence. Needs no privilege."""

import os
import time
from pathlib import Path
from typing import Final

BOUND_SECONDS: Final = 0.01
"""A search ends after so much work of its own, whatever it has found: the event loop waits for it.

That is processor time: on a busy machine the wait for a processor would use it up before the first process is asked.
"""

_PROC: Final = Path("/proc")
_ACCESS_MODE: Final = 0o3


def open_for_writing(file: Path, bound_seconds: float = BOUND_SECONDS) -> list[int]:
    """Pids of the processes that we may look at and that have the file open for writing; the newest are asked first."""
    until = time.thread_time() + bound_seconds
    found: list[int] = []
    pids = sorted((int(name) for name in os.listdir(_PROC) if name.isdecimal()), reverse=True)  # noqa: PTH208 - names only
    for pid in pids:
        if time.thread_time() > until:
            break
        if pid != os.getpid() and _writes(pid, str(file)):
            found.append(pid)
    return found


def may_write(pid: int, file: str) -> bool:
    """A process that has the file open may write to it. False where it can be seen that it only reads.

    The file is told by its inode: in another mount namespace its path may be another.
    """
    try:
        wanted = os.stat(file)  # noqa: PTH116 - compared with many
        with os.scandir(f"/proc/{pid}/fd") as descriptors:
            names = [entry.name for entry in descriptors if _leads_to(entry.path, wanted)]
    except OSError:
        return True
    return any(_is_for_writing(pid, name) for name in names)


def _leads_to(descriptor: str, wanted: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(descriptor), wanted)  # noqa: PTH116 - one call for each descriptor there is
    except OSError:
        return False


def _writes(pid: int, file: str) -> bool:
    try:
        with os.scandir(f"/proc/{pid}/fd") as descriptors:
            return any(_is(pid, entry.name, file) for entry in descriptors)
    except OSError:
        return False


def _is(pid: int, descriptor: str, file: str) -> bool:
    try:
        if os.readlink(f"/proc/{pid}/fd/{descriptor}") != file:  # noqa: PTH115 - one call for each descriptor there is
            return False
    except OSError:
        return False
    return _is_for_writing(pid, descriptor)


def _is_for_writing(pid: int, descriptor: str) -> bool:
    try:
        text = Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    flags = next((line.split()[1] for line in text.splitlines() if line.startswith("flags:")), "0")
    return int(flags, 8) & _ACCESS_MODE != os.O_RDONLY

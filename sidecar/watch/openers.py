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
        text = Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    flags = next((line.split()[1] for line in text.splitlines() if line.startswith("flags:")), "0")
    return int(flags, 8) & _ACCESS_MODE != os.O_RDONLY

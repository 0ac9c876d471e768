"""Which process a pid is that somebody else wrote down: it is an id in the pid namespace of whoever wrote it.

A process has an id in its own namespace and in each one around it (pid_namespaces(7)). /proc shows the processes of one
namespace and of those inside of it, by their ids there, and says which ids they have further in.
"""

import os
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from sidecar.core.facts.bounded import Bounded
from sidecar.watch.identity import start_ticks

BOUND_SECONDS: Final = 0.05
"""A search of /proc ends after so much processor time of its own; what was not looked at may be anybody."""

MAX_FOUND: Final = 64
"""Processes of which is remembered where they were found."""

_PROC: Final = Path("/proc")
_INITIAL: Final = 0xEFFFFFFC
"""Inode of the machine's first pid namespace: fixed (the kernel's PROC_PID_INIT_INO)."""

_NSPID: Final = b"\nNSpid:"


class Sight(Enum):
    """What can be said of a process that somebody named."""

    SEEN = "seen"
    """It is there, and which one it is."""
    GONE = "gone"
    """It is not there any more."""
    HIDDEN = "hidden"
    """It is not to be seen from here. It may be in a namespace that is not inside of ours, or gone."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where a process was found.

    Attributes:
        pid: Its id here; 0 unless it is seen.
    """

    sight: Sight
    pid: int = 0


HIDDEN: Final = Found(Sight.HIDDEN)
GONE: Final = Found(Sight.GONE)


def pids_of(pid: int, proc: Path = _PROC) -> tuple[int, ...]:
    """A process' ids in the namespaces that it lives in, from ours inwards; nothing when it is gone.

    The ids of threads, which /proc answers to as well, are those of no process.
    """
    try:
        status = (proc / str(pid) / "status").read_bytes()
    except OSError:
        return ()
    if b"\nTgid:\t%d\n" % pid not in status:
        return ()
    ids = status.partition(_NSPID)[2].partition(b"\n")[0].split()
    return tuple(map(int, ids)) if ids and all(map(bytes.isdigit, ids)) else (pid,)


def proc_is_ours(proc: Path = _PROC) -> bool:
    """/proc shows the pid namespace that this process lives in, so that its ids are those that the kernel tells us."""
    try:
        return os.readlink(proc / "self") == str(os.getpid())  # noqa: PTH115 - a link that is not followed
    except OSError:
        return False


def is_initial(proc: Path = _PROC) -> bool:
    """This process lives in the machine's first pid namespace, and /proc shows that one: nobody is hidden."""
    try:
        return (proc / "self/ns/pid").stat().st_ino == _INITIAL and proc_is_ours(proc)
    except OSError:
        return False


class Namespaces:
    """Finds processes that others named. What was found of one whose start is known is kept."""

    def __init__(self, proc: Path = _PROC) -> None:
        """Look at ``proc``."""
        self._proc = proc
        self._usable = proc_is_ours(proc)
        self._all_seen = is_initial(proc)
        self._known: Bounded[tuple[int, int], int] = Bounded(MAX_FOUND)

    def find(self, own_pid: int, start: int | None, *, here: bool = False) -> Found:
        """The process that calls itself so.

        Args:
            own_pid: Its id as it knows it itself.
            start: When it was started, in clock ticks since the machine was (proc_pid_stat(5)); None when not known.
            here: It is known by other means that everybody who can be meant lives in our namespace, or inside of it.
        """
        everybody = here or self._all_seen
        if not self._usable or (start is None and not everybody):
            return HIDDEN
        found = self._search(own_pid, None) if start is None else self._started(own_pid, start)
        if found:
            return Found(Sight.SEEN, found)
        return GONE if found == 0 and everybody else HIDDEN

    def of_link(self, peer_pid: int, told_pid: int) -> tuple[int, ...]:
        """The ids of a process that linked: `sidecar.core.facts.gateway.Gateway.pids`.

        Args:
            peer_pid: Its id as the kernel tells it; 0 when it lives in a namespace that is not inside of ours.
            told_pid: Its id as it knows it itself, by its own word.
        """
        if not peer_pid or not self._usable:
            return (0, told_pid)
        return pids_of(peer_pid, self._proc) or (peer_pid,)

    def _started(self, own_pid: int, start: int) -> int | None:
        """Somebody who was not there when everybody was looked at has not been there since: the start is the past."""
        known = self._known.get((own_pid, start))
        if known is None or (known and not self._is(known, own_pid, start)):
            known = own_pid if self._is(own_pid, own_pid, start) else self._search(own_pid, start)
            if known is not None:
                self._known.put((own_pid, start), known)
        return known

    def _is(self, pid: int, own_pid: int, start: int | None) -> bool:
        ids = pids_of(pid, self._proc)
        return bool(ids) and ids[-1] == own_pid and start in {None, start_ticks(pid, self._proc)}

    def _search(self, own_pid: int, start: int | None) -> int | None:
        """Its id here; 0 when nobody calls itself so, None when that can't be told."""
        until = time.thread_time() + BOUND_SECONDS
        found = 0
        for name in os.listdir(self._proc):  # noqa: PTH208 - names only
            if time.thread_time() > until:
                return None
            if name.isdecimal() and self._is(int(name), own_pid, start):
                if found:
                    return None
                found = int(name)
        return found

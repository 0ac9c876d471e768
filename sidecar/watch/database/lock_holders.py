"""Who holds the locks of a database in WAL mode, by /proc/locks (proc(5)): SQLite takes them on bytes of ``-shm``.

No file of the database is opened for that: a process that closes any descriptor of one loses its own locks.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sidecar.core.facts.database import LockKind
from sidecar.watch.filesystem import file_system_of

LOCKS: Final = Path("/proc/locks")

_BYTES: Final = {
    LockKind.WRITE: (120, 120),
    LockKind.CHECKPOINT: (121, 121),
    LockKind.RECOVERY: (122, 122),
    LockKind.READ_MARK: (123, 127),
    LockKind.OPEN: (128, 128),
}
_HELD: Final = re.compile(rb"\d+: POSIX +\w+ +\w+ +(\d+) ([0-9a-f]+:[0-9a-f]+):(\d+) (\d+) (\d+|EOF)")
"""A lock that is waited for has an arrow behind its number. SQLite takes no locks of another type on ``-shm``."""


@dataclass(frozen=True, slots=True)
class Holders:
    """Who was seen at one look.

    Attributes:
        pids: Those with each lock, but for this process.
        hidden: ``-shm`` is there, and nobody was seen to have it open: whoever has lives in another pid namespace.
    """

    pids: dict[LockKind, frozenset[int]] = field(default_factory=dict)
    hidden: bool = False


class LockTableReader:
    """Reads the kernel's table of locks, once for any number of databases."""

    def __init__(self, locks: Path = LOCKS) -> None:
        """Read ``locks``."""
        self._locks = locks
        self._devices: dict[str, str] = {}

    def look(self, databases: Iterable[str]) -> dict[str, Holders]:
        """Who holds the locks of these databases now. A database that nobody has open is missing."""
        places = {database: place for database in databases if (place := self._place(database)) is not None}
        if not places:
            return {}
        try:
            lines = self._locks.read_bytes().splitlines()
        except OSError:
            return {database: Holders(hidden=True) for database in places}
        return {database: _holders(lines, *place) for database, place in places.items()}

    def _place(self, database: str) -> tuple[int, frozenset[bytes]] | None:
        """Inode and possible devices of ``-shm``."""
        try:
            found = os.stat(f"{database}-shm")  # noqa: PTH116 - as cheap as can be: done for each look
        except OSError:
            return None
        if database not in self._devices:
            self._devices[database] = file_system_of(Path(database).parent).device
        stated = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}"
        return found.st_ino, frozenset((stated.encode(), self._devices[database].encode()))


def _holders(lines: list[bytes], inode: int, devices: frozenset[bytes]) -> Holders:
    pids: dict[LockKind, set[int]] = {}
    everybody = set()
    mark = b":%d " % inode
    for line in lines:
        held = _HELD.match(line) if mark in line else None
        if held is None or held[2] not in devices or int(held[3]) != inode:
            continue
        pid, first = int(held[1]), int(held[4])
        last = first if held[5] == b"EOF" else int(held[5])
        everybody.add(pid)
        for kind, (low, high) in _BYTES.items():
            if first <= high and last >= low and pid not in {0, os.getpid()}:
                pids.setdefault(kind, set()).add(pid)
    return Holders({kind: frozenset(found) for kind, found in pids.items()}, hidden=not everybody - {0})

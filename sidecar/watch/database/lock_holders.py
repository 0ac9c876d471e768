"""Who holds the locks of a database in WAL mode, from the kernel's own list.

SQLite locks bytes of the ``-shm`` file (sqlite.org/walformat.html, "WAL locks"): `/proc/locks` names the process of
each. A process of another pid namespace is listed as 0.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from os import major, minor
from pathlib import Path
from typing import Final

PROC_LOCKS: Final = Path("/proc/locks")

# "1: POSIX  ADVISORY  WRITE 1234 08:01:131 120 120": type, mode, access, pid, device and inode, first and last byte.
_LINE: Final = re.compile(
    r"\d+: (?:POSIX|OFDLCK)\s+\w+\s+(?P<access>READ|WRITE)\s+(?P<pid>-?\d+) "
    r"(?P<major>[0-9a-f]+):(?P<minor>[0-9a-f]+):(?P<inode>\d+) (?P<first>\d+) (?P<last>\d+|EOF)"
)


class WalLock(IntEnum):
    """The bytes of ``-shm`` that SQLite locks."""

    WRITE = 120
    CHECKPOINT = 121
    RECOVER = 122
    READ0 = 123
    READ1 = 124
    READ2 = 125
    READ3 = 126
    READ4 = 127
    OPEN = 128


@dataclass(frozen=True, slots=True)
class LockHolder:
    """A process that holds one of the locks.

    Attributes:
        lock: Which.
        pid: The process; 0 when it is outside of this pid namespace.
        exclusive: Nobody else can hold it.
    """

    lock: WalLock
    pid: int
    exclusive: bool


def lock_holders(lines: Iterable[str], device: int, inode: int) -> Iterator[LockHolder]:
    """The holders of the locks on one ``-shm`` file.

    Args:
        lines: Of `/proc/locks`.
        device: Device number of the file, as stat tells it.
        inode: Its inode.
    """
    for line in lines:
        found = _LINE.match(line)
        if found is None or int(found["inode"]) != inode:
            continue
        if (int(found["major"], 16), int(found["minor"], 16)) != (major(device), minor(device)):
            continue
        last = WalLock.OPEN if found["last"] == "EOF" else int(found["last"])
        for byte in range(max(int(found["first"]), WalLock.WRITE), min(last, WalLock.OPEN) + 1):
            yield LockHolder(WalLock(byte), max(0, int(found["pid"])), found["access"] == "WRITE")

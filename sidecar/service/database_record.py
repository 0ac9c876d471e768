"""What is known of a database of OpenClaw from outside, by its last looks."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.watch.database.open_files import Identity, Stray, identity_of

WAL_LIMIT_BYTES: Final = 64 << 20
"""OpenClaw cuts a longer WAL when it begins it anew (journal_size_limit). One that stays longer is not begun anew."""

_LEAST_FREE_BYTES: Final = WAL_LIMIT_BYTES

STAY_NS: Final = 60 * NS_PER_SECOND
"""So long must something last to be told. A look-up, `openclaw doctor` or a backup by SQLite's own means takes seconds,
and behind a great transaction, such as a migration's, the WAL shrinks."""

CONFIRM_SECONDS: Final = 0.5
"""A file that is not at its path is told if it is still open so much later: the last one to close a database removes
its WAL first."""


@dataclass(slots=True)
class LongWal:
    """A WAL that is longer than it should be.

    Attributes:
        since_ns: When it was seen so first; it has not shrunk since.
        first: Its size then.
        last: Its size at the last look.
    """

    since_ns: int
    first: int
    last: int

    def is_growing(self, now_ns: int) -> bool:
        """It grows and does not shrink, for so long that it must be told."""
        return now_ns - self.since_ns >= STAY_NS and self.last > self.first


@dataclass(slots=True)
class DatabaseRecord:
    """One database.

    Attributes:
        now: What is at its path.
        before: What was there before.
        size: In bytes; 0 when it is gone.
        wal: Size of its write-ahead log in bytes.
        free: Bytes that are free for it; None when that can't be told.
        hidden: Whoever has it open lives in another pid namespace.
        openers: Who has it open.
        marks: Who was seen with a read mark at each look, and since when.
        strays: Its files that a process works on and that are not at their paths, and since when.
        strangers: Who has it open and is not OpenClaw's, by pid and start in clock ticks, and since when.
    """

    path: str
    now: Identity | None = None
    before: set[Identity] = field(default_factory=set)
    size: int = 0
    wal: int = 0
    free: int | None = None
    long_wal: LongWal | None = None
    hidden: bool = False
    openers: frozenset[int] = frozenset()
    marks: dict[int, int] = field(default_factory=dict)
    strays: dict[Stray, int] = field(default_factory=dict)
    strangers: dict[tuple[int, int], int] = field(default_factory=dict)

    def measure(self, now_ns: int) -> None:
        """Look at what is there, sizes and room."""
        now = identity_of(self.path)
        if self.now is not None and now != self.now:
            self.before.add(self.now)
        self.now = now
        self.before.discard(now or (0, 0))
        self.size, self.wal = _size(self.path), _size(f"{self.path}-wal")
        try:
            room = os.statvfs(Path(self.path).parent)
            self.free = room.f_bavail * room.f_frsize
        except OSError:
            self.free = None
        if self.wal <= WAL_LIMIT_BYTES:
            self.long_wal = None
        elif self.long_wal is None or self.wal < self.long_wal.last:
            self.long_wal = LongWal(now_ns, self.wal, self.wal)
        else:
            self.long_wal.last = self.wal

    @property
    def has_room(self) -> bool:
        """There is room for as much again, which a backup, an update or a checkpoint may need."""
        return self.free is None or self.free >= max(self.size + self.wal, _LEAST_FREE_BYTES)

    def split(self, now_ns: int) -> list[tuple[Stray, int]]:
        """The strays that were confirmed, and since when."""
        return [(stray, since_ns) for stray, since_ns in self.strays.items() if is_confirmed(since_ns, now_ns)]


def is_confirmed(since_ns: int, now_ns: int) -> bool:
    """A stray has been there for long enough."""
    return now_ns - since_ns >= CONFIRM_SECONDS * NS_PER_SECOND


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - as cheap as can be: done for each file at each look
    except OSError:
        return 0

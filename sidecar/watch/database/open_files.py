"""Which processes have files of databases open, from /proc, and which of these files are not at their paths any more.

Files are told by device and inode: a process in a container has them open by other names.
"""

import os
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

BOUND_SECONDS: Final = 0.05
"""A look ends after so much processor time of its own, whatever it has seen."""

SUFFIXES: Final = ("-wal", "-shm")

_PROC: Final = Path("/proc")
_NAME: Final = re.compile(
    r"(?P<directory>.*)/(?P<database>[^/]+\.sqlite)(?P<suffix>-wal|-shm)?(?:\.[^/]*)?(?P<gone> \(deleted\))?"
)
"""What /proc/PID/fd says of a file: one that was renamed goes by its new name, one that was removed says so."""

Identity = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Stray:
    """A file that a process works on, and that nobody else will find.

    Attributes:
        suffix: ``-wal``, ``-shm``, or empty for the database itself.
    """

    database: str
    pid: int
    suffix: str


@dataclass(slots=True)
class OpenFiles:
    """What was seen at one look.

    Attributes:
        pids: The processes that have each database open.
        strays: Files of databases that are not at their paths.
        unseen: Processes that we may not look at.
    """

    pids: dict[str, set[int]] = field(default_factory=dict)
    strays: set[Stray] = field(default_factory=set)
    unseen: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Descriptor:
    directory: str
    name: str
    suffix: str
    identity: Identity
    is_gone: bool


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a database should be, what is there, and what was there before."""

    directory: str
    name: str
    device: int
    now: Mapping[str, Identity | None]
    before: Collection[Identity]

    @classmethod
    def of(cls, database: str, before: Collection[Identity]) -> Self:
        directory, _, name = database.rpartition("/")
        holder = identity_of(directory)
        now = {suffix: identity_of(f"{database}{suffix}") for suffix in ("", *SUFFIXES)}
        return cls(directory, name, holder[0] if holder else -1, now, before)

    def lost(self, found: _Descriptor) -> bool:
        """The file was the database, and is not at its path any more."""
        if found.suffix or found.identity == self.now[""]:
            return False
        by_name = (found.directory, found.name, found.identity[0]) == (self.directory, self.name, self.device)
        return found.identity in self.before or (found.is_gone and by_name)


def open_files(
    databases: Mapping[str, Collection[Identity]],
    first: Iterable[int] = (),
    proc: Path = _PROC,
    bound_seconds: float = BOUND_SECONDS,
) -> OpenFiles:
    """Look at every process.

    Args:
        databases: Their paths, each with what was at that path before.
        first: Processes to look at ahead of the others.
        proc: Where processes are.
        bound_seconds: See `BOUND_SECONDS`.
    """
    until = time.thread_time() + bound_seconds
    places = {database: _Place.of(database, before) for database, before in databases.items()}
    everybody = sorted((int(name) for name in os.listdir(proc) if name.isdecimal()), reverse=True)  # noqa: PTH208 - names only
    found = OpenFiles()
    for pid in dict.fromkeys((*first, *everybody)):
        if time.thread_time() > until:
            break
        if pid != os.getpid():
            _look_at(pid, proc, places, found)
    return found


def identity_of(path: str) -> Identity | None:
    """Device and inode; None where there is no such file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - as cheap as can be: done for each file of each process
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _look_at(pid: int, proc: Path, places: Mapping[str, _Place], found: OpenFiles) -> None:
    try:
        descriptors = list(_descriptors(f"{proc}/{pid}/fd"))
    except PermissionError:
        found.unseen.add(pid)
        return
    except OSError:
        return  # it is gone
    for database, place in places.items():
        there = {d.directory for d in descriptors if not d.suffix and d.identity == place.now[""]}
        if there:
            found.pids.setdefault(database, set()).add(pid)
        for descriptor in descriptors:
            beside = descriptor.suffix and descriptor.directory in there and descriptor.name == place.name
            if place.lost(descriptor) or (beside and descriptor.identity != place.now[descriptor.suffix]):
                found.strays.add(Stray(database, pid, descriptor.suffix))


def _descriptors(directory: str) -> Iterator[_Descriptor]:
    """Those of databases. One that is closed meanwhile is none."""
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                target = os.readlink(entry.path)  # noqa: PTH115 - one call for each descriptor there is
            except OSError:
                continue
            named = _NAME.fullmatch(target) if ".sqlite" in target else None
            identity = identity_of(entry.path) if named is not None else None
            if named is not None and identity is not None:
                directory, name, suffix, gone = named.groups()
                yield _Descriptor(directory, name, suffix or "", identity, gone is not None)

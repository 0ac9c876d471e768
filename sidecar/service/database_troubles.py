"""What is wrong with databases of OpenClaw, or is about to be, in sentences for people."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sidecar.core.facts.database import DatabaseHold, LockKind
from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.service.database_record import STAY_NS, DatabaseRecord
from sidecar.telemetry.names.labels import DatabaseTrouble
from sidecar.watch.identity import identify
from sidecar.watch.processes import command_of
from sidecar.watch.tree import printable

REMEDIES: Final[Mapping[DatabaseTrouble, str]] = {
    DatabaseTrouble.SPLIT: (
        "copy the database, -wal and -shm as they are to a safe place, stop what removed or replaced the file (a sync"
        " tool, a clean-up, a restore), and restart that process"
    ),
    DatabaseTrouble.QUARANTINED: "restore it from a backup or repair it, then `openclaw doctor --fix`",
    DatabaseTrouble.WAL_GROWTH: (
        "end that reader, or have it read in short transactions; the gateway cuts the WAL by itself then"
    ),
    DatabaseTrouble.DISK_LOW: (
        "make room: a checkpoint may need as much as the WAL has, a backup or an update as much as both"
    ),
    DatabaseTrouble.STRANGER: (
        "see what it is; where it writes or reads for long, give it a copy made by SQLite's backup API or VACUUM INTO"
    ),
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong with one database."""

    kind: DatabaseTrouble
    database: str
    what: str


def troubles(databases: Collection[DatabaseRecord], quarantined: Collection[str], now_ns: int) -> Iterator[Trouble]:
    """All there are now. ``quarantined`` are the paths that OpenClaw keeps."""
    for path in quarantined:
        what = f"OpenClaw has found {printable(path)} damaged and does not open it: its sessions are not served"
        yield Trouble(DatabaseTrouble.QUARANTINED, path, what)
    for database in databases:
        for kind, what in _of(database, printable(database.path), now_ns):
            yield Trouble(kind, database.path, what)


def named(pid: int) -> str:
    """A process, for people."""
    return DatabaseHold(identify(pid), command_of(pid), LockKind.OPEN, 0).label()


def _of(database: DatabaseRecord, path: str, now_ns: int) -> Iterator[tuple[DatabaseTrouble, str]]:
    for stray, _ in database.split(now_ns):
        what = f"{named(stray.pid)} works on a {path}{stray.suffix} that was removed or replaced: what it commits"
        yield DatabaseTrouble.SPLIT, f"{what} is seen by nobody else, and is lost when it ends"
    wal = database.long_wal
    if wal is not None and wal.is_growing(now_ns):
        for_seconds = _seconds(now_ns - wal.since_ns)
        what = f"{path}-wal has grown to {_megabytes(wal.last)} and has not shrunk for {for_seconds} s"
        yield DatabaseTrouble.WAL_GROWTH, f"{what}: {_pinned_by(database, now_ns)}"
    if database.free is not None and not database.has_room:
        both = f"{_megabytes(database.size)} and {_megabytes(database.wal)} of WAL"
        yield DatabaseTrouble.DISK_LOW, f"{_megabytes(database.free)} are free where {path} is, which has {both}"
    for (pid, _start), since_ns in database.strangers.items():
        if now_ns - since_ns >= STAY_NS:
            what = f"{named(pid)} is not OpenClaw's, and has had {path} open for {_seconds(now_ns - since_ns)} s"
            yield DatabaseTrouble.STRANGER, what


def _pinned_by(database: DatabaseRecord, now_ns: int) -> str:
    """Who keeps the WAL from being begun anew: who has had a read mark for the longest, else who has it open."""
    if database.hidden:
        return "who has it open is not visible from here"
    if database.marks:
        pid, since_ns = min(database.marks.items(), key=lambda mark: mark[1])
        return f"{named(pid)} was seen reading it at each look for {_seconds(now_ns - since_ns)} s"
    names = ", ".join(map(named, sorted(database.openers)))
    return f"nobody was seen reading it; it is open in {names}" if names else "nobody was seen to have it open"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _seconds(nanoseconds: int) -> int:
    return round(nanoseconds / NS_PER_SECOND)

"""Reading a session file so that the result belongs to one fingerprint."""

import os
import stat
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Final

import msgspec

from sidecar.core.facts.content import BytesContent, Snapshot
from sidecar.core.facts.fingerprint import Fingerprint

MAX_FILE_BYTES: Final = 256 << 20
"""Larger session files are not read; their changes stay unattributed."""

_TRIES: Final = 3
_FIRST_LINE_BYTES: Final = 1 << 16
_UNSIGNED: Final = (1 << 64) - 1


def fingerprint_of(path: Path | str) -> Fingerprint:
    """The file's fingerprint now, following links as the gateway does; absent when there is none.

    Raises:
        OSError: The path can't be looked at for another reason.
    """
    try:
        return _fingerprint(os.stat(path))  # noqa: PTH116 - of each file each minute, and half as costly
    except FileNotFoundError:
        return Fingerprint.absent()


def open_without_waiting(path: Path) -> BufferedReader:
    """Open a file for reading. A FIFO that was put in its place can't hang the sidecar: it gives nothing to read."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY)

    return BufferedReader(FileIO(str(path), "rb", opener=opener))


def take_snapshot(path: Path) -> Snapshot:
    """Read the file between two equal fingerprints. Never raises: what goes wrong is the snapshot's ``problem``."""
    problem = "it kept changing while it was read"
    for _ in range(_TRIES):
        try:
            snapshot = _read_once(path)
        except FileNotFoundError:
            return Snapshot(Fingerprint.absent())
        except OSError as error:
            problem = error.strerror or str(error)
            break
        if snapshot is not None:
            return snapshot
    return _unread(path, problem)


def _unread(path: Path, problem: str) -> Snapshot:
    """What is known of a file without its bytes: its kind and owner must not look as if they had changed."""
    try:
        named, found = path.lstat(), path.stat()
    except FileNotFoundError:
        return Snapshot(Fingerprint.absent())
    except OSError:
        return Snapshot(Fingerprint(exists=True), problem=problem)
    return Snapshot(_fingerprint(found), regular=stat.S_ISREG(named.st_mode), uid=found.st_uid, problem=problem)


def jsonl_problem(path: Path) -> str:
    """Why the file's first line is no JSON object; empty when it is one, or when there is no whole line yet.

    A hint for people: verdicts rest on bytes, whatever they mean.
    """
    try:
        with open_without_waiting(path) as file:
            line = file.readline(_FIRST_LINE_BYTES)
    except OSError:
        return ""
    if not line.endswith(b"\n"):
        return f"its first line is longer than {_FIRST_LINE_BYTES} bytes" if len(line) == _FIRST_LINE_BYTES else ""
    try:
        first = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "its first line is no JSON"
    return "" if isinstance(first, dict) else "its first line is no JSON object"


def _read_once(path: Path) -> Snapshot | None:
    """A snapshot, or None when the file changed meanwhile."""
    named = path.lstat()
    with open_without_waiting(path) as file:
        descriptor = file.fileno()
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            return Snapshot(_fingerprint(before), regular=False, uid=before.st_uid, problem="it is no regular file")
        if before.st_size > MAX_FILE_BYTES:
            problem = f"it has {before.st_size} bytes, at most {MAX_FILE_BYTES} are read"
            return Snapshot(_fingerprint(before), uid=before.st_uid, problem=problem)
        data = _read_all(descriptor, before.st_size)
        after = os.fstat(descriptor)
    fingerprint = _fingerprint(after)
    if _fingerprint(before) != fingerprint or fingerprint_of(path) != fingerprint or len(data) != after.st_size:
        return None
    return Snapshot(fingerprint, BytesContent(data), regular=stat.S_ISREG(named.st_mode), uid=after.st_uid)


def _read_all(descriptor: int, size: int) -> bytes:
    parts: list[bytes] = []
    left = size + 1
    while left > 0:
        part = os.read(descriptor, left)
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _fingerprint(found: os.stat_result) -> Fingerprint:
    return Fingerprint(
        exists=True,
        dev=found.st_dev,
        ino=found.st_ino,
        size=found.st_size,
        mtime_ns=found.st_mtime_ns & _UNSIGNED,  # before 1970; the preload does the same
        ctime_ns=found.st_ctime_ns & _UNSIGNED,
    )

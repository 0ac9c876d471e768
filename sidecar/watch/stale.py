"""Lock files that nobody will give back, by the rules of the gateway's own check (`inspectLockPayload` of its bundle).

The sidecar only says so: the gateway removes such a file itself when it next wants the lock (rule 4).
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from sidecar.watch.lockfile import SUFFIX, start_of
from sidecar.watch.namespaces import HIDDEN, Found, Sight, pids_of
from sidecar.watch.reading import open_without_waiting

STALE_SECONDS: Final = 30 * 60
"""The gateway's OPENCLAW_SESSION_WRITE_LOCK_STALE_MS, where nobody set another."""

GRACE_SECONDS: Final = 5.0
"""A lock file is empty for a moment after it was made: one that says nothing is judged when it is older than this."""

_MAX_BYTES: Final = 4096


class _Payload(msgspec.Struct, frozen=True, rename="camel"):
    pid: object = None
    created_at: object = None
    starttime: object = None
    max_hold_ms: object = None


@dataclass(frozen=True, slots=True)
class LockFile:
    """A lock file as it is now.

    Attributes:
        key: Tells it apart from one that is made later under the same name.
        age_seconds: Since it was made, by its own word, or by its modification time where it says nothing.
        pid: Who holds it, in the pid namespace of whoever that is; 0 when it names nobody.
        visible_pid: The same process' id here; 0 when it can't be seen from here, or is gone.
        reasons: Why nobody will give it back, in the words of `sidecar.telemetry.names.labels.StaleLock`; empty when
            all is well.
    """

    key: tuple[int, int, int]
    age_seconds: float
    pid: int
    visible_pid: int
    reasons: tuple[str, ...]


def inspect_lock(
    session: Path,
    now_seconds: float,
    find: Callable[[int, int | None], Found],
    holds: Callable[[int, float], bool],
) -> LockFile | None:
    """Look at the lock of a session file; None when it is gone, or nothing that can be read.

    Args:
        session: The session file.
        now_seconds: The time, since the epoch.
        find: Finds a process by its id in its own pid namespace, and its start.
        holds: Whether a process may hold the lock of this file, made at that time: False when it says that it does not.
    """
    path = session.with_name(session.name + SUFFIX)
    try:
        with open_without_waiting(path) as file:
            stat = os.fstat(file.fileno())
            text = file.read(_MAX_BYTES) or b""
    except OSError:
        return None
    try:
        payload = msgspec.json.decode(text, type=_Payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        payload = _Payload()
    pid = payload.pid if isinstance(payload.pid, int) and not isinstance(payload.pid, bool) and payload.pid > 0 else 0
    touched = max(0.0, now_seconds - stat.st_mtime)
    created = _age(payload.created_at, now_seconds)
    age = touched if created is None else created
    found = find(pid, start_of(payload.starttime)) if pid and touched > GRACE_SECONDS else HIDDEN
    reasons = (
        tuple(_reasons(payload, pid, found, created, lambda: holds(found.pid, stat.st_mtime)))
        if touched > GRACE_SECONDS
        else ()
    )
    return LockFile((stat.st_dev, stat.st_ino, stat.st_ctime_ns), age, pid, found.pid, reasons)


def _reasons(payload: _Payload, pid: int, found: Found, age: float | None, holds: Callable[[], bool]) -> Iterable[str]:
    """Nothing is concluded from a process that can't be seen from here."""
    if not pid:
        yield "missing_pid"
    elif found.sight is Sight.GONE:
        yield "recycled_pid" if pids_of(pid)[-1:] == (pid,) else "dead_pid"
    elif found.sight is Sight.SEEN:
        if not _may_lock(found.pid):
            yield "non_openclaw_owner"
        elif not holds():
            yield "orphan_self_pid"
    if age is None:
        yield "invalid_created_at"
        return
    if age > STALE_SECONDS:
        yield "too_old"
    hold_ms = payload.max_hold_ms
    if isinstance(hold_ms, int | float) and 0 < hold_ms < age * 1000:
        yield "hold_exceeded"


def _age(created_at: object, now_seconds: float) -> float | None:
    if not isinstance(created_at, str):
        return None
    try:
        return max(0.0, now_seconds - datetime.fromisoformat(created_at).timestamp())
    except (ValueError, OverflowError):
        return None


def _may_lock(pid: int) -> bool:
    """It is OpenClaw, or `openclaw-sidecar write`. A process whose arguments can't be read is let pass."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").lower()
    except OSError:
        return True
    return not arguments.strip("\0 ") or "openclaw" in arguments

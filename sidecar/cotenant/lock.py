"""The session lock, taken and given back as the gateway does it.

A file ``<session>.jsonl.lock`` is made exclusively and holds the owner as pretty-printed JSON. Whoever finds one waits
and tries again every 50 ms. It is removed by its owner, if it still is the same file with the same text. All that was
read in the session-write-lock and sidecar-lock modules of OpenClaw 2026.5.18 to 2026.7.35.

Departures, both on the careful side:

- A lock of a dead process is not broken here. The gateway breaks it at its own next write; from here a process in
  another pid namespace, such as a gateway in another container, looks dead while it is at work.
- ``maxHoldMs`` is always in the payload; releases before 2026.5.22 ignore it.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.cotenant.errors import LockHeldError, WriteFailedError
from sidecar.watch.identity import executable_of, start_ticks
from sidecar.watch.lockfile import start_of
from sidecar.watch.namespaces import Namespaces

RETRY_SECONDS: Final = 0.05
_PREFIX: Final = "OPENCLAW_SESSION_WRITE_LOCK_"
_ACQUIRE_MS: Final = 60_000
_MAX_HOLD_MS: Final = 300_000
_MAX_SAFE: Final = (1 << 53) - 1


@dataclass(frozen=True, slots=True)
class LockTimes:
    """How long the gateway waits for a lock and holds one.

    Attributes:
        acquire_seconds: When a wait is given up; infinite if so configured.
        max_hold_ms: Said in the payload: a hold that is older counts as overdue.
    """

    acquire_seconds: float = _ACQUIRE_MS / 1000
    max_hold_ms: int = _MAX_HOLD_MS

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> LockTimes:
        """As the gateway reads its environment: what is no positive whole number counts as not said."""
        acquire = environ.get(f"{_PREFIX}ACQUIRE_TIMEOUT_MS", "").strip()
        seconds = float("inf") if acquire == "Infinity" else (_positive(acquire) or _ACQUIRE_MS) / 1000
        return cls(seconds, _positive(environ.get(f"{_PREFIX}MAX_HOLD_MS", "").strip()) or _MAX_HOLD_MS)


def _positive(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and int(text) <= _MAX_SAFE else 0


@dataclass(frozen=True, slots=True)
class Hold:
    """A lock that is held by this process.

    Attributes:
        path: The lock file.
        waited_ns: How long it took to get it.
    """

    path: Path
    waited_ns: int
    _raw: bytes
    _identity: tuple[int, int]

    def is_ours(self) -> bool:
        """It still is the same file with the same text."""
        try:
            found = self.path.lstat()
            return (found.st_dev, found.st_ino) == self._identity and self.path.read_bytes() == self._raw
        except OSError:
            return False

    def release(self) -> bool:
        """Remove it if it still is ours; False when it is not."""
        if not self.is_ours():
            return False
        with contextlib.suppress(OSError):
            self.path.unlink()
        return True


def acquire(session_file: Path, times: LockTimes, check: Callable[[], None] = lambda: None) -> Hold:
    """Wait for the lock of a session, and take it.

    Args:
        session_file: By its directory's real path.
        times: How long to wait, and what to tell others.
        check: Called before each try; it may raise to end the wait.

    Raises:
        LockHeldError: Somebody else held it all the time; the text says who.
        WriteFailedError: It could not be made.
    """
    path = session_file.with_name(session_file.name + ".lock")
    asked = time.monotonic_ns()
    while True:
        check()
        try:
            raw, identity = _make(path, times)
        except FileExistsError:
            waited = (time.monotonic_ns() - asked) / NS_PER_SECOND
            if waited >= times.acquire_seconds:
                raise LockHeldError(path, *_holder(path, waited)) from None
            time.sleep(min(RETRY_SECONDS, max(0.0, times.acquire_seconds - waited)))
            continue
        except OSError as error:
            raise WriteFailedError(f"session lock {path} can't be made: {error.strerror or error}") from error
        return Hold(path, time.monotonic_ns() - asked, raw, identity)


def _make(path: Path, times: LockTimes) -> tuple[bytes, tuple[int, int]]:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        raw = f"{json.dumps(_payload(times), indent=2)}\n".encode()
        # One write: for a moment the file is empty, and gateways bear that for seconds.
        os.write(handle, raw)
        made = os.fstat(handle)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    return raw, (made.st_dev, made.st_ino)


def _payload(times: LockTimes) -> dict[str, Any]:
    created = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    payload: dict[str, Any] = {"pid": os.getpid(), "createdAt": created, "maxHoldMs": times.max_hold_ms}
    started = start_ticks(os.getpid())
    return payload if started is None else payload | {"starttime": started}


def _holder(path: Path, waited: float) -> tuple[str, float, str]:
    """Who holds the lock, for people, and what to do."""
    retry = "try again, or wait longer with OPENCLAW_SESSION_WRITE_LOCK_ACQUIRE_TIMEOUT_MS"
    try:
        payload = json.loads(path.read_bytes())
        pid, since = int(payload["pid"]), str(payload.get("createdAt", ""))[:40]
        known = payload.get("starttime")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "an owner that does not say who it is", waited, retry
    if not 0 < pid <= (1 << 31) - 1:
        return f"process {pid}, which is none", waited, retry
    found = Namespaces().find(pid, start_of(known))
    if not found.pid:
        remedy = "the gateway removes a dead owner's lock at its next write to the session; this command never does"
        return f"process {pid}, which is gone or not to be seen from here (since {since})", waited, remedy
    return f"process {found.pid} ({executable_of(found.pid) or 'of another user'}, since {since})", waited, retry

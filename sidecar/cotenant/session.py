"""One session file under its lock: what is there, and the one change that is made to it.

Each change is announced before its first byte, and the file is on the disk before its end is told. What could not be
written whole is taken back.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sidecar.core.change import Operation
from sidecar.cotenant.change import Change
from sidecar.cotenant.errors import LockHeldError, LockLostError, SessionFileError, WriteFailedError
from sidecar.cotenant.lock import acquire
from sidecar.watch.reading import MAX_FILE_BYTES, fingerprint_of
from sidecar.watch.records import parse_records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sidecar.core.fingerprint import Fingerprint
    from sidecar.core.lineage import Record
    from sidecar.cotenant.announcer import Announces, Report
    from sidecar.cotenant.lock import Hold, LockTimes


class LockedSession:
    """A session file while its lock is held here. Made by `locked`.

    Attributes:
        lock_kept: When the lock was given back, it still was ours.
        held_ns: How long it was held.
    """

    def __init__(self, path: Path, hold: Hold, announces: Announces) -> None:
        """Read the file.

        Raises:
            SessionFileError: It is not there, not ours, or ends in the middle of a record.
        """
        self.path = path
        self.hold = hold
        self.lock_kept = False
        self.held_ns = 0
        self._announces = announces
        self.data = _read(path)
        self.fingerprint = fingerprint_of(path)
        if self.fingerprint.size != len(self.data):
            raise SessionFileError(path, "it changed while the lock was held, by somebody without it", "try again")

    @property
    def records(self) -> list[Record]:
        """The shapes of its records."""
        return parse_records(self.data.split(b"\n"))[0]

    def append(self, data: bytes) -> Change:
        """Add whole records at the end, in one write.

        Raises:
            LockLostError: The lock is not ours any more; nothing was written.
            SidecarAwayError: The sidecar is gone; nothing was written.
            WriteFailedError: The bytes could not be written; what had been was taken back.
        """
        size = len(self.data)
        change = Change.of(Operation.APPEND, size, data)
        begun = self._begin(change)
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            _write(handle, data)
        except OSError as error:
            self._take_back(handle, size, begun)
            raise WriteFailedError(
                f"{self.path}: {error.strerror or error}; what had been written is taken back"
            ) from error
        finally:
            os.close(handle)
        self._announces.end(begun, fingerprint_of(self.path))
        return change

    def replace(self, data: bytes) -> Change:
        """Put whole new content in the place of the old, in one step.

        Raises:
            LockLostError: The lock is not ours any more; nothing was written.
            SidecarAwayError: The sidecar is gone; nothing was written.
            WriteFailedError: The new content could not be written; the old one is untouched.
        """
        change = Change.of(Operation.REWRITE, 0, data)
        fresh = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        mode = stat.S_IMODE(self.path.stat().st_mode)
        try:
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            try:
                os.fchmod(handle, mode)
                _write(handle, data)
            finally:
                os.close(handle)
            begun = self._begin(change)
            fresh.replace(self.path)
        except OSError as error:
            raise WriteFailedError(f"{self.path}: {error.strerror or error}; nothing was written") from error
        finally:
            fresh.unlink(missing_ok=True)
        _flush_directory(self.path.parent)
        self._announces.end(begun, fingerprint_of(self.path))
        return change

    def _begin(self, change: Change) -> Report:
        if not self.hold.is_ours():
            raise LockLostError(self.hold.path, "nothing was written")
        if fingerprint_of(self.path) != self.fingerprint:
            raise SessionFileError(self.path, "it changed while the lock was held, by somebody without it", "try again")
        self._announces.check()
        begun = self._announces.begin(str(self.path), self.fingerprint, change)
        # What the socket did not take was not announced.
        self._announces.check()
        return begun

    def _take_back(self, handle: int, size: int, begun: Report) -> None:
        """Cut off the part of a record that was written; nobody else may write while we hold the lock."""
        try:
            os.ftruncate(handle, size)
            os.fsync(handle)
        except OSError:
            self._announces.end(begun, fingerprint_of(self.path), {"failed": True})
            return
        nothing = {"op": Operation.METADATA.value, "length": 0, "sha256": "", "offset": -1}
        self._announces.end(begun, fingerprint_of(self.path), nothing)


@contextmanager
def locked(
    path: Path, times: LockTimes, announces: Announces, check: Callable[[], None] = lambda: None
) -> Iterator[LockedSession]:
    """Hold the lock of a session within the block; afterwards `LockedSession.lock_kept` says whether that is true.

    Raises:
        LockHeldError: It was not had in time.
        SessionFileError: The file can't be written to as it is.
    """
    asked = time.monotonic_ns()
    try:
        hold = acquire(path, times, check)
    except LockHeldError:
        announces.lock_failed(str(path), time.monotonic_ns() - asked)
        raise
    since = time.monotonic_ns()
    session: LockedSession | None = None
    try:
        announces.lock_taken(str(path), hold)
        session = LockedSession(path, hold, announces)
        yield session
    finally:
        after: Fingerprint | None = None
        with contextlib.suppress(OSError):
            after = fingerprint_of(path)
        kept = hold.release()
        held_ns = time.monotonic_ns() - since
        if session is not None:
            session.lock_kept, session.held_ns = kept, held_ns
        if after is not None:
            announces.lock_released(str(path), after, held_ns)


def _read(path: Path) -> bytes:
    try:
        _check(path, path.lstat())
        data = path.read_bytes()
    except SessionFileError:
        raise
    except OSError as error:
        raise SessionFileError(path, error.strerror or str(error), "check SESSION") from error
    if not data:
        raise SessionFileError(path, "it is empty", "have the gateway take a first turn")
    if not data.endswith(b"\n"):
        remedy = "its last record is not whole; have somebody look at it"
        raise SessionFileError(path, "it ends in the middle of a record", remedy)
    return data


def _check(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise SessionFileError(path, "it is no regular file", "look at what is in its place")
    if found.st_uid != os.geteuid():
        remedy = "run this command as the user that the gateway runs as"
        raise SessionFileError(path, f"it belongs to user {found.st_uid}", remedy)
    if found.st_size > MAX_FILE_BYTES:
        raise SessionFileError(path, f"it has more than {MAX_FILE_BYTES} bytes", "have the gateway compact it")


def _write(handle: int, data: bytes) -> None:
    """All of it in one call, and on the disk."""
    written = os.write(handle, data)
    if written != len(data):
        raise OSError(0, f"only {written} of {len(data)} bytes were taken")
    os.fsync(handle)


def _flush_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""One session file under its lock: what is there, and the one change that is made to it.

Each change is announced before its first byte, and the file is on the disk before its end is told. What could not be
written whole is taken back, as long as nobody wrote behind it.
"""

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sidecar.core.custody.lineage import Record
from sidecar.core.facts.change import Operation
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.cotenant.announcer import Announces, Report
from sidecar.cotenant.change import Change
from sidecar.cotenant.errors import CotenantError, LockHeldError, LockLostError, SessionFileError, WriteFailedError
from sidecar.cotenant.lock import Hold, LockTimes, acquire
from sidecar.watch.reading import MAX_FILE_BYTES, fingerprint_of
from sidecar.watch.records import parse_records


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
            SessionFileError: Somebody changed the file meanwhile; nothing was written.
            WriteFailedError: The bytes could not be written; what had been was taken back, or the text says why not.
        """
        size = len(self.data)
        change = Change.of(Operation.APPEND, size, data)
        with _told(self.path):
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            begun = self._begin(change)
            try:
                _write(handle, data)
            except OSError as error:
                left = self._take_back(handle, size, data, begun)
                raise WriteFailedError(f"{self.path}: {error.strerror or error}; {left}") from error
        finally:
            os.close(handle)
        self._announces.end(begun, fingerprint_of(self.path))
        return change

    def replace(self, data: bytes) -> Change:
        """Put whole new content in the place of the old, in one step.

        Raises:
            LockLostError: The lock is not ours any more; nothing was written.
            SidecarAwayError: The sidecar is gone; nothing was written.
            SessionFileError: Somebody changed the file meanwhile; nothing was written.
            WriteFailedError: The new content could not be written; the old one is untouched, or the text says so.
        """
        change = Change.of(Operation.REWRITE, 0, data)
        fresh = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        try:
            with _told(self.path):
                _make(fresh, stat.S_IMODE(self.path.stat().st_mode), data)
            begun = self._begin(change)
            try:
                with _told(self.path):
                    fresh.replace(self.path)
            except WriteFailedError:
                self._end_without_a_byte(begun)
                raise
        finally:
            fresh.unlink(missing_ok=True)
        try:
            _flush_directory(self.path.parent)
        except OSError as error:
            told = "it was written, and may be gone when the machine stops before its disk has it"
            raise WriteFailedError(f"{self.path}: {error.strerror or error}; {told}") from error
        finally:
            self._announces.end(begun, fingerprint_of(self.path))
        return change

    def _begin(self, change: Change) -> Report:
        self._check()
        self._announces.check()
        begun = self._announces.begin(str(self.path), self.fingerprint, change)
        try:
            # What the socket did not take was not announced.
            self._announces.check()
            # It may have taken its time, and gateways append without the lock, too.
            self._check()
        except CotenantError:
            self._end_without_a_byte(begun)
            raise
        return begun

    def _check(self) -> None:
        """The lock and the file are as they were when we took them."""
        if not self.hold.is_ours():
            raise LockLostError(self.hold.path, "nothing was written")
        if fingerprint_of(self.path) != self.fingerprint:
            raise SessionFileError(self.path, "it changed while the lock was held, by somebody without it", "try again")

    def _end_without_a_byte(self, begun: Report) -> None:
        nothing = {"op": Operation.METADATA.value, "length": 0, "sha256": "", "offset": -1}
        self._announces.end(begun, fingerprint_of(self.path), nothing)

    def _take_back(self, handle: int, size: int, data: bytes, begun: Report) -> str:
        """Cut off the part of our records that was written, unless others wrote behind it. Returns what is left."""
        try:
            # A byte more than ours, to see whether there is one. To cut a shorter file would lengthen it.
            shorter = os.fstat(handle).st_size < size
            if shorter or not data.startswith(os.pread(handle, len(data) + 1, size)):
                self._announces.end(begun, fingerprint_of(self.path), {"failed": True})
                return "what had been written stays, as others wrote behind it or cut it; look at the session now"
            os.ftruncate(handle, size)
            os.fsync(handle)
        except OSError:
            self._announces.end(begun, fingerprint_of(self.path), {"failed": True})
            return "how much of it was written is not known; look at the session now"
        self._end_without_a_byte(begun)
        return "what had been written is taken back"


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


def _make(path: Path, mode: int, data: bytes) -> None:
    """A new file, whole and on the disk."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        os.fchmod(handle, mode)
        _write(handle, data)
    finally:
        os.close(handle)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What the operating system refuses within the block is told as an error of the session file."""
    try:
        yield
    except OSError as error:
        raise WriteFailedError(f"{path}: {error.strerror or error}; nothing was written") from error


def _flush_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

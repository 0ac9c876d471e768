"""Opening the SQLite file, or making it; what is not ours is refused and not touched."""

import fcntl
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

from sidecar.store.errors import (
    StoreCorruptError,
    StoreInUseError,
    StoreMissingError,
    StoreTooNewError,
    StoreUnreadableError,
    StoreWriteError,
)
from sidecar.store.schema import APPLICATION_ID, TABLES, VERSION

_BUSY_SECONDS: Final = 5.0
"""How long a statement waits for SQLite's own locks. Only a checkpoint or an operator's shell ever holds one."""


def open_writer(path: Path) -> sqlite3.Connection:
    """Open the store for the running sidecar, making it where there is none.

    The caller holds the lock of `lock_store`.

    Returns:
        A connection in autocommit; each commit is on the disk when it returns.

    Raises:
        StoreError: It cannot be opened; an existing file is then as it was.
    """
    fresh = _create(path)
    if not fresh:
        open_reader(path, before_writing=True).close()
    with _connected(path, "rw") as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        # NORMAL would lose the last commits with the power; rule 6 wants the intent on disk before the action.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        if fresh:
            _make_tables(connection)
    return connection


def open_reader(path: Path, *, before_writing: bool = False) -> sqlite3.Connection:
    """Open the store without ever writing to it; a running sidecar is not disturbed.

    Args:
        path: The database file.
        before_writing: Look at every page of the file for damage.

    Raises:
        StoreError: It is not there, not readable, not ours, damaged, or of another schema.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise StoreMissingError(path) from None
    except OSError as error:
        raise StoreUnreadableError(path, _reason(error)) from error
    if not path.is_file():
        raise StoreUnreadableError(path, "is not a regular file")
    if not os.access(path, os.R_OK):
        raise StoreUnreadableError(path, "is not readable for this user")
    with _connected(path, "ro") as connection:
        _check(connection, path, size, before_writing=before_writing)
    return connection


class Reader:
    """An open store that is only read, beside a running sidecar or without one. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Open the database file.

        Raises:
            StoreError: It is missing, not readable, damaged or of another schema.
        """
        self.path = path
        self._read = open_reader(path)
        self._read_lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        with self._read_lock:
            self._read.close()

    def _rows(self, sql: str, parameters: Any = ()) -> list[Any]:  # noqa: ANN401 - as sqlite3 takes and gives them
        with self._read_lock, reading(self.path):
            return self._read.execute(sql, parameters).fetchall()


def lock_store(path: Path) -> int:
    """Make sure that no other sidecar writes this store. The kernel lets go of the lock when the process ends.

    Returns:
        A file descriptor; closing it gives the lock back.

    Raises:
        StoreInUseError: Another sidecar has it.
        StoreUnreadableError: The directory cannot be made, or no file can be made in it.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnreadableError(path.parent, _reason(error)) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise StoreInUseError(path) from None
    return handle


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[sqlite3.Connection]:
    """All of it or nothing; on the disk when the block is left.

    Raises:
        StoreWriteError: It could not be committed; nothing of it was kept.
        StoreCorruptError: The file turned out to be damaged.
    """
    try:
        with _whole(connection):
            yield connection
    except sqlite3.OperationalError as error:
        raise StoreWriteError(path, str(error)) from error
    except sqlite3.Error as error:
        raise StoreCorruptError(path, str(error)) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Give SQLite's errors their typed form around a query."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StoreUnreadableError(path, str(error)) from error
    except sqlite3.DatabaseError as error:
        raise StoreCorruptError(path, str(error)) from error


@contextmanager
def understood(path: Path, row: str) -> Iterator[None]:
    """Name the row whose text or bytes can't be read back."""
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, zlib.error) as error:
        raise StoreCorruptError(path, f"{row}: {error!r}") from error


def _create(path: Path) -> bool:
    """Make an empty file that only this user may read. SQLite gives its -wal and -shm files the same mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        # An empty one was left by a start that was cut off right here.
        with suppress(OSError):
            return path.is_file() and path.stat().st_size == 0
        return False
    except OSError as error:
        raise StoreUnreadableError(path, _reason(error)) from error
    return True


@contextmanager
def _connected(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """A connection, which stays open unless the block fails."""
    with reading(path):
        # Threads share the connection under a lock of ours, which sqlite3 cannot know.
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            yield connection
        except BaseException:
            connection.close()
            raise


def _check(connection: sqlite3.Connection, path: Path, size: int, *, before_writing: bool) -> None:
    if size == 0:
        raise StoreMissingError(path)
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID or version < VERSION:
        raise StoreCorruptError(path, "another program wrote it")
    if version > VERSION:
        raise StoreTooNewError(path, version, VERSION)
    if not before_writing:
        return
    finding = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if finding != "ok":
        raise StoreCorruptError(path, str(finding))


def _make_tables(connection: sqlite3.Connection) -> None:
    with _whole(connection):
        for statement in TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")


@contextmanager
def _whole(connection: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def _reason(error: OSError) -> str:
    return error.strerror or str(error)

"""What can go wrong with the store. Each message names the file and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.core.errors import SidecarError
from sidecar.store.printable import one_line

if TYPE_CHECKING:
    from pathlib import Path


class StoreError(SidecarError):
    """The store cannot do its work.

    Attributes:
        path: The database file, or the directory that it belongs in.
        what: What is wrong, as the end of a sentence that begins with the path.
        remedy: What the operator can do.
    """

    def __init__(self, path: Path, what: str, remedy: str) -> None:
        self.path = path
        self.what = what
        self.remedy = remedy
        super().__init__(f"store {one_line(str(path))}: {one_line(what)}; {remedy}")


class StoreMissingError(StoreError, FileNotFoundError):
    """There is no store to read."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            path,
            "does not exist",
            "start `openclaw-sidecar run` for this state directory first, or name another one with --state-dir",
        )


class StoreUnreadableError(StoreError, OSError):
    """The file or its directory cannot be opened, created or written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason, "give the sidecar's user access to it, or choose another --data-dir")


class StoreCorruptError(StoreError):
    """The file is no SQLite database of ours, or is damaged."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            path,
            f"is damaged or is no database of the sidecar ({reason})",
            "nothing in it was changed: move it and its -wal file elsewhere, and the next start makes a new one",
        )


class StoreTooNewError(StoreError):
    """A newer release wrote the file."""

    def __init__(self, path: Path, found: int, known: int) -> None:
        super().__init__(
            path,
            f"has schema {found}, and this release knows schemas up to {known}",
            "nothing in it was changed: run the newer openclaw-sidecar, or choose another --data-dir",
        )


class StoreInUseError(StoreError):
    """Another sidecar writes this store."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            path, "is in use by another sidecar", "stop that one, or choose another --state-dir or --data-dir"
        )


class StoreWriteError(StoreError, OSError):
    """Something that had to be on disk is not."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, f"could not be written: {reason}", "see that the disk has room and is not read-only")

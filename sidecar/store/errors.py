"""What can go wrong with the store. Each message names the file and what to do about it."""

from pathlib import Path
from typing import ClassVar

from sidecar.core.errors import SidecarError
from sidecar.store.printable import one_line


class StoreError(SidecarError):
    """The store cannot do its work.

    Attributes:
        path: The database file, or the directory that it belongs in.
        what: What is wrong, as the end of a sentence that begins with the path. Of a class, a form for its details.
        remedy: What the operator can do.
    """

    what: str
    remedy: ClassVar[str]

    def __init__(self, path: Path, *details: object) -> None:
        self.path = path
        self.what = self.what.format(*details)
        super().__init__(f"store {one_line(str(path))}: {one_line(self.what)}; {self.remedy}")


class StoreMissingError(StoreError, FileNotFoundError):
    """There is no store to read."""

    what = "does not exist"
    remedy = "start `openclaw-sidecar run` for this state directory first, or name another one with --state-dir"


class StoreUnreadableError(StoreError, OSError):
    """The file or its directory cannot be opened, created or written, for this reason."""

    what = "{}"
    remedy = "give the sidecar's user access to it, or choose another --data-dir"


class StoreCorruptError(StoreError):
    """The file is no SQLite database of ours, or is damaged, for this reason."""

    what = "is damaged or is no database of the sidecar ({})"
    remedy = "nothing in it was changed: move it and its -wal file elsewhere, and the next start makes a new one"


class StoreTooNewError(StoreError):
    """A newer release wrote the file: the schema that it has, and the newest that we know."""

    what = "has schema {}, and this release knows schemas up to {}"
    remedy = "nothing in it was changed: run the newer openclaw-sidecar, or choose another --data-dir"


class StoreInUseError(StoreError):
    """Another sidecar writes this store."""

    what = "is in use by another sidecar"
    remedy = "stop that one, or choose another --state-dir or --data-dir"


class StoreWriteError(StoreError, OSError):
    """Something that had to be on disk is not, for this reason."""

    what = "could not be written: {}"
    remedy = "see that the disk has room and is not read-only"

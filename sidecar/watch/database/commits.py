"""That something was committed to a database in WAL mode, whoever did it: from the header of ``-shm``.

sqlite.org/walformat.html, "The WAL-Index File Format": the header has a counter of commits, the last frame of the WAL,
and its salts. Another process may close its descriptors of ``-shm`` at will; one that has the database open must not,
for it would lose its locks. So there is one descriptor, closed after the connection.
"""

import os
import sys
from typing import Final

HEADER_BYTES: Final = 48
"""One copy of the header. Another one follows; readers believe in a commit when both are the same."""

_COUNTER: Final = slice(8, 12)


def commits_between(before: bytes, after: bytes) -> int:
    """How many commits lie between two states of a database; very many where that can't be told."""
    if not before or not after:
        return sys.maxsize
    counted = int.from_bytes(after[_COUNTER], sys.byteorder) - int.from_bytes(before[_COUNTER], sys.byteorder)
    return counted % (1 << 32)


class CommitHeader:
    """The header of the ``-shm`` of a database that this process has open."""

    def __init__(self, database: str) -> None:
        """Nothing is opened: ``-shm`` is there when a connection has read the database."""
        self._path = f"{database}-shm"
        self._descriptor = -1

    def read(self) -> bytes:
        """Both copies; empty where there is none, a commit is being written, or the file is another one than it was."""
        try:
            if self._descriptor < 0:
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            found = os.pread(self._descriptor, 2 * HEADER_BYTES, 0)
            here = os.path.samestat(os.fstat(self._descriptor), os.stat(self._path))  # noqa: PTH116 - done very often
        except OSError:
            return b""
        whole = len(found) == 2 * HEADER_BYTES and found[:HEADER_BYTES] == found[HEADER_BYTES:]
        return found if whole and here else b""

    def close(self) -> None:
        """To be called when this process has no connection to the database any more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

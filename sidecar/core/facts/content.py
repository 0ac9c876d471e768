"""What a session file contains, without the text: ranges and digests."""

import hashlib
from typing import Final, Protocol, runtime_checkable

from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.value import Value

EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()


@runtime_checkable
class Content(Protocol):
    """The bytes of a file at one moment, reachable by digest only."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def digest(self, offset: int, length: int) -> str:
        """SHA-256, in hexadecimal, of ``length`` bytes from ``offset``."""


class BytesContent(Value, frozen=True):
    """Content held in memory."""

    data: bytes

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.data)

    def digest(self, offset: int, length: int) -> str:
        """SHA-256 of a range."""
        return hashlib.sha256(memoryview(self.data)[offset : offset + length]).hexdigest()


class Snapshot(Value, frozen=True, tag="file"):
    """A file as it was read: the fingerprint was the same before and after the reading.

    Attributes:
        fingerprint: The file's fingerprint around the reading.
        content: Its bytes; None when the file is absent or was too large or too busy to be read.
        regular: It is a regular file, and not a symbolic link, device or directory.
        uid: Owner of the file; -1 when absent.
        problem: Why there is no content; empty when there is, or when the file is absent.
    """

    fingerprint: Fingerprint
    content: Content | None = None
    regular: bool = True
    uid: int = -1
    problem: str = ""

    @property
    def version(self) -> Fingerprint:
        """Which state of the transcript was read."""
        return self.fingerprint

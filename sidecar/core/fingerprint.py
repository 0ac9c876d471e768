"""The fingerprint of a session file, as the gateway's fence compares it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from sidecar.core.errors import FingerprintError

_ABSENT_TEXT: Final = "absent"
_TEXT: Final = re.compile(r"([0-9]{1,20}):([0-9]{1,20}):([0-9]{1,20}):(-?[0-9]{1,20}):(-?[0-9]{1,20})")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Identity, size and times of a session file: what the fence records and compares.

    Attributes:
        exists: False when there is no such file; every other field is then 0.
        dev: Device number.
        ino: Inode number.
        size: Size in bytes.
        mtime_ns: Time of the last modification, nanoseconds since the epoch; a program can set it, even before 1970.
        ctime_ns: Time of the last status change, nanoseconds since the epoch. No user program can set it.
    """

    exists: bool
    dev: int = 0
    ino: int = 0
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0

    @classmethod
    def absent(cls) -> Self:
        """The fingerprint of a file that is not there."""
        return cls(exists=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the wire form: ``absent`` or ``dev:ino:size:mtime_ns:ctime_ns`` in decimal.

        One string, because JavaScript loses precision on numbers above 2**53 and compares strings exactly.

        Raises:
            FingerprintError: The text has another form.
        """
        if text == _ABSENT_TEXT:
            return cls.absent()
        match = _TEXT.fullmatch(text)
        if match is None:
            raise FingerprintError(text)
        dev, ino, size, mtime_ns, ctime_ns = (int(part) for part in match.groups())
        return cls(exists=True, dev=dev, ino=ino, size=size, mtime_ns=mtime_ns, ctime_ns=ctime_ns)

    def encode(self) -> str:
        """The wire form, the inverse of `parse`."""
        if not self.exists:
            return _ABSENT_TEXT
        return f"{self.dev}:{self.ino}:{self.size}:{self.mtime_ns}:{self.ctime_ns}"

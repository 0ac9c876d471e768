"""The fingerprint of a session file, as the gateway's fence compares it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from sidecar.core.errors import FingerprintError
from sidecar.core.facts.value import Value

_ABSENT_TEXT: Final = "absent"
_TEXT: Final = re.compile(r"[0-9]{1,20}:[0-9]{1,20}:[0-9]{1,20}:-?[0-9]{1,20}:-?[0-9]{1,20}")


class Fingerprint(Value, frozen=True, tag="file"):
    """Identity, size and times of a session file: what the fence records and compares.

    Attributes:
        exists: False when there is no such file; every other field is then 0.
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

    @staticmethod
    def absent() -> Fingerprint:
        """The fingerprint of a file that is not there."""
        return _ABSENT

    @staticmethod
    @lru_cache(maxsize=1024)
    def parse(text: str) -> Fingerprint:
        """Read the wire form: ``absent`` or ``dev:ino:size:mtime_ns:ctime_ns`` in decimal.

        The latest are remembered: a report of a change begins with what the one before it ended with.
        One string, because JavaScript loses precision on numbers above 2**53 and compares strings exactly.

        Raises:
            FingerprintError: The text has another form.
        """
        if text == _ABSENT_TEXT:
            return _ABSENT
        if _TEXT.fullmatch(text) is None:
            raise FingerprintError(text)
        return Fingerprint(True, *map(int, text.split(":")))  # noqa: FBT003 - by place, for it is made of every message

    def encode(self) -> str:
        """The wire form, the inverse of `parse`."""
        if not self.exists:
            return _ABSENT_TEXT
        return f"{self.dev}:{self.ino}:{self.size}:{self.mtime_ns}:{self.ctime_ns}"


_ABSENT: Final = Fingerprint(exists=False)

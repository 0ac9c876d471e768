"""What a session's lock file says (written by the gateway; read on MODIFY, for it is empty when created)."""

from pathlib import Path
from typing import Annotated, Final

import msgspec

from sidecar.watch.reading import open_without_waiting

SUFFIX: Final = ".lock"
_MAX_BYTES: Final = 4096


class LockPayload(msgspec.Struct, frozen=True):
    """The part of the payload that we use; the rest is ignored.

    Attributes:
        pid: The process that holds the lock, by its id in its own pid namespace.
        starttime: When that was started, in clock ticks since the machine was; anything else says nothing.
    """

    pid: Annotated[int, msgspec.Meta(ge=1, le=(1 << 31) - 1)]
    starttime: object = None

    @property
    def start(self) -> int | None:
        """When the holder was started; None where the file does not say."""
        return start_of(self.starttime)


def start_of(value: object) -> int | None:
    """The start of a process as a lock file has it; None where it has none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def read_lock(path: Path) -> LockPayload | None:
    """The payload, or None while it is not (completely) written, gone, or nothing that we understand."""
    try:
        with open_without_waiting(path) as file:
            return msgspec.json.decode(file.read(_MAX_BYTES) or b"", type=LockPayload)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None

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
        pid: The process that holds the lock.
    """

    pid: Annotated[int, msgspec.Meta(ge=1, le=(1 << 31) - 1)]


def read_lock(path: Path) -> LockPayload | None:
    """The payload, or None while it is not (completely) written, gone, or nothing that we understand."""
    try:
        with open_without_waiting(path) as file:
            return msgspec.json.decode(file.read(_MAX_BYTES) or b"", type=LockPayload)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None

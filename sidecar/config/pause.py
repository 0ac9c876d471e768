"""A pause as it is kept in the data directory: the command writes it, the sidecar reads it, restarts do not end it."""

import os
from pathlib import Path
from typing import Final

import msgspec

from sidecar.core.errors import SidecarError
from sidecar.core.policy.blocked import Pause
from sidecar.store.printable import clean, one_line

PAUSE_NAME: Final = "pause.json"
MAX_REASON: Final = 500
"""Characters of a reason that are kept."""


class PauseFileError(SidecarError, OSError):
    """The file that holds a pause cannot be read or written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"pause file {one_line(str(path))}: {one_line(reason)}; `openclaw-sidecar resume` removes it")


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reason: str
    since_ns: int
    until_ns: int


def read_pause(data_dir: Path) -> Pause | None:
    """The pause that an operator asked for, whether or not it has ended; None where there is none.

    Raises:
        PauseFileError: There is one, and it cannot be read.
    """
    path = data_dir / PAUSE_NAME
    try:
        stored = msgspec.json.decode(path.read_bytes(), type=_Stored)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PauseFileError(path, error.strerror or str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PauseFileError(path, f"it holds no pause ({error})") from error
    return Pause(stored.reason, stored.since_ns, stored.until_ns)


def write_pause(data_dir: Path, pause: Pause) -> None:
    """Keep a pause, in place of any other; whole or not at all.

    Raises:
        PauseFileError: It cannot be written.
    """
    path = data_dir / PAUSE_NAME
    fresh = path.with_suffix(".new")
    stored = _Stored(clean(pause.reason[:MAX_REASON]), pause.since_ns, pause.until_ns)
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with fresh.open("wb") as opened:
            os.fchmod(opened.fileno(), 0o600)
            opened.write(msgspec.json.encode(stored))
            opened.flush()
            os.fsync(opened.fileno())
        fresh.replace(path)
    except OSError as error:
        raise PauseFileError(path, error.strerror or str(error)) from error


def remove_pause(data_dir: Path) -> bool:
    """End a pause. Returns whether there was one.

    Raises:
        PauseFileError: It cannot be removed.
    """
    path = data_dir / PAUSE_NAME
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise PauseFileError(path, error.strerror or str(error)) from error
    return True

"""Whether a sidecar can start with its settings. The rooms check the rest when they open what is theirs."""

import os
import stat
from pathlib import Path
from typing import Final

from sidecar.config.errors import SocketPathError, StateDirError
from sidecar.config.settings import Settings

SUN_PATH_BYTES: Final = 107
"""The kernel's room for the path of a Unix socket: 108 bytes with the NUL at its end."""

_NAME_ONE: Final = "name the gateway's with --state-dir or OPENCLAW_STATE_DIR"


def check_settings(settings: Settings) -> None:
    """Look at the directories that must be there.

    Raises:
        StateDirError: The state directory is missing, none, or not readable.
        SocketPathError: No socket can be opened where it should be.
    """
    _check_state_dir(settings.state_dir)
    _check_socket(settings.socket)


def _check_state_dir(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise StateDirError(path, "there is no such directory", f"start the gateway once, or {_NAME_ONE}") from None
    except OSError as error:
        raise StateDirError(path, f"cannot be looked at ({error.strerror})", _NAME_ONE) from error
    if not stat.S_ISDIR(mode):
        raise StateDirError(path, "is not a directory", _NAME_ONE)
    if not os.access(path, os.R_OK | os.X_OK):
        raise StateDirError(
            path, "is not readable for this user", "run the sidecar as the user that the gateway runs as"
        )


def _check_socket(path: Path) -> None:
    length = len(os.fsencode(path))
    if length > SUN_PATH_BYTES:
        raise SocketPathError(
            path,
            f"its path has {length} bytes, and the kernel takes {SUN_PATH_BYTES}",
            "name a shorter one with --socket, and the same one as OPENCLAW_SIDECAR_SOCKET for the gateway",
        )
    if not path.parent.is_dir():
        raise SocketPathError(path, "its directory does not exist", "make it, or name another one with --socket")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise SocketPathError(
            path,
            "its directory is not writable for this user",
            "run the sidecar as the user that the gateway runs as, or name another one with --socket",
        )

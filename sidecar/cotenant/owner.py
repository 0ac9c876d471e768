"""A gateway takes away the session lock of a process that does not look like OpenClaw.

Every release with the fence has the rule: of a lock whose owner is alive it reads the owner's command line, and where
no argument is the word ``openclaw`` (or ends in ``/openclaw``, or is one of the gateway's own entry points) the lock is
stale, reason *non-openclaw-owner*. So a lock of any other program protects nothing. ``python -X openclaw`` puts the
word there: an option of the interpreter's that means nothing to it.
"""

import os
import sys
from pathlib import Path
from typing import Final

from sidecar.cotenant.errors import UnknownOwnerError

_WORD: Final = "openclaw"


def is_respected() -> bool:
    """A gateway respects locks of this process."""
    try:
        arguments = Path("/proc/self/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(argument.strip().lower() == _WORD.encode() for argument in arguments)


def become_respected() -> None:
    """Start this program again, in the same process, with the word among its arguments. Returns when it is there.

    Raises:
        UnknownOwnerError: That is not possible.
    """
    if is_respected():
        return
    if _WORD in sys._xoptions or not sys.executable or Path(sys.argv[0]).name != "openclaw-sidecar":  # noqa: SLF001 - documented
        raise UnknownOwnerError
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-X", _WORD, *sys.orig_argv[1:]])  # noqa: S606 - itself

"""Where the kernel names writers, the tests that need that run; where it could and does not, that is an error on CI."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from sidecar.watch.kernel import KernelEvidenceError, prove

_SYS_ADMIN: Final = 21
"""The capability's bit (linux/capability.h)."""
_EVERYBODY: Final = ["0", "0", "4294967295"]
"""The map of the initial user namespace (user_namespaces(7))."""


def may_be_told(process: Path = Path("/proc/self")) -> bool:
    """Whether this machine lets a process hear who writes: CAP_SYS_ADMIN in the initial user namespace."""
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line)
    initial = (process / "uid_map").read_text().split() == _EVERYBODY
    return initial and bool(int(status["CapEff"], 16) >> _SYS_ADMIN & 1)


def lacking_kernel_evidence(
    place: Path, may: Callable[[], bool] = may_be_told, prove_in: Callable[[Path], object] = prove
) -> str:
    """Why the kernel names no writers here; empty where it does.

    A machine without the capability has no such part, on CI as elsewhere. One that has it is not excused on CI.

    Raises:
        KernelEvidenceError: The machine has the capability and this is CI, and there is no evidence all the same.
        OSError: Likewise.
    """
    try:
        prove_in(place)
    except (KernelEvidenceError, OSError) as error:
        if os.environ.get("CI") == "true" and may():
            raise
        return f"no kernel evidence here: {error}; run as root, in a container with --cap-add SYS_ADMIN"
    return ""


def require_kernel_evidence(place: Path) -> None:
    """Skip the test where the kernel names no writers; see `lacking_kernel_evidence`."""
    if reason := lacking_kernel_evidence(place):
        pytest.skip(reason)


def without_admin() -> list[str]:
    """What to put ahead of a command so that it runs without CAP_SYS_ADMIN.

    Raises:
        FileNotFoundError: There is no setpriv(1), and this is CI.
    """
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        if os.environ.get("CI") == "true":
            raise FileNotFoundError("setpriv: apt-get install util-linux")
        pytest.skip("there is no setpriv(1) here (Debian, Ubuntu: apt-get install util-linux)")
    return ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]

"""Pid namespaces for a test: real ones, by unshare(1)."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.kernel import may_be_told

UNSHARE: Final = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
"""What starts a command in a pid namespace of its own, with a /proc of that."""


@cache
def _refused() -> str:
    if shutil.which("unshare") is None:
        return "there is no unshare(1): install util-linux"
    tried = subprocess.run((*UNSHARE, "true"), capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"{tried.stderr.strip()}: it takes root, or CAP_SYS_ADMIN"


def need_namespaces() -> None:
    """Skip, and say why, where there are none to be had; on CI a machine that may have them has to."""
    reason = _refused()
    if reason and os.environ.get("CI") == "true" and may_be_told():
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


def child_of(pid: int) -> int:
    """The only child of a process: of unshare(1) the first process of the new namespace."""
    [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return int(child)

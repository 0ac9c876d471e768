"""Programs that run as another user, as a deployment with separate users does; only root can start them."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from sidecar.demo.companion import Companion
from sidecar.demo.gateway import Gateway
from sidecar.demo.packages import GatewayPackage

GATEWAY_UID: Final = 61_001
SIDECAR_UID: Final = 61_002
_NO_RIGHTS: Final = ("--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all")
_READS_ALL: Final = (
    *(f"{option},+dac_read_search" for option in _NO_RIGHTS),
    "--securebits=+no_setuid_fixup",
)
"""SQLite asks access(2) whether a file is there; without the bit that leaves out the rights of any user but root."""


def require_root() -> None:
    """Skip where nobody else's process can be started; an error where CI expects it."""
    problem = "" if os.geteuid() == 0 else "not run as root"
    problem = problem or ("" if shutil.which("setpriv") else "there is no setpriv (util-linux)")
    if problem and os.environ.get("CI") == "true":
        pytest.fail(f"two users can't be tried here: {problem}")
    if problem:
        pytest.skip(f"two users can't be tried here: {problem}; run the tests as root in a container")


def as_user(uid: int, *, reads_all: bool = False) -> tuple[str, ...]:
    """What to put ahead of a command, so that it runs as that user without any right of root's.

    Args:
        uid: User and group.
        reads_all: With CAP_DAC_READ_SEARCH, and nothing else.
    """
    rights = _READS_ALL if reads_all else _NO_RIGHTS
    return ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *rights, "--no-new-privs")


def given_to(uid: int, tree: Path) -> None:
    """Everything below a directory belongs to the user."""
    for path in (tree, *tree.rglob("*")):
        os.chown(path, uid, uid, follow_symlinks=False)


def within_reach(package: GatewayPackage, place: Path) -> GatewayPackage:
    """The same package where every user can see it: the checkout may be anywhere."""
    copy = place / package.version
    shutil.copytree(package.root, copy, copy_function=_linked, symlinks=True)
    copy.chmod(0o755)
    return GatewayPackage(package.version, copy)


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # on another file system
        shutil.copy2(source, target)


class GatewayOfUser(Gateway):
    """A gateway of its own user."""

    async def _launch(self, *command: str | Path, env: Mapping[str, str], cwd: Path | None = None) -> int:
        given_to(GATEWAY_UID, self.work_dir)
        return await super()._launch(*as_user(GATEWAY_UID), *command, env=env, cwd=cwd)


class SidecarOfUser(Companion):
    """A sidecar of another user, who may read everything and nothing else."""

    async def _launch(self, *command: str | Path, env: Mapping[str, str], cwd: Path | None = None) -> int:
        given_to(SIDECAR_UID, self.data_dir.parent)
        return await super()._launch(*as_user(SIDECAR_UID, reads_all=True), *command, env=env, cwd=cwd)

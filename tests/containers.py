"""Containers for a test: real ones, of podman and runc, made of the machine's own programs, without any image."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from sidecar.demo.packages import default_cache_dir

PROGRAMS: Final = ("podman", "runc", "conmon")
HINT: Final = "containers are tried as root with podman and runc; Debian, Ubuntu: apt-get install podman runc conmon"
SECONDS: Final = 60

_CONFIGURATION: Final = """\
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
"""
_MERGED: Final = ("bin", "lib", "lib64", "sbin")
"""Of /usr, as in every distribution of today."""


class Containers:
    """Starts commands in containers of their own, with the machine's programs, this code and one directory in them.

    They have no capability, and the network of the machine: only processes and files are apart.

    Args:
        place: The directory; it is the only one that can be written to, by the same path inside and outside.
        state: Gets podman's own files and an empty root directory.
    """

    def __init__(self, place: Path, state: Path) -> None:
        self._place = place
        self._state = state
        self._names: list[str] = []
        root = state / "root"
        (root / "etc").mkdir(parents=True)
        (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        for name in _MERGED:
            (root / name).symlink_to(f"usr/{name}")
        (state / "containers.conf").write_text(_CONFIGURATION)

    @property
    def env(self) -> dict[str, str]:
        """What podman has to find in its environment."""
        return {"CONTAINERS_CONF": str(self._state / "containers.conf")}

    def prefix(self, name: str, *options: str) -> tuple[str, ...]:
        """What starts a command in the container of this name, which goes when the command has ended."""
        self._names.append(name)
        code = Path(__file__).parents[1]
        read_only = {Path(sys.base_prefix), Path(sys.prefix), code, default_cache_dir()}
        beyond = [path for path in sorted(read_only) if not path.is_relative_to("/usr")]
        volumes = [f"--volume={path}:{path}:ro" for path in (Path("/usr"), *beyond)]
        return (
            *self._podman(
                "run", "--rm", f"--name={name}", "--rootfs", "--env-host", "--network=host", "--env=NO_COLOR=1"
            ),
            *("--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp:rw,mode=1777"),
            *(*volumes, f"--volume={self._place}:{self._place}", *options, str(self._state / "root")),
        )

    def remove(self) -> None:
        """End what is left of them."""
        for name in self._names:
            command = self._podman("rm", "--force", "--time=0", "--ignore", name)
            subprocess.run(command, env={**os.environ, **self.env}, capture_output=True, timeout=SECONDS, check=False)

    def _podman(self, command: str, *arguments: str) -> Sequence[str]:
        podman = shutil.which("podman") or "podman"
        return (podman, f"--root={self._state / 'store'}", f"--runroot={self._state / 'run'}", command, *arguments)


def need_containers() -> None:
    """Skip with a hint where there are none to be had; on CI that is an error."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    reason = f"no {', '.join(missing)}" if missing else "not root" if os.geteuid() else ""
    if reason and os.environ.get("CI") == "true":
        pytest.fail(f"{reason}: {HINT}")
    if reason:
        pytest.skip(f"{reason}: {HINT}")

"""Who a pid is, and which gateways of a state directory run here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class GatewayProcess:
    """A process that looks like an OpenClaw gateway.

    Attributes:
        pid: Process id.
        exe: Its executable.
    """

    pid: int
    exe: str


def executable_of(pid: int) -> str:
    """Path of a process' executable; empty when it is gone or not ours to see."""
    try:
        return str(Path(f"/proc/{pid}/exe").readlink())
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """The process exists."""
    return psutil.pid_exists(pid)


def gateways_of(state_dir: Path) -> Iterator[GatewayProcess]:
    """The gateways of our user whose state directory this is.

    A hint for ``status``, nothing rests on it: a process counts when its command line or title says that it is an
    OpenClaw gateway, and its environment names the directory (or names none, where it is the default one).
    """
    for process in psutil.process_iter(["pid", "uids", "cmdline"]):
        info = process.info
        if not info["uids"] or info["uids"].effective != os.geteuid() or not _is_gateway(info["cmdline"] or []):
            continue
        try:
            named = process.environ().get("OPENCLAW_STATE_DIR", "")
        except (psutil.Error, OSError):
            continue
        if _same(Path(named) if named else Path.home() / ".openclaw", state_dir):
            yield GatewayProcess(info["pid"], executable_of(info["pid"]))


def _is_gateway(cmdline: list[str]) -> bool:
    title = " ".join(cmdline)
    if title.startswith("openclaw-gateway"):
        return True
    return "gateway" in cmdline and any("openclaw" in Path(part).name for part in cmdline[:3])


def _same(left: Path, right: Path) -> bool:
    try:
        return left.samefile(right)
    except OSError:
        return False

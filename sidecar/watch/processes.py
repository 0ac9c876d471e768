"""Who a pid is, and which gateways of a state directory run here."""

import itertools
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar.watch.identity import executable_of

_PROC: Final = Path("/proc")
_STATE_DIR: Final = b"OPENCLAW_STATE_DIR="
_HOME: Final = b"HOME="
_MAX_WORDS: Final = 4
_MAX_GENERATIONS: Final = 8
_HELPER: Final = re.compile(rb"/dist/[^\0]*worker\.m?js$")
_WORD: Final = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./-]{0,127}")


@dataclass(frozen=True, slots=True)
class GatewayProcess:
    """A process that looks like an OpenClaw gateway.

    Attributes:
        pid: Process id.
        exe: Its executable.
    """

    pid: int
    exe: str


def command_of(pid: int, proc: Path = _PROC) -> str:
    """A process' program and the first words behind it, such as ``python3 /opt/backup.py``; empty when it is gone.

    A command line may hold text of a message (rule 7) or a secret. So it ends ahead of the first option, and of the
    first word that is no plain name or path.
    """
    words = [os.fsdecode(word) for word in _words(pid, proc)]
    program = _WORD.match(Path(words[0]).name) if words else None
    if program is None:
        return ""
    plain = itertools.takewhile(_WORD.fullmatch, words[1:_MAX_WORDS])
    return " ".join([program[0], *plain])


def is_helper_of(pid: int, gateways: Collection[int], proc: Path = _PROC) -> bool:
    """It descends from one of these processes, and its program is one that OpenClaw starts beside a gateway.

    What an agent's tool starts descends from the gateway as well.
    """
    program = _HELPER.search(b"\0".join(_words(pid, proc)[:2]))
    parent = pid
    for _ in range(_MAX_GENERATIONS):
        parent = parent_of(parent, proc)
        if parent in gateways:
            return program is not None
    return False


def parent_of(pid: int, proc: Path = _PROC) -> int:
    """Its parent's id; 0 when it is gone or has none."""
    try:
        stat = (proc / str(pid) / "stat").read_text(encoding="ascii", errors="replace")
        return int(stat.rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def _words(pid: int, proc: Path) -> list[bytes]:
    """The start of a command line; nothing when it is gone."""
    try:
        with (proc / str(pid) / "cmdline").open("rb") as file:
            return file.read(4096).split(b"\0")
    except OSError:
        return []


def gateways_of(state_dir: Path) -> Iterator[GatewayProcess]:
    """The gateways of our user whose state directory this is.

    A hint for ``status``, nothing rests on it: a process counts when its command line or title says that it is an
    OpenClaw gateway, and its environment names the directory (or names none, where it is the default one).
    """
    user = os.geteuid()
    for pid in sorted(int(found.name) for found in Path("/proc").iterdir() if found.name.isdecimal()):
        found = Path(f"/proc/{pid}")
        try:
            # The directory belongs to the effective user of the process. Most processes end here.
            if found.stat().st_uid != user or not _is_gateway((found / "cmdline").read_bytes()):
                continue
            environment = (found / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # gone, or not ours to see
        if _same(found / "root", _state_dir(environment), state_dir):
            yield GatewayProcess(pid, executable_of(pid))


def _is_gateway(cmdline: bytes) -> bool:
    if b"openclaw" not in cmdline:
        return False
    words = os.fsdecode(cmdline).rstrip("\0").split("\0")
    if " ".join(words).startswith("openclaw-gateway"):
        return True
    return "gateway" in words and any("openclaw" in Path(word).name for word in words[:3])


def _state_dir(environment: list[bytes]) -> Path:
    named = {
        name: os.fsdecode(e[len(name) :]) for e in environment for name in (_STATE_DIR, _HOME) if e.startswith(name)
    }
    directory = named.get(_STATE_DIR)
    return Path(directory) if directory else Path(named.get(_HOME) or Path.home()) / ".openclaw"


def _same(root: Path, named: Path, state_dir: Path) -> bool:
    """In a container of its own, a process means another directory by the same name."""
    try:
        return (root / named.relative_to("/")).samefile(state_dir)
    except (OSError, ValueError):
        return False

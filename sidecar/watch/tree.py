"""Which files below a state directory are session files."""

import os
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Final

from sidecar.core.facts.rows import is_of_rows, place_of

AGENTS: Final = "agents"
SESSIONS: Final = "sessions"
_SUFFIX: Final = ".jsonl"
_DATABASE: Final = ".sqlite"
_NOT_SESSIONS: Final = (".trajectory.jsonl",)


class Kind(Enum):
    """What a name in a sessions directory stands for."""

    SESSION = "session"
    LOCK = "lock"
    OTHER = "other"


def kind_of(name: str) -> Kind:
    """Tell by the name alone: ``<id>.jsonl``, ``<id>.jsonl.lock``, or something else."""
    if name.endswith(_SUFFIX):
        return Kind.OTHER if name.endswith(_NOT_SESSIONS) else Kind.SESSION
    return Kind.LOCK if name.endswith(_SUFFIX + ".lock") else Kind.OTHER


def names_transcript(name: str) -> bool:
    """By its name alone it is a transcript: a session file in a directory of sessions, or a session of a database."""
    if is_of_rows(name):
        return place_of(name).endswith(_DATABASE)
    path = Path(name)
    return path.parent.name == SESSIONS and kind_of(path.name) is Kind.SESSION


def printable(name: str) -> str:
    """A file name for one line of text: newlines, control characters and bytes that are no UTF-8 are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name)


def is_plain(name: str) -> bool:
    """The name is UTF-8 without control characters, so that it survives JSON and fits a line of text."""
    return printable(name) == name


def is_inside(path: Path, root: Path) -> bool:
    """The path, with all links followed, lies below the root. False when it can't be followed."""
    try:
        return path.resolve(strict=True).is_relative_to(root.resolve(strict=True))
    except (OSError, RuntimeError):
        return False


def is_link(path: Path) -> bool:
    """The path is a symbolic link. False when it can't be looked at: whoever opens it meets the error then."""
    try:
        return path.is_symlink()
    except OSError:
        return False


def entries(directory: Path) -> Iterator[Path]:
    """What is in a directory and is no directory itself, sorted; nothing when it can't be read (any more)."""
    try:
        with os.scandir(directory) as found:
            names = sorted(entry.name for entry in found if not entry.is_dir(follow_symlinks=False))
    except OSError:
        return
    for name in names:
        yield directory / name


def subdirectories(directory: Path, state_dir: Path) -> list[Path]:
    """The directories to watch in one that is watched: ``agents``, each agent, and each agent's ``sessions``.

    Those above the sessions directories are watched for agents that appear later. Links that lead out of the state
    directory are left out.
    """
    agents = state_dir / AGENTS
    if directory == agents:
        try:
            found = sorted(directory.iterdir())
        except OSError:
            return []
    elif directory == state_dir:
        found = [agents]
    elif directory.parent == agents:
        found = [directory / SESSIONS]
    else:
        return []
    return [path for path in found if _is_directory(path) and is_inside(path, state_dir)]


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def is_sessions_directory(path: Path, state_dir: Path) -> bool:
    """The directory is ``<state>/agents/<agent>/sessions``."""
    return path.name == SESSIONS and path.parent.parent == state_dir / AGENTS

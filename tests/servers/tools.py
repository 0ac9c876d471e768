"""The command lines that come with the servers."""

import subprocess
from pathlib import Path

from tests.servers.binaries import find, require

_SECONDS = 60.0


class ToolError(AssertionError):
    """A tool found something; carries what it wrote."""


def promtool(*arguments: str | Path, cwd: Path | None = None) -> str:
    """What ``promtool`` writes.

    Raises:
        ToolError: It ended with another status than 0.
    """
    return _run("promtool", arguments, cwd)


def amtool(*arguments: str | Path, cwd: Path | None = None) -> str:
    """What ``amtool`` writes.

    Raises:
        ToolError: It ended with another status than 0.
    """
    return _run("amtool", arguments, cwd)


def _run(name: str, arguments: tuple[str | Path, ...], cwd: Path | None) -> str:
    require(name)
    done = subprocess.run(
        [find(name), *map(str, arguments)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        raise ToolError(f"{name} {' '.join(map(str, arguments))} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout

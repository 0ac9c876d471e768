"""The servers' programs: where they are, or how to get them."""

import os
import shutil
from typing import Final

import pytest

_NAMES: Final = {
    "prometheus": ("prometheus",),
    "promtool": ("promtool",),
    "alertmanager": ("alertmanager", "prometheus-alertmanager"),  # Debian's name is the longer one
    "amtool": ("amtool",),
}
HINT: Final = "run .ci/install as root (Debian, Ubuntu: apt-get install prometheus prometheus-alertmanager)"


class ProgramMissingError(RuntimeError):
    """A program that a test needs is not installed."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} was not found on PATH: {HINT}")


def find(name: str) -> str:
    """Path of a program.

    Raises:
        ProgramMissingError: It is not on PATH.
    """
    for candidate in _NAMES[name]:
        if found := shutil.which(candidate):
            return found
    raise ProgramMissingError(name)


def require(*names: str) -> None:
    """Skip the test, with the way to get them, where a program is missing; on CI that is an error.

    Raises:
        ProgramMissingError: One is missing and this is CI.
    """
    try:
        for name in names:
            find(name)
    except ProgramMissingError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))

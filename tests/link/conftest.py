from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.link.running import pytest_pyfunc_call

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["pytest_pyfunc_call"]


@pytest.fixture
def path() -> Iterator[Path]:
    """Where a socket may be: a name of at most 108 bytes, in a directory that other users may enter."""
    with tempfile.TemporaryDirectory(prefix="ocs-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory) / "s.sock"

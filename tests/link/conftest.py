import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.link.running import pytest_pyfunc_call

__all__ = ["pytest_pyfunc_call"]


@pytest.fixture
def path() -> Iterator[Path]:
    """Where a socket may be: a name of at most 108 bytes, in a directory that other users may enter."""
    with tempfile.TemporaryDirectory(prefix="ocs-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory) / "s.sock"

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.link.running import pytest_pyfunc_call

__all__ = ["pytest_pyfunc_call"]


@pytest.fixture
def room() -> Iterator[Path]:
    """A directory of a short name: a socket's path has at most 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="ocs-") as directory:
        yield Path(directory)

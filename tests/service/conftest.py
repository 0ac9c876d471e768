import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.link.running import pytest_pyfunc_call
from tests.service.kit import Place

__all__ = ["pytest_pyfunc_call"]


@pytest.fixture
def place() -> Iterator[Place]:
    """Short, because a socket's path has 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="ocs-") as directory:
        yield Place(Path(directory))

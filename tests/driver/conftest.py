import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.driver import questions, reads
from tests.link.running import pytest_pyfunc_call

__all__ = ["pytest_pyfunc_call"]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that answers is heard, however long a busy machine takes. See `tests.driver.kit.impatient`."""
    monkeypatch.setattr(questions, "SYNC_SECONDS", 20.0)
    monkeypatch.setattr(reads, "PATIENT_SECONDS", 20.0)
    monkeypatch.setattr(reads, "ROWS_PATIENT_SECONDS", 20.0)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short name: a socket's path has 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="ocs-") as directory:
        (Path(directory) / "sessions").mkdir()
        yield Path(directory)

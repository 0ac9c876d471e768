from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.store.incidents import DATABASE_NAME, IncidentStore
from tests.store.samples import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / DATABASE_NAME


@pytest.fixture
def store(path: Path, clock: Clock) -> Iterator[IncidentStore]:
    with IncidentStore(path, clock) as opened:
        yield opened

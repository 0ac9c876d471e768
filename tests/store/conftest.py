from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sidecar.store.incidents import DATABASE_NAME, IncidentStore
from tests.store.samples import Clock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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

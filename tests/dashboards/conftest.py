from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.dashboards.hour import Hour, lived
from tests.servers.binaries import require

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def hour() -> Iterator[Hour]:
    """The scripted hour, lived once."""
    require("prometheus")
    for name in list(os.environ):
        assert not name.startswith("OTEL_"), f"{name} is set"
    # Short: a socket's path has 108 bytes.
    with tempfile.TemporaryDirectory(prefix="ocs-") as place, lived(Path(place) / "work", Path(place)) as found:
        yield found

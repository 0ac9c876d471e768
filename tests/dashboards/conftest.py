import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dashboards.hour import Hour, lived
from tests.servers.binaries import require


@pytest.fixture(scope="session")
def hour() -> Iterator[Hour]:
    """The scripted hour, lived once."""
    require("prometheus")
    for name in list(os.environ):
        assert not name.startswith("OTEL_"), f"{name} is set"
    # Short: a socket's path has 108 bytes.
    with tempfile.TemporaryDirectory(prefix="ocs-") as place, lived(Path(place) / "work", Path(place)) as found:
        yield found

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.link.running import pytest_pyfunc_call
from tests.watch.kit import Watch

__all__ = ["pytest_pyfunc_call"]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory with one agent."""
    (tmp_path / "state" / "agents" / "main" / "sessions").mkdir(parents=True)
    return tmp_path / "state"


@pytest.fixture
def sessions(state: Path) -> Path:
    """The sessions directory of that agent."""
    return state / "agents" / "main" / "sessions"


@pytest.fixture
def watch() -> Iterator[Callable[[Path], Watch]]:
    """Starts to watch a state directory."""
    with asyncio.Runner() as runner:
        opened: list[Watch] = []

        def start(state_dir: Path) -> Watch:
            opened.append(Watch(state_dir, runner))
            return opened[-1]

        yield start
        for watch in opened:
            watch.stop()

import json
from pathlib import Path

import pytest

from tests.link.running import pytest_pyfunc_call

__all__ = ["pytest_pyfunc_call"]

HEADER = {"type": "session", "version": 3, "id": "s", "timestamp": "2026-01-01T00:00:00.000Z", "cwd": "/"}
FIRST = {"type": "message", "id": "a", "parentId": None, "message": {"role": "user", "content": "one"}}
SECOND = {"type": "message", "id": "b", "parentId": "a", "message": {"role": "assistant", "content": []}}


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A state directory with one session, ``abc``."""
    sessions = tmp_path / "state" / "agents" / "main" / "sessions"
    sessions.mkdir(parents=True)
    (sessions / "abc.jsonl").write_text("".join(json.dumps(r) + "\n" for r in (HEADER, FIRST, SECOND)))
    return tmp_path / "state"


@pytest.fixture
def session_file(state_dir: Path) -> Path:
    """Its file."""
    return state_dir / "agents" / "main" / "sessions" / "abc.jsonl"

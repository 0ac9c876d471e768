import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sidecar.cli import main
from sidecar.store.incidents import DATABASE_NAME, IncidentStore
from tests.store.samples import NOON, SECOND, Clock


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    def json(self) -> Any:  # noqa: ANN401 - any JSON value
        return json.loads(self.out)


class Command:
    """Runs the command in this process, with an environment of its own."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Result:
        self._capsys.readouterr()
        code = main(arguments)
        out, err = self._capsys.readouterr()
        assert "Traceback" not in err
        return Result(code, out, err)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory with a state directory in it, and nothing in the environment that says otherwise."""
    for name in ("OPENCLAW_STATE_DIR", "XDG_STATE_HOME", "NODE_OPTIONS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for key in (
        "STATE_DIR",
        "DATA_DIR",
        "SOCKET",
        "HTTP",
        "OBSERVE",
        "NOTIFY",
        "CONFIG",
        "LOG_FORMAT",
        "POLICY",
        "HOOKS_TOKEN_FILE",
    ):
        monkeypatch.delenv(f"OPENCLAW_SIDECAR_{key}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".openclaw").mkdir()
    return tmp_path


@pytest.fixture
def data_dir(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPENCLAW_SIDECAR_DATA_DIR", str(home / "data"))
    return home / "data"


@pytest.fixture
def cli(home: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON + 2 * SECOND)


@pytest.fixture
def store(data_dir: Path, clock: Clock) -> Iterator[IncidentStore]:
    with IncidentStore(data_dir / DATABASE_NAME, clock) as opened:
        yield opened

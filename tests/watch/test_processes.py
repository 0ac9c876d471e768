"""Which gateways of a state directory run here."""

from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from sidecar.watch.processes import command_of, gateways_of
from tests.processes import waiting


def running(name: str, *arguments: str, **environment: str) -> AbstractContextManager[int]:
    """A process that goes by this name and these arguments; its pid."""
    return waiting(name, "-c", "echo; read line", *arguments, executable="/bin/sh", env=environment)


def pids_of(state: Path) -> set[int]:
    return {found.pid for found in gateways_of(state)}


@pytest.mark.parametrize("words", [["openclaw-gateway"], ["/opt/openclaw", "gateway"]])
def test_a_gateway_is_known_by_its_title_or_command_line(tmp_path: Path, words: list[str]) -> None:
    with running(*words, OPENCLAW_STATE_DIR=str(tmp_path)) as pid:
        [found] = gateways_of(tmp_path)
        assert found.pid == pid
        assert Path(found.exe).samefile("/bin/sh")


def test_a_gateway_of_another_state_directory_is_none_of_ours(tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    with running("openclaw-gateway", OPENCLAW_STATE_DIR=str(tmp_path / "theirs")) as pid:
        assert pids_of(tmp_path / "ours") == set()
        assert pids_of(tmp_path / "theirs") == {pid}


def test_a_gateway_that_names_no_directory_has_the_default_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".openclaw").mkdir()
    with running("openclaw-gateway") as pid:
        assert pid in pids_of(tmp_path / ".openclaw")


def test_other_programs_of_openclaw_are_no_gateway(tmp_path: Path) -> None:
    with running("openclaw-doctor", OPENCLAW_STATE_DIR=str(tmp_path)):
        assert pids_of(tmp_path) == set()


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["python3", "/opt/backup.py", "nightly"], "python3 /opt/backup.py nightly"),
        (["/usr/bin/node", "openclaw", "agent", "--message", "something private"], "node openclaw agent"),
        (["sqlite3", "state/db.sqlite", "BEGIN IMMEDIATE"], "sqlite3 state/db.sqlite"),
        (["openclaw-gateway: main", "gateway"], "openclaw-gateway gateway"),
        (["rsync", "a", "b", "c", "d", "e"], "rsync a b c"),
        (["curl", "https://user:secret@host"], "curl"),
        (["-sh"], ""),
    ],
)
def test_a_command_is_named_without_anything_that_may_be_text(words: list[str], command: str, tmp_path: Path) -> None:
    (tmp_path / "12").mkdir()
    (tmp_path / "12" / "cmdline").write_bytes(b"".join(f"{word}\0".encode() for word in words))
    assert command_of(12, tmp_path) == command


def test_a_process_that_is_gone_has_no_command() -> None:
    with running("some-program") as pid:
        assert command_of(pid) == "some-program"
    assert command_of(pid) == ""

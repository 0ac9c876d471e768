"""Strange things in a sessions directory, against a real sidecar: one clear line each, counted, nothing else lost."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.demo.companion import Companion
from sidecar.demo.errors import StartError


@pytest.fixture
def place() -> Iterator[Path]:
    """Short, because a socket's path has 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="ocs-") as directory:
        yield Path(directory)


def _sessions(place: Path) -> Path:
    sessions = place / "state" / "agents" / "main" / "sessions"
    sessions.mkdir(parents=True)
    (sessions / "fine.jsonl").write_text('{"type":"session","id":"s"}\n')
    return sessions


def _companion(place: Path) -> Companion:
    return Companion(place / "state", place / "sidecar", place / "s.sock")


STRANGE = {
    "a newline in its name": ("bad_name", "a\nb.jsonl"),
    "a name that is no UTF-8": ("bad_name", os.fsdecode(b"caf\xe9.jsonl")),
    "a link that leads outside": ("symlink_outside", "out.jsonl"),
    "text that is no JSON": ("not_jsonl", "prose.jsonl"),
}


@pytest.mark.parametrize("what", STRANGE)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_strange_session_file_is_told_once_and_counted(place: Path, what: str, when: str) -> None:
    code, name = STRANGE[what]
    sessions = _sessions(place)

    def make() -> None:
        if code == "symlink_outside":
            (place / "elsewhere.jsonl").write_text("{}\n")
            (sessions / name).symlink_to(place / "elsewhere.jsonl")
        else:
            (sessions / name).write_text("once upon a time\n" if code == "not_jsonl" else "{}\n")

    if when == "before":
        make()
    async with _companion(place) as sidecar:
        if when == "after":
            make()
        status = await sidecar.wait_for(lambda s: s["rejected"].get(code, 0) > 0)
        (sessions / "fine.jsonl").touch()
        assert status["rejected"] == {code: 1}
        assert status["ready"]
        lines = [line for line in sidecar.log.lines() if '"rejected"' in line]
        assert len(lines) == 1
        assert f'"{code}"' in lines[0]
        assert f'reason="{code}"' in await sidecar.metrics()


async def test_a_second_sidecar_on_the_same_socket_is_refused_and_the_first_goes_on(place: Path) -> None:
    _sessions(place)
    async with _companion(place) as first:
        second = Companion(place / "state", place / "second", place / "s.sock")
        (place / "second").mkdir()
        with pytest.raises(StartError, match="belongs to a sidecar that is running") as refused:
            await second.start()
        assert "ended with status 3" in str(refused.value)
        assert (await first.status())["ready"]


async def test_a_stale_socket_is_taken_over_after_a_kill(place: Path) -> None:
    _sessions(place)
    first = _companion(place)
    (place / "sidecar").mkdir()
    await first.start()
    await first.kill()
    assert (place / "s.sock").exists()
    async with _companion(place) as second:
        assert (await second.status())["ready"]

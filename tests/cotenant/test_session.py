"""One session under its lock: whole records or none."""

from __future__ import annotations

import os
import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.core.change import Operation
from sidecar.cotenant.announcer import Nobody, Report
from sidecar.cotenant.errors import LockLostError, SessionFileError, WriteFailedError
from sidecar.cotenant.lock import LockTimes
from sidecar.cotenant.session import locked
from sidecar.watch.reading import fingerprint_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sidecar.core.fingerprint import Fingerprint
    from sidecar.cotenant.change import Change

NOTE = b'{"type":"custom","id":"n","parentId":"b"}\n'


class Ledger(Nobody):
    """Remembers what was announced, and how the file was then."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.told: list[tuple[str, Fingerprint, Any]] = []

    def begin(self, _file: str, before: Fingerprint, announced: Change) -> Report:
        assert fingerprint_of(self.file) == before
        self.told.append(("begin", before, announced))
        return {}

    def end(self, begun: Report, after: Fingerprint, other: Report | None = None) -> None:
        assert fingerprint_of(self.file) == after
        self.told.append(("end", after, other))


def test_an_append_is_announced_before_its_first_byte_and_ended_after_its_last(session_file: Path) -> None:
    before, ledger = session_file.read_bytes(), Ledger(session_file)
    with locked(session_file, LockTimes(), ledger) as session:
        change = session.append(NOTE)

    assert session_file.read_bytes() == before + NOTE
    assert [(what, seen.size) for what, seen, _ in ledger.told] == [
        ("begin", len(before)),
        ("end", len(before) + len(NOTE)),
    ]
    assert (change.operation, change.offset, change.length) == (Operation.APPEND, len(before), len(NOTE))
    assert session.lock_kept


def test_a_replacement_comes_in_one_step_and_keeps_the_mode(session_file: Path) -> None:
    session_file.chmod(0o640)
    ledger = Ledger(session_file)
    with locked(session_file, LockTimes(), ledger) as session:
        session.replace(NOTE)

    assert session_file.read_bytes() == NOTE
    assert session_file.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in session_file.parent.iterdir()] == ["abc.jsonl"]
    assert [what for what, _, _ in ledger.told] == ["begin", "end"]


@contextmanager
def _room_for(size: int) -> Iterator[None]:
    """No file may be longer, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_half_a_record_is_taken_back_and_told_as_no_byte(session_file: Path) -> None:
    before, ledger = session_file.read_bytes(), Ledger(session_file)
    with (
        locked(session_file, LockTimes(), ledger) as session,
        _room_for(len(before) + 7),
        pytest.raises(WriteFailedError, match="taken back"),
    ):
        session.append(NOTE)

    assert session_file.read_bytes() == before
    assert [(what, other) for what, _, other in ledger.told][1] == (
        "end",
        {"op": "metadata", "length": 0, "sha256": "", "offset": -1},
    )


def test_a_replacement_that_has_no_room_leaves_the_old_content(session_file: Path) -> None:
    before, ledger = session_file.read_bytes(), Ledger(session_file)
    with (
        locked(session_file, LockTimes(), ledger) as session,
        _room_for(8),
        pytest.raises(WriteFailedError, match="nothing was"),
    ):
        session.replace(NOTE)

    assert (session_file.read_bytes(), ledger.told) == (before, [])
    assert [entry.name for entry in session_file.parent.iterdir()] == ["abc.jsonl"]


def test_without_the_lock_nothing_is_written(session_file: Path) -> None:
    before, ledger = session_file.read_bytes(), Ledger(session_file)
    with locked(session_file, LockTimes(), ledger) as session:
        session.hold.path.unlink()
        with pytest.raises(LockLostError):
            session.append(NOTE)

    assert (session_file.read_bytes(), ledger.told) == (before, [])


def test_a_lock_that_was_taken_away_after_the_write_is_told(session_file: Path) -> None:
    with locked(session_file, LockTimes(), Ledger(session_file)) as session:
        session.append(NOTE)
        session.hold.path.write_text("{}")

    assert not session.lock_kept
    assert session.hold.path.exists()


def test_a_stranger_that_writes_meanwhile_stops_it(session_file: Path) -> None:
    """Its bytes would look as if they had been there before, or end up inside of ours."""
    ledger = Ledger(session_file)
    with locked(session_file, LockTimes(), ledger) as session:
        with session_file.open("ab") as stranger:
            stranger.write(b"x\n")
        with pytest.raises(SessionFileError, match="somebody without it"):
            session.append(NOTE)
    assert ledger.told == []


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "is empty"), (b'{"type":"session"}', "middle of a record"), (b'{"type":"session"}\n{', "middle of a rec")],
)
def test_a_session_that_is_not_whole_is_not_continued(session_file: Path, content: bytes, why: str) -> None:
    session_file.write_bytes(content)
    with pytest.raises(SessionFileError, match=why), locked(session_file, LockTimes(), Ledger(session_file)):
        pass

    assert session_file.read_bytes() == content
    assert [entry.name for entry in session_file.parent.iterdir()] == ["abc.jsonl"]


def test_what_is_no_regular_file_is_not_opened(session_file: Path) -> None:
    session_file.unlink()
    os.mkfifo(session_file)
    with (
        pytest.raises(SessionFileError, match="no regular file"),
        locked(session_file, LockTimes(), Ledger(session_file)),
    ):
        pass

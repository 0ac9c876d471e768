"""One session under its lock: whole records or none."""

import errno
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecar.core.facts.change import Operation
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.cotenant.announcer import Announces, Report
from sidecar.cotenant.change import Change
from sidecar.cotenant.errors import LockLostError, SessionFileError, WriteFailedError
from sidecar.cotenant.lock import LockTimes
from sidecar.cotenant.session import locked
from sidecar.watch.reading import fingerprint_of

NOTE = b'{"type":"custom","id":"n","parentId":"b"}\n'


class Ledger(Announces):
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


GATEWAYS = b'{"type":"message","id":"g","parentId":"b"}\n'
NOTHING = {"op": "metadata", "length": 0, "sha256": "", "offset": -1}


def _append(file: Path, data: bytes) -> None:
    with file.open("ab") as opened:
        opened.write(data)


def test_a_record_that_came_behind_ours_is_not_cut_off_with_it(
    session_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gateways append without the lock, too. The disk that fails is a fake: a real one can't be had fail in time."""
    before, ledger = session_file.read_bytes(), Ledger(session_file)

    def fails(_handle: int) -> None:
        monkeypatch.undo()
        _append(session_file, GATEWAYS)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with locked(session_file, LockTimes(), ledger) as session:
        monkeypatch.setattr("sidecar.cotenant.session.os.fsync", fails)
        with pytest.raises(WriteFailedError, match="others wrote behind it"):
            session.append(NOTE)

    assert session_file.read_bytes() == before + NOTE + GATEWAYS
    assert [(what, other) for what, _, other in ledger.told][1:] == [("end", {"failed": True})]


def test_a_session_that_somebody_cut_meanwhile_is_not_filled_up(
    session_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fake disk, as above."""

    def fails(_handle: int) -> None:
        monkeypatch.undo()
        os.truncate(session_file, 5)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with locked(session_file, LockTimes(), Ledger(session_file)) as session:
        monkeypatch.setattr("sidecar.cotenant.session.os.fsync", fails)
        with pytest.raises(WriteFailedError, match="others wrote behind it or cut it"):
            session.append(NOTE)
    assert session_file.stat().st_size == 5


def test_a_record_that_came_behind_half_of_ours_is_not_cut_off_with_it(
    session_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The short write is the kernel's own; only that somebody appends behind it is arranged."""
    before, ledger = session_file.read_bytes(), Ledger(session_file)
    write = os.write

    def short(handle: int, data: bytes) -> int:
        with _room_for(len(before) + 7):
            written = write(handle, data)
        _append(session_file, GATEWAYS)
        return written

    with locked(session_file, LockTimes(), ledger) as session:
        monkeypatch.setattr("sidecar.cotenant.session.os.write", short)
        with pytest.raises(WriteFailedError, match="others wrote behind it"):
            session.append(NOTE)

    assert session_file.read_bytes() == before + NOTE[:7] + GATEWAYS
    assert [(what, other) for what, _, other in ledger.told][1:] == [("end", {"failed": True})]


@pytest.mark.parametrize("step", ["append", "replace"])
def test_a_record_that_comes_while_ours_is_announced_stops_it(session_file: Path, step: str) -> None:
    """The announcement takes as long as the sidecar does; what came meanwhile would be replaced, or be branched off."""
    before = session_file.read_bytes()

    class Slow(Ledger):
        def begin(self, file: str, seen: Fingerprint, announced: Change) -> Report:
            begun = super().begin(file, seen, announced)
            _append(self.file, GATEWAYS)
            return begun

    ledger = Slow(session_file)
    with (
        locked(session_file, LockTimes(), ledger) as session,
        pytest.raises(SessionFileError, match=r"somebody without it.*nothing was written"),
    ):
        getattr(session, step)(NOTE)

    assert session_file.read_bytes() == before + GATEWAYS
    assert [(what, other) for what, _, other in ledger.told][1:] == [("end", NOTHING)]
    assert [entry.name for entry in session_file.parent.iterdir()] == ["abc.jsonl"]


@pytest.mark.parametrize("step", ["append", "replace"])
def test_a_lock_that_is_taken_away_while_ours_is_announced_stops_it(session_file: Path, step: str) -> None:
    before = session_file.read_bytes()

    class Slow(Ledger):
        def begin(self, file: str, seen: Fingerprint, announced: Change) -> Report:
            session_file.with_name("abc.jsonl.lock").unlink()
            return super().begin(file, seen, announced)

    ledger = Slow(session_file)
    with locked(session_file, LockTimes(), ledger) as session, pytest.raises(LockLostError, match="nothing was"):
        getattr(session, step)(NOTE)

    assert session_file.read_bytes() == before
    assert [(what, other) for what, _, other in ledger.told][1:] == [("end", NOTHING)]


@contextmanager
def _no_handle_left() -> Iterator[None]:
    """Nothing can be opened any more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("step", ["append", "replace"])
def test_a_session_that_can_not_be_opened_is_an_error_with_its_name_and_begins_nothing(
    session_file: Path, step: str
) -> None:
    before, ledger = session_file.read_bytes(), Ledger(session_file)
    with (
        locked(session_file, LockTimes(), ledger) as session,
        pytest.raises(WriteFailedError, match="Too many open files; nothing was") as raised,
        _no_handle_left(),
    ):
        getattr(session, step)(NOTE)
    assert str(session_file) in str(raised.value)
    assert (session_file.read_bytes(), ledger.told) == (before, [])


def test_a_step_that_can_not_be_made_after_it_was_announced_is_ended(
    session_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rename that fails is a fake: between two names of one directory nothing real refuses it to root."""
    before, ledger = session_file.read_bytes(), Ledger(session_file)

    def fails(_self: Path, _target: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("pathlib.Path.replace", fails)
    with (
        locked(session_file, LockTimes(), ledger) as session,
        pytest.raises(WriteFailedError, match="Read-only file system; nothing was"),
    ):
        session.replace(NOTE)

    assert session_file.read_bytes() == before
    assert [(what, other) for what, _, other in ledger.told][1:] == [("end", NOTHING)]


def test_a_replacement_whose_directory_can_not_be_flushed_is_in_place_and_told(
    session_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fake disk, as above: the new content was flushed, its name was not."""
    ledger, fsync = Ledger(session_file), os.fsync

    def fails(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(handle)

    monkeypatch.setattr("sidecar.cotenant.session.os.fsync", fails)
    with (
        locked(session_file, LockTimes(), ledger) as session,
        pytest.raises(WriteFailedError, match="Input/output error; it was written"),
    ):
        session.replace(NOTE)

    assert session_file.read_bytes() == NOTE
    assert [(what, other) for what, _, other in ledger.told][1:] == [("end", None)]


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

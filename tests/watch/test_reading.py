"""Snapshots of files that others are changing, have replaced, or never were files."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from sidecar.core.facts.content import BytesContent, Snapshot
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.watch import reading
from sidecar.watch.reading import MAX_FILE_BYTES, _read_all, fingerprint_of, jsonl_problem, take_snapshot

NOBODY: Final = 65534

APPEND_FOR_EVER: Final = """
import itertools, os, sys, time
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
print("going", flush=True)
for number in itertools.count():
    os.write(fd, b"%07d\\n" % number)
    if number % 100 == 0:
        time.sleep(0.001)
"""
REPLACE_FOR_EVER: Final = """
import itertools, os, sys
path = sys.argv[1]
print("going", flush=True)
for number in itertools.count():
    with open(path + ".tmp", "wb") as out:
        out.write(b"%07d\\n" % number * 5000)
    os.replace(path + ".tmp", path)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "s.jsonl"
    path.write_bytes(b"one\n")
    return path


@pytest.fixture
def writer(file: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    """Another process at work on the file."""
    with subprocess.Popen([sys.executable, "-c", request.param, str(file)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"going\n"
        yield
        process.kill()


def data_of(snapshot: Snapshot) -> bytes:
    assert isinstance(snapshot.content, BytesContent)
    return snapshot.content.data


def test_a_snapshot_has_the_bytes_of_its_fingerprint(file: Path) -> None:
    snapshot = take_snapshot(file)
    assert data_of(snapshot) == b"one\n"
    assert snapshot.fingerprint == fingerprint_of(file)
    assert (snapshot.regular, snapshot.uid, snapshot.problem) == (True, os.geteuid(), "")


def test_an_empty_file_is_read(file: Path) -> None:
    file.write_bytes(b"")
    assert data_of(take_snapshot(file)) == b""


def test_a_file_that_is_not_there_is_absent(tmp_path: Path) -> None:
    snapshot = take_snapshot(tmp_path / "absent.jsonl")
    assert snapshot.fingerprint == Fingerprint.absent() == fingerprint_of(tmp_path / "absent.jsonl")
    assert (snapshot.content, snapshot.problem) == (None, "")


@pytest.mark.parametrize("writer", [APPEND_FOR_EVER], indirect=True)
def test_a_file_that_somebody_appends_to_is_read_whole_or_not_at_all(file: Path, writer: None) -> None:
    whole = bytearray(b"one\n")
    for _ in range(200):
        snapshot = take_snapshot(file)
        if snapshot.content is None:
            assert snapshot.problem == "it kept changing while it was read"
            assert (snapshot.regular, snapshot.uid) == (True, os.geteuid()), "what is known of it stays known"
            continue
        data = data_of(snapshot)
        while len(whole) < len(data):
            whole += b"%07d\n" % ((len(whole) - 4) // 8)
        assert data == whole[: snapshot.fingerprint.size]


@pytest.mark.parametrize("writer", [REPLACE_FOR_EVER], indirect=True)
def test_a_file_that_somebody_replaces_is_read_from_one_of_its_lives(file: Path, writer: None) -> None:
    for _ in range(200):
        snapshot = take_snapshot(file)
        if snapshot.content is not None:
            data = data_of(snapshot)
            assert data == data[:8] * 5000 or data == b"one\n"
            assert len(data) == snapshot.fingerprint.size


def rewrite_in_place(file: Path) -> None:
    with file.open("r+b") as out:
        out.write(b"two\n")


def replace(file: Path) -> None:
    file.with_suffix(".tmp").write_bytes(b"two\n")
    file.with_suffix(".tmp").replace(file)


def touch(file: Path) -> None:
    os.utime(file)


def grow(file: Path) -> None:
    with file.open("ab") as out:
        out.write(b"two\n")


def cut(file: Path) -> None:
    os.truncate(file, 0)


MEDDLERS: Final = (rewrite_in_place, replace, touch, grow, cut)


@pytest.mark.parametrize("meddle", MEDDLERS)
@pytest.mark.parametrize("moment", ["before the bytes are read", "after the bytes are read"])
def test_bytes_and_fingerprint_are_of_one_moment(
    file: Path, monkeypatch: pytest.MonkeyPatch, meddle: Callable[[Path], None], moment: str
) -> None:
    """Somebody is at work while the file is open here, once."""
    meddling = iter([meddle])

    def read_all(descriptor: int, size: int) -> bytes:
        step = next(meddling, None)
        if step is not None and moment.startswith("before"):
            step(file)
        data = _read_all(descriptor, size)
        if step is not None and moment.startswith("after"):
            step(file)
        return data

    monkeypatch.setattr(reading, "_read_all", read_all)
    snapshot = take_snapshot(file)
    assert (data_of(snapshot), snapshot.fingerprint) == (file.read_bytes(), fingerprint_of(file))


@pytest.mark.parametrize("meddle", MEDDLERS)
def test_a_file_that_never_holds_still_is_not_read(
    file: Path, monkeypatch: pytest.MonkeyPatch, meddle: Callable[[Path], None]
) -> None:
    def read_all(descriptor: int, size: int) -> bytes:
        data = _read_all(descriptor, size)
        meddle(file)
        return data

    monkeypatch.setattr(reading, "_read_all", read_all)
    snapshot = take_snapshot(file)
    assert (snapshot.content, snapshot.problem) == (None, "it kept changing while it was read")
    assert (snapshot.regular, snapshot.uid) == (True, os.geteuid()), "what is known of it stays known"


@pytest.mark.timeout(120)
def test_a_fifo_in_its_place_hangs_nobody(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)
    snapshot = take_snapshot(file)
    assert (snapshot.content, snapshot.regular, snapshot.problem) == (None, False, "it is no regular file")


@pytest.mark.parametrize("what", ["directory", "socket", "link to a device"])
def test_what_is_no_file_is_flagged(file: Path, what: str) -> None:
    file.unlink()
    with socket.socket(socket.AF_UNIX) as listener, tempfile.TemporaryDirectory(prefix="ocs-") as short:
        match what:
            case "directory":
                file.mkdir()
            case "socket":
                file = Path(short, "s.jsonl")
                listener.bind(str(file))
            case _:
                file.symlink_to("/dev/null")
        snapshot = take_snapshot(file)
    assert (snapshot.content, snapshot.regular) == (None, False)
    assert snapshot.problem != ""
    assert snapshot.uid == 0 or snapshot.uid == os.geteuid()


def test_a_link_in_its_place_is_flagged_though_its_target_is_read(file: Path, tmp_path: Path) -> None:
    """The gateway follows it as well, so its fingerprint is that of the target."""
    target = tmp_path / "elsewhere"
    target.write_bytes(b"other\n")
    file.unlink()
    file.symlink_to(target)
    snapshot = take_snapshot(file)
    assert data_of(snapshot) == b"other\n"
    assert snapshot.regular is False
    assert snapshot.fingerprint == fingerprint_of(target)


def test_a_link_to_nothing_is_absent(file: Path, tmp_path: Path) -> None:
    """As the gateway sees it."""
    file.unlink()
    file.symlink_to(tmp_path / "nowhere")
    assert take_snapshot(file).fingerprint == Fingerprint.absent()


def test_a_file_that_is_too_large_is_not_read(file: Path) -> None:
    os.truncate(file, MAX_FILE_BYTES + 1)
    snapshot = take_snapshot(file)
    assert snapshot.content is None
    assert str(MAX_FILE_BYTES) in snapshot.problem
    assert snapshot.fingerprint == fingerprint_of(file)
    assert (snapshot.regular, snapshot.uid) == (True, os.geteuid())


def test_a_file_that_may_not_be_read_is_told_as_such_and_what_is_known_stays_known() -> None:
    with tempfile.TemporaryDirectory(prefix="ocs-") as directory:
        Path(directory).chmod(0o755)
        file = Path(directory) / "s.jsonl"
        file.write_bytes(b"one\n")
        file.chmod(0o000)
        as_root = os.geteuid() == 0
        if as_root:
            os.seteuid(NOBODY)
        try:
            snapshot = take_snapshot(file)
        finally:
            if as_root:
                os.seteuid(0)
        assert (snapshot.content, snapshot.problem) == (None, "Permission denied")
        assert snapshot.fingerprint == fingerprint_of(file)
        assert (snapshot.regular, snapshot.uid) == (True, os.geteuid())


def test_a_path_that_can_not_be_looked_at_is_told_as_such(file: Path) -> None:
    snapshot = take_snapshot(file / "s.jsonl")
    assert snapshot.content is None
    assert snapshot.problem == "Not a directory"


def test_times_before_1970_are_numbers_that_can_be_told(file: Path) -> None:
    os.utime(file, ns=(-1, -1))
    found = fingerprint_of(file)
    assert found.mtime_ns == 2**64 - 1
    assert Fingerprint.parse(found.encode()) == found == take_snapshot(file).fingerprint


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", ""),
        (b'{"type":"session"}\n', ""),
        (b'{"type":"session"}\nanything\n', ""),
        (b'{"half a', ""),
        (b"text\n", "its first line is no JSON"),
        (b"\xff\xfe\n", "its first line is no JSON"),
        (b"[1]\n", "its first line is no JSON object"),
        (b'{"x":' + b"[" * 20_000 + b"\n", "its first line is no JSON"),
        (b"x" * 70_000, "its first line is longer than 65536 bytes"),
    ],
)
def test_a_file_that_is_no_jsonl_is_known_by_its_first_line(file: Path, content: bytes, problem: str) -> None:
    file.write_bytes(content)
    assert jsonl_problem(file) == problem


@pytest.mark.timeout(120)
@pytest.mark.parametrize("what", ["absent", "fifo", "directory", "link to nothing"])
def test_what_can_not_be_read_has_no_first_line(file: Path, what: str) -> None:
    file.unlink()
    match what:
        case "fifo":
            os.mkfifo(file)
        case "directory":
            file.mkdir()
        case "link to nothing":
            file.symlink_to(file.with_name("nowhere"))
        case _:
            pass
    assert jsonl_problem(file) == ""

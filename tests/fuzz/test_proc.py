"""What /proc says of a process that wants to be misread: it chooses its name, command line and control group."""

from pathlib import Path
from typing import Final

from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.watch.database.lock_holders import LockTableReader
from sidecar.watch.descent import group_of, parents_of
from sidecar.watch.filesystem import file_system_of
from sidecar.watch.identity import cgroup_of, container_of, start_ticks
from sidecar.watch.namespaces import Namespaces, pids_of
from sidecar.watch.processes import command_of, is_helper_of, parent_of
from tests.fuzz.mutate import bounded, fuzzed, mutated

PID: Final = 4711
FILES: Final = ("stat", "status", "cgroup", "cmdline")


@given(st.tuples(*(mutated("proc") for _ in FILES)))
@example((b"", b"", b"0:/a\x0b0:b\n", b""))
@example((b"", b"\nTgid:\t4711\nNSpid:\t4711\tx\n", b"", b""))
@fuzzed
def test_a_process_is_told_or_is_not_known(tmp_path: Path, contents: tuple[bytes, ...]) -> None:
    for pid in (PID, 1):
        (tmp_path / str(pid)).mkdir(exist_ok=True)
        for name, data in zip(FILES, contents, strict=True):
            (tmp_path / str(pid) / name).write_bytes(data)
    with bounded():
        assert isinstance(start_ticks(PID, tmp_path), int | None)
        assert isinstance(parent_of(PID, tmp_path), int)
        assert len(container_of(cgroup_of(PID, tmp_path))) in {0, 64}
        command = command_of(PID, tmp_path)
        assert command == "" or command.isascii()
        is_helper_of(PID, {1}, tmp_path)
        parents_of(PID, {1: 0}, tmp_path)
        group_of(PID, {1: 0}, tmp_path)
        assert all(isinstance(pid, int) for pid in pids_of(PID, tmp_path))
        Namespaces(tmp_path).find(PID, 987654)


@given(mutated("proc"))
@fuzzed
def test_the_table_of_locks_names_processes_or_nobody(tmp_path: Path, data: bytes) -> None:
    database = tmp_path / "a.sqlite"
    shm = tmp_path / "a.sqlite-shm"
    shm.touch()
    locks = tmp_path / "locks"
    locks.write_bytes(data.replace(b":99 ", b":%d " % shm.stat().st_ino))
    with bounded():
        for holders in LockTableReader(locks).look([str(database)]).values():
            assert all(pid > 0 for pids in holders.pids.values() for pid in pids)


@given(mutated("proc"))
@example(b"41 22 0:36 / /mnt/a\x0b1 2 x / /mnt rw - tmpfs y rw\n")
@example("41 22 0:36 / /mnt/a\u2028x y z / / rw - nfs y rw\n".encode())
@fuzzed
def test_a_file_system_is_told_or_is_not_known(tmp_path: Path, data: bytes) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_bytes(data)
    with bounded():
        found = file_system_of(tmp_path, mounts)
        assert tmp_path.is_relative_to(found.mount or "/")

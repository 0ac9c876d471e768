"""Kernel evidence on the real kernel. Needs CAP_SYS_ADMIN in the initial user namespace, and skips without it."""

import asyncio
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Final
from unittest import mock

import pytest

from sidecar.core.facts.process import Act, Process
from sidecar.watch import fanotify
from sidecar.watch.fanotify import Fanotify, Mask
from sidecar.watch.identity import cgroup_of, container_of, identify, started
from sidecar.watch.kernel import KernelEvidenceError, KernelWatch, prove
from tests.kernel import lacking_kernel_evidence, may_be_told, require_kernel_evidence, without_admin

QUEUE: Final = Path("/proc/sys/fs/fanotify/max_queued_events")


@dataclass
class Told:
    """A `KernelHandler` that remembers what it was told."""

    seen: list[tuple[str, Process, Act]] = field(default_factory=list)
    listening: list[Path] = field(default_factory=list)
    overflows: int = 0
    heard: int = 0

    def process_seen(self, path: Path, process: Process, act: Act) -> None:
        self.seen.append((path.name, process, act))

    def kernel_listening(self, directory: Path) -> None:
        self.listening.append(directory)

    def kernel_overflowed(self) -> None:
        self.overflows += 1

    def kernel_heard(self) -> None:
        self.heard += 1


class Listening:
    """A watch that is under way, read by hand."""

    def __init__(self, told: Told, watch: KernelWatch) -> None:
        self.told = told
        self.watch = watch

    def seen(self) -> list[tuple[str, Process, Act]]:
        """What was seen so far."""
        self.watch.drain()
        return self.told.seen


@contextmanager
def listening(state: Path, *directories: Path) -> Iterator[Listening]:
    told = Told()
    watch = KernelWatch(told)

    async def start() -> None:
        watch.start(state, [state])
        for directory in directories:
            assert watch.listen(directory) == ""

    with asyncio.Runner() as runner:
        require_kernel_evidence(state)
        runner.run(start())
        try:
            yield Listening(told, watch)
        finally:
            runner.run(_stop(watch))


async def _stop(watch: KernelWatch) -> None:
    watch.stop()


@contextmanager
def writer(file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has written to a file and stays for a while."""
    code = "import sys; f = open(sys.argv[1], 'a'); f.write('x'); f.flush(); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        (sys.executable, "-I", "-S", "-c", code, file), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            process.kill()


def test_the_canary_proves_that_the_right_pid_arrives_and_leaves_nothing(tmp_path: Path) -> None:
    with listening(tmp_path) as kernel:
        assert kernel.watch.on
    assert list(tmp_path.iterdir()) == []


def test_each_writer_of_a_session_file_is_named_with_start_and_executable(state: Path, sessions: Path) -> None:
    with listening(state, sessions) as kernel, writer(sessions / "a.jsonl") as one, writer(sessions / "a.jsonl") as two:
        seen = kernel.seen()
        for process in (one, two):
            (found,) = {p for name, p, act in seen if p.pid == process.pid and act is Act.WRITE and name == "a.jsonl"}
            assert found.exe == os.path.realpath(sys.executable)
            assert found.started_at_ns == started(process.pid) > 0


@pytest.mark.parametrize(
    ("command", "act"),
    [
        ("echo x >> a.jsonl", Act.WRITE),
        ("printf y | dd of=a.jsonl conv=notrunc status=none", Act.WRITE),
        (": > a.jsonl", Act.WRITE),
        ("rm a.jsonl", Act.WRITE),
        ("mv a.jsonl elsewhere", Act.WRITE),
        ("echo z > fresh; mv fresh a.jsonl", Act.WRITE),
        ("touch a.jsonl", Act.METADATA),
        ("chmod 600 a.jsonl", Act.METADATA),
    ],
)
def test_every_way_to_change_a_session_file_has_a_name_behind_it(
    state: Path, sessions: Path, command: str, act: Act
) -> None:
    (sessions / "a.jsonl").write_text("a\n")
    with listening(state, sessions) as kernel:
        with subprocess.Popen(("sh", "-c", f"{command}; read line"), cwd=sessions, stdin=subprocess.PIPE) as shell:
            assert shell.stdin is not None
            try:
                while not kernel.seen():
                    assert shell.poll() is None
            finally:
                shell.stdin.close()
        acts = {a for name, process, a in kernel.seen() if name == "a.jsonl"}
        assert act in acts


@contextmanager
def volumes(place: Path, *directories: Path) -> Iterator[None]:
    """A file system of its own at each directory, as where every agent has a volume."""
    with ExitStack() as stack:
        for number, directory in enumerate(directories):
            image = place / f"{number}.img"
            image.write_bytes(b"")
            os.truncate(image, 1 << 20)
            for command in (
                ("mkfs.ext4", "-q", "-O", "^has_journal", str(image)),
                ("mount", "-o", "loop", str(image), str(directory)),
            ):
                if (
                    shutil.which(command[0]) is None
                    or subprocess.run(command, capture_output=True, check=False).returncode
                ):
                    pytest.skip(f"no {' '.join(command[:3])} here: it takes e2fsprogs, root and a loop device")
            stack.callback(subprocess.run, ("umount", str(directory)), check=True)
        yield


def test_directories_that_are_volumes_of_their_own_are_told_apart(state: Path, sessions: Path, tmp_path: Path) -> None:
    """The root of every ext4 has the same handle; only the file system tells them apart."""
    other = state / "agents" / "other" / "sessions"
    other.mkdir(parents=True)
    with volumes(tmp_path, sessions, other), listening(state, sessions, other) as kernel:
        paths: list[Path] = []
        with mock.patch.object(kernel.told, "process_seen", lambda path, _process, _act: paths.append(path)):
            for directory in (sessions, other, sessions):
                subprocess.run(("sh", "-c", "echo x >> a.jsonl"), cwd=directory, check=True)
                kernel.watch.drain()
        assert kernel.watch.directories == 2
        assert [path for path, _ in groupby(paths)] == [d / "a.jsonl" for d in (sessions, other, sessions)]


def test_one_handle_on_two_file_systems_is_two_directories() -> None:
    """As above, on a machine that mounts nothing: the records are made here as the kernel lays them out."""
    handle = struct.pack("=Ii", 8, 1) + b"\2" + bytes(7) + b"a.jsonl\0"
    (one, name), (two, _) = (fanotify._place(struct.pack("=Ii", fsid, 7) + handle) for fsid in (1, 2))
    assert name == b"a.jsonl"
    assert one != two


def test_a_file_that_is_written_through_a_mapping_shows_as_open_for_writing(state: Path, sessions: Path) -> None:
    (sessions / "a.jsonl").write_text("a" * 64)
    code = "import mmap, sys; f = open(sys.argv[1], 'r+b'); m = mmap.mmap(f.fileno(), 0); m[0:1] = b'b'; m.close()"
    with listening(state, sessions) as kernel:
        subprocess.run((sys.executable, "-c", code, sessions / "a.jsonl"), check=True)
        assert Act.CLOSE in {act for _, _, act in kernel.seen()}


def test_other_files_and_readers_are_not_told_of(state: Path, sessions: Path) -> None:
    (sessions / "a.jsonl").write_text("a\n")
    with listening(state, sessions) as kernel:
        (sessions / "a.jsonl").read_text()
        (sessions / "sessions.json").write_text("{}")
        (sessions / "a.jsonl.lock").write_text("{}")
        (sessions / "a.trajectory.jsonl").write_text("{}")
        assert kernel.seen() == []


def test_a_write_to_any_file_of_a_database_is_one_to_the_database(state: Path, sessions: Path) -> None:
    database = sessions / "openclaw-agent.sqlite"
    with listening(state, sessions) as kernel:
        for suffix in ("-shm", "-wal.bak", ".lock"):
            Path(f"{database}{suffix}").write_text("x")
        assert kernel.seen() == []
        for suffix in ("-wal", "", "-journal"):
            with writer(Path(f"{database}{suffix}")) as process:
                found = {(name, p) for name, p, act in kernel.seen() if act is Act.WRITE and p.pid == process.pid}
                [(name, told)] = found
                assert (name, told.exe) == (database.name, os.path.realpath(sys.executable))
                assert told.started_at_ns == started(process.pid) > 0


def test_a_directory_that_is_moved_away_is_heard_no_more_under_its_old_name(state: Path, sessions: Path) -> None:
    with listening(state, sessions) as kernel:
        sessions.rename(sessions.with_name("gone"))
        kernel.watch.forget(sessions)
        (sessions.with_name("gone") / "a.jsonl").write_text("a\n")
        assert kernel.seen() == []
        sessions.mkdir()
        kernel.watch.listen(sessions)
        (sessions / "b.jsonl").write_text("b\n")
        assert {name for name, _, _ in kernel.seen()} == {"b.jsonl"}


def test_a_process_that_is_gone_is_told_by_its_pid_alone_and_counted(state: Path, sessions: Path) -> None:
    with listening(state, sessions) as kernel:
        with writer(sessions / "a.jsonl") as process:
            pass
        seen = kernel.seen()
        assert seen
        assert {p for _, p, _ in seen} == {Process(process.pid)}
        assert kernel.watch.unknown > 0


def test_descriptors_of_processes_are_closed(state: Path, sessions: Path) -> None:
    with listening(state, sessions) as kernel, writer(sessions / "a.jsonl"):
        before = len(list(Path("/proc/self/fd").iterdir()))
        for number in range(20):
            (sessions / f"{number}.jsonl").write_text("x")
        assert kernel.seen()
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_full_queue_is_told_and_counted(state: Path, sessions: Path) -> None:
    before = QUEUE.read_text()
    try:
        QUEUE.write_text("8")
    except OSError:
        pytest.skip(f"{QUEUE} can't be changed here")
    try:
        with listening(state, sessions) as kernel:
            for number in range(64):
                (sessions / f"{number}.jsonl").write_text("x")
            kernel.watch.drain()
            assert kernel.told.overflows == kernel.watch.overflows == 1
            assert kernel.told.heard == 1
    finally:
        QUEUE.write_text(before)


def test_without_the_capability_it_says_what_is_missing(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path; from sidecar.watch.kernel import KernelWatch\n"
        "async def main(): KernelWatch(None).start(Path(sys.argv[1]), [Path(sys.argv[1])])\n"
        "asyncio.run(main())"
    )
    command = [*without_admin(), sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 1
    assert "KernelEvidenceError" in done.stderr
    assert "it needs CAP_SYS_ADMIN in the initial user namespace" in done.stderr


def test_where_no_own_directory_is_on_the_watched_file_system_nothing_is_trusted(tmp_path: Path) -> None:
    elsewhere = Path("/proc")
    with pytest.raises(KernelEvidenceError, match="can't be tried there; put --data-dir"), asyncio.Runner() as runner:
        runner.run(_start(KernelWatch(Told()), tmp_path, elsewhere))


async def _start(watch: KernelWatch, state: Path, own: Path) -> None:
    watch.start(state, [own])


def test_a_kernel_that_names_another_process_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(tmp_path):
        pass
    real = Fanotify.read

    def misnamed(self: Fanotify) -> Iterator[object]:
        return (replace(raw, pid=0) for raw in real(self))

    monkeypatch.setattr(Fanotify, "read", misnamed)
    with pytest.raises(KernelEvidenceError, match="the kernel names 0; outside the initial user namespace"):
        prove(tmp_path)


def test_the_mask_is_the_sum_of_what_is_asked_for() -> None:
    every = Mask(0)
    for mask in Mask:
        every |= mask
    assert every == Mask(0x3CE) | Mask.OVERFLOW


@pytest.mark.parametrize(
    ("cgroup", "container"),
    [
        ("", ""),
        ("/user.slice/user-1000.slice", ""),
        (f"/system.slice/docker-{'a1' * 32}.scope", "a1" * 32),
        (f"/docker/{'b2' * 32}", "b2" * 32),
        (f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{'c3' * 32}.scope", "c3" * 32),
        (f"/machine.slice/libpod-{'d4' * 32}.scope/container", "d4" * 32),
        (f"/process_api/{'e5' * 16}", ""),
    ],
)
def test_a_container_is_known_by_its_control_group(cgroup: str, container: str) -> None:
    assert container_of(cgroup) == container


def test_a_process_is_what_proc_says_of_it_and_one_that_is_gone_is_nothing() -> None:
    found = identify(os.getpid())
    assert found == Process(
        os.getpid(),
        started(os.getpid()),
        os.path.realpath("/proc/self/exe"),
        cgroup_of(os.getpid()),
        found.container,
        os.geteuid(),
    )
    with subprocess.Popen(("true",)) as gone:
        gone.wait()
    assert identify(gone.pid) == Process(gone.pid)
    assert identify(0) == Process(0)


def no_evidence(_place: Path) -> None:
    raise KernelEvidenceError("the kernel names 0")


def test_evidence_that_the_machine_could_give_is_an_error_on_ci(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(KernelEvidenceError, match="names 0"):
        lacking_kernel_evidence(tmp_path, lambda: True, no_evidence)
    assert "cap-add SYS_ADMIN" in lacking_kernel_evidence(tmp_path, lambda: False, no_evidence)
    monkeypatch.setenv("CI", "")
    assert "cap-add SYS_ADMIN" in lacking_kernel_evidence(tmp_path, lambda: True, no_evidence)


def test_the_capability_is_read_from_the_process() -> None:
    if not may_be_told():
        pytest.skip("this machine lets nobody hear who writes")
    code = "from tests.kernel import may_be_told; print(may_be_told())"
    command = [*without_admin(), sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout == "False\n"

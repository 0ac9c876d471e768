"""Whom a pid means that was written in another pid namespace: in real namespaces, and by tables of a /proc."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sidecar.watch.identity import start_ticks
from sidecar.watch.namespaces import GONE, HIDDEN, Found, Namespaces, Sight, is_initial, pids_of, proc_is_ours
from tests.namespaces import UNSHARE, child_of, need_namespaces
from tests.processes import waiting

SAY = "echo; read line"

LOOK = """
import json, os, socket, sys
from sidecar.identity.peer import Peer
from sidecar.watch.identity import start_ticks
from sidecar.watch.namespaces import Namespaces, is_initial, proc_is_ours
seen = Namespaces()
outside, start = int(sys.argv[1]), int(sys.argv[2])
print(json.dumps({
    "initial": is_initial(),
    "ours": proc_is_ours(),
    "outside": seen.find(outside, start).sight.value,
    "dead": seen.find(30_000, 12).sight.value,
    "dead, all are here": seen.find(30_000, 12, here=True).sight.value,
    "nameless": seen.find(1, None).sight.value,
    "self": seen.find(os.getpid(), start_ticks(os.getpid())).pid == os.getpid(),
    "link": seen.of_link(0, 7),
    "peer": Peer.of(socket.socketpair()[0]).pid,
}))
"""


def test_a_process_lives_until_it_is_reaped_and_a_thread_is_no_process() -> None:
    with waiting("sh", "-c", SAY) as pid:
        assert pids_of(pid)[0] == pid
    assert pids_of(pid) == ()

    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    assert thread.native_id is not None
    assert pids_of(thread.native_id) == ()
    ended.set()
    thread.join()


def test_a_process_in_a_namespace_inside_of_ours_is_found_by_what_it_calls_itself() -> None:
    need_namespaces()
    namespaces = Namespaces()
    with waiting(*UNSHARE, "sh", "-c", SAY) as pid:
        inside = child_of(pid)
        start = start_ticks(inside)
        assert start is not None
        assert pids_of(inside)[-1] == 1
        assert namespaces.of_link(inside, 1) == pids_of(inside)
        for _ in range(2):
            assert namespaces.find(1, start) == Found(Sight.SEEN, inside)
        assert namespaces.find(inside, start).pid == 0, "inside is our name for it, and not its own"
        assert namespaces.find(1, None, here=True) == HIDDEN, "our own first process calls itself so, too"
    assert namespaces.find(1, start, here=True) == GONE


@pytest.mark.parametrize("proc", ["--mount-proc", "--mount"])
def test_from_inside_of_a_namespace_nothing_is_said_of_those_outside(proc: str) -> None:
    """With ``--mount`` /proc is still that of the outer namespace: its ids are none that the kernel tells us."""
    need_namespaces()
    start = start_ticks(os.getpid())
    command = (*UNSHARE[:-1], proc, sys.executable, "-c", LOOK, str(os.getpid()), str(start))
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    ours = proc == "--mount-proc"
    assert found == {
        "initial": False,
        "ours": ours,
        "outside": "hidden",
        "dead": "hidden",
        "dead, all are here": "gone" if ours else "hidden",
        "nameless": "hidden",
        "self": ours,
        "link": [0, 7],
        "peer": 1 if ours else 0,
    }


class Proc:
    """A /proc of processes: pid here, ids further in, start."""

    def __init__(self, place: Path, *processes: tuple[int, tuple[int, ...], int]) -> None:
        self.place = place
        (place / "self").symlink_to(str(os.getpid()))
        for pid, inner, start in processes:
            self.put(pid, inner, start)

    def put(self, pid: int, inner: tuple[int, ...], start: int) -> None:
        directory = self.place / str(pid)
        directory.mkdir(exist_ok=True)
        ids = "\t".join(map(str, (pid, *inner)))
        (directory / "status").write_text(f"Name:\tnode\nTgid:\t{pid}\nNgid:\t0\nNSpid:\t{ids}\nNSpgid:\t{ids}\n")
        (directory / "stat").write_text(f"{pid} (no de) S 1 {' '.join('0' * 17)} {start} 0\n")


@pytest.mark.parametrize(
    ("own_pid", "start", "all_here", "found"),
    [
        (40, 400, False, Found(Sight.SEEN, 40)),
        (40, 401, False, HIDDEN),
        (40, 401, True, GONE),
        (40, None, False, HIDDEN),
        (40, None, True, Found(Sight.SEEN, 40)),
        (1, 500, False, Found(Sight.SEEN, 50)),
        (1, 600, False, Found(Sight.SEEN, 60)),
        (1, 10, False, Found(Sight.SEEN, 1)),
        (1, None, True, HIDDEN),
        (50, 500, True, GONE),
        (7, 600, True, GONE),
        (9, 900, False, HIDDEN),
        (9, 900, True, HIDDEN),
        (99, None, True, GONE),
    ],
)
def test_who_is_meant(tmp_path: Path, own_pid: int, start: int | None, *, all_here: bool, found: Found) -> None:
    """Two namespaces inside of ours, one of them two deep; 70 and 80 are of one start, and call themselves 9."""
    proc = Proc(
        tmp_path, (1, (), 10), (40, (), 400), (50, (1,), 500), (60, (7, 1), 600), (70, (9,), 900), (80, (9,), 900)
    )
    namespaces = Namespaces(proc.place)
    for _ in range(2):
        assert namespaces.find(own_pid, start, here=all_here) == found


def test_another_process_under_the_same_id_is_not_taken_for_the_one_that_was_found(tmp_path: Path) -> None:
    proc = Proc(tmp_path, (50, (1,), 500))
    namespaces = Namespaces(proc.place)
    assert namespaces.find(1, 500) == Found(Sight.SEEN, 50)
    proc.put(50, (1,), 501)
    assert namespaces.find(1, 500) == HIDDEN
    assert namespaces.find(1, 501) == Found(Sight.SEEN, 50)


def test_a_kernel_without_namespaces_tells_no_other_ids(tmp_path: Path) -> None:
    directory = tmp_path / "12"
    directory.mkdir()
    (directory / "status").write_text("Name:\tnode\nTgid:\t12\nPid:\t12\n")
    assert pids_of(12, tmp_path) == (12,)
    assert not proc_is_ours(tmp_path)
    assert not is_initial(tmp_path)

"""Who started a process, up to a gateway: tables of a /proc, and real processes."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from sidecar.core.facts.process import Ancestor
from sidecar.watch.descent import MAX_GENERATIONS, group_of, parents_of
from sidecar.watch.identity import start_ticks
from tests.processes import waiting

GATEWAY = 100


class Proc:
    """A /proc: each process with its parent, its start in ticks, its command and its control group."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def put(self, pid: int, parent: int, start: int, command: str = "node", cgroup: str = "") -> None:
        directory = self.place / str(pid)
        directory.mkdir(exist_ok=True)
        zeros = " ".join("0" * 17)
        (directory / "stat").write_text(f"{pid} (a b) S {parent} {zeros} {start} 0\n")
        (directory / "cmdline").write_bytes(command.encode().replace(b" ", b"\0") + b"\0")
        (directory / "cgroup").write_text(f"0::/{cgroup}\n")


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    made = Proc(tmp_path)
    made.put(1, 0, 1, "init")
    made.put(GATEWAY, 1, 50, "openclaw-gateway", "gateway.service")
    made.put(os.getpid(), 1, 40, "openclaw-sidecar run", "sidecar.service")
    return made


def parents(proc: Proc, pid: int) -> tuple[Ancestor, ...]:
    return parents_of(pid, {GATEWAY: 50}, proc.place)


def test_who_started_it_is_told_up_to_the_gateway_without_what_may_be_text(proc: Proc) -> None:
    proc.put(110, GATEWAY, 60, "bash -c secret")
    proc.put(111, 110, 60, "python3 /opt/x.py --token secret")
    assert parents(proc, 111) == (Ancestor(110, "bash"), Ancestor(GATEWAY, "openclaw-gateway"))
    assert parents(proc, 110) == (Ancestor(GATEWAY, "openclaw-gateway"),)


def test_another_ones_child_and_the_gateway_itself_descend_from_none(proc: Proc) -> None:
    proc.put(120, 1, 70)
    proc.put(121, 120, 70)
    for pid in (120, 121, GATEWAY, 1, 99_999):
        assert parents(proc, pid) == ()


def test_an_id_that_was_given_anew_is_no_parent(proc: Proc) -> None:
    proc.put(110, GATEWAY, 60)
    proc.put(111, 110, 59)
    assert parents(proc, 111) == (), "its parent is younger than itself"
    assert parents_of(110, {GATEWAY: 49}, proc.place) == (), "the gateway was another process"


def test_a_line_without_an_end_is_followed_so_far_and_no_further(proc: Proc) -> None:
    for number in range(MAX_GENERATIONS + 1):
        proc.put(200 + number, GATEWAY if not number else 199 + number, 60)
    assert len(parents(proc, 200 + MAX_GENERATIONS - 1)) == MAX_GENERATIONS
    assert parents(proc, 200 + MAX_GENERATIONS) == ()
    proc.put(300, 301, 60)
    proc.put(301, 300, 60)
    assert parents(proc, 300) == ()


@pytest.mark.parametrize(
    ("cgroup", "start", "found"),
    [
        ("gateway.service", 60, GATEWAY),
        ("gateway.service", 49, 0),
        ("sidecar.service", 60, 0),
        ("", 60, 0),
        ("another.service", 60, 0),
    ],
)
def test_the_control_group_tells_of_an_orphan_where_it_is_the_gateways_own(
    proc: Proc, cgroup: str, start: int, found: int
) -> None:
    proc.put(130, 1, start, "python3", cgroup)
    assert parents(proc, 130) == ()
    assert group_of(130, {GATEWAY: 50}, proc.place) == found


def test_a_control_group_of_two_gateways_and_one_with_the_sidecar_in_it_tell_nothing(proc: Proc) -> None:
    proc.put(101, 1, 51, "openclaw-gateway", "gateway.service")
    proc.put(130, 1, 60, "python3", "gateway.service")
    assert group_of(130, {GATEWAY: 50, 101: 51}, proc.place) == 0
    proc.put(os.getpid(), 1, 40, "openclaw-sidecar run", "gateway.service")
    assert group_of(130, {GATEWAY: 50}, proc.place) == 0


def test_real_processes_and_an_orphan_among_them() -> None:
    own = {os.getpid(): start_ticks(os.getpid()) or 0}
    with waiting("sh", "-c", "sleep 60 & echo; read line; kill $!") as pid:
        [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        assert [found.pid for found in parents_of(int(child), own)] == [pid, os.getpid()]
    # The shell between ends at once: its child is given to init, or to a subreaper.
    with subprocess.Popen(("sh", "-c", "sleep 60 >/dev/null & echo $!"), stdout=subprocess.PIPE, text=True) as forking:
        orphan = int(forking.communicate()[0])
    try:
        assert parents_of(orphan, own) == ()
        assert group_of(orphan, own) == 0, "this process is in the same control group"
    finally:
        os.kill(orphan, signal.SIGTERM)

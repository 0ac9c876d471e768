"""Lock files that nobody will give back, by the rules of the gateway's own check."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sidecar.core.events import LockReleased, LockTaken
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.gateway import Gateway, Role
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.windows.lock_table import LockTable
from sidecar.service.stale_locks import StaleLocks
from sidecar.watch.namespaces import HIDDEN, Found, Namespaces
from sidecar.watch.stale import GRACE_SECONDS, inspect_lock
from sidecar.wire.messages import Hello

GATEWAY = Writer(WriterKind.GATEWAY, pid=os.getpid())
NOW = time.time()
HOLDS = lambda _pid, _made: True  # noqa: E731 - one word


@pytest.fixture
def session(tmp_path: Path) -> Path:
    return tmp_path / "0a1b.jsonl"


def lock(session: Path, *, age_seconds: float = 60.0, touched_seconds: float = 60.0, **payload: object) -> None:
    made = datetime.fromtimestamp(NOW, UTC) - timedelta(seconds=age_seconds)
    known = {"pid": os.getpid(), "createdAt": made.isoformat().replace("+00:00", "Z"), **payload}
    path = session.with_name(session.name + ".lock")
    path.write_text(json.dumps({key: value for key, value in known.items() if value is not None}, indent=2) + "\n")
    os.utime(path, (NOW - touched_seconds, NOW - touched_seconds))


def reasons(session: Path) -> tuple[str, ...]:
    found = inspect_lock(session, NOW, find, HOLDS)
    assert found is not None
    return found.reasons


def find(own_pid: int, start: int | None) -> Found:
    """All processes that are spoken of here live in the namespace of the tests."""
    return Namespaces().find(own_pid, start, here=True)


def starttime(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


@pytest.fixture(autouse=True)
def openclaw(monkeypatch: pytest.MonkeyPatch) -> None:
    """This test is no OpenClaw by its command line."""
    monkeypatch.setattr("sidecar.watch.stale._may_lock", lambda pid: pid != 1)


def test_a_lock_that_is_held_is_no_stale_one(session: Path) -> None:
    lock(session, starttime=starttime(os.getpid()), maxHoldMs=300_000)
    found = inspect_lock(session, NOW, find, HOLDS)
    assert found is not None
    assert (found.reasons, found.pid) == ((), os.getpid())
    assert found.age_seconds == pytest.approx(60.0)


def test_no_lock_is_none(session: Path) -> None:
    assert inspect_lock(session, NOW, find, HOLDS) is None


def test_a_dead_process(session: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    lock(session, pid=ended.pid)
    assert reasons(session) == ("dead_pid",)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"pid": None}, ("missing_pid",)),
        ({"pid": -1}, ("missing_pid",)),
        ({"starttime": 1}, ("recycled_pid",)),
        ({"pid": 1}, ("non_openclaw_owner",)),
        ({"createdAt": "yesterday"}, ("invalid_created_at",)),
        ({"createdAt": None}, ("invalid_created_at",)),
        ({"maxHoldMs": 59_000}, ("hold_exceeded",)),
        ({"maxHoldMs": 61_000}, ()),
    ],
)
def test_what_the_payload_says(session: Path, payload: dict[str, object], expected: tuple[str, ...]) -> None:
    lock(session, **payload)  # type: ignore[arg-type] # its keys are the parameters
    assert reasons(session) == expected


def test_nothing_is_concluded_from_a_holder_that_can_not_be_seen(session: Path) -> None:
    lock(session, pid=1, maxHoldMs=1)
    found = inspect_lock(session, NOW, lambda _pid, _start: HIDDEN, lambda _pid, _made: False)
    assert found is not None
    assert (found.pid, found.visible_pid) == (1, 0)
    assert found.reasons == ("hold_exceeded",), "that much the file says itself"


def test_a_lock_of_half_an_hour_is_too_old(session: Path) -> None:
    lock(session, age_seconds=1801.0)
    assert reasons(session) == ("too_old",)


def test_a_lock_that_was_just_made_may_be_empty(session: Path) -> None:
    lock(session, touched_seconds=GRACE_SECONDS - 1, pid=None, createdAt=None)
    assert reasons(session) == ()


def test_what_is_no_json_names_nobody(session: Path) -> None:
    path = session.with_name(session.name + ".lock")
    path.write_bytes(b"\xff{")
    os.utime(path, (NOW - 60, NOW - 60))
    assert reasons(session) == ("missing_pid", "invalid_created_at")


def test_a_process_that_says_that_it_gave_the_lock_back(session: Path) -> None:
    lock(session)
    found = inspect_lock(session, NOW, find, lambda _pid, _made: False)
    assert found is not None
    assert found.reasons == ("orphan_self_pid",)


class Locked:
    """A watcher that knows of one lock."""

    def __init__(self, session: Path) -> None:
        self.locked = frozenset({session})


def taken(session: Path) -> LockTaken:
    return LockTaken(file=str(session), hold="h", writer=GATEWAY, wait_ns=0, at_ns=int(NOW * 1e9), link="link-1")


def released(session: Path) -> LockReleased:
    absent, at_ns = Fingerprint.absent(), int(NOW * 1e9)
    return LockReleased(
        file=str(session), hold="h", writer=GATEWAY, after=absent, held_ns=1, at_ns=at_ns, link="link-1"
    )


@dataclass
class Link:
    """What the sweep looks at of a link."""

    pid: int
    role: Role
    name: str = "link-1"
    gaps: int = 0
    lost: int = 0
    hello: Hello = field(default_factory=lambda: Hello(seq=1, at=str(int((NOW - 600) * 1e9)), protocol=1, pid=1))
    pids: tuple[int, ...] = ()

    @property
    def gateway(self) -> Gateway:
        return Gateway(link=self.name, pid=self.pid, pids=self.pids)


class Links:
    """The open links."""

    def __init__(self, *links: Link) -> None:
        self.links = links

    def open_sessions(self) -> tuple[Link, ...]:
        return self.links


def sweep(session: Path, told: list[str], *links: Link, locks: LockTable | None = None) -> StaleLocks:
    table = locks or LockTable()
    return StaleLocks(Locked(session), table, Links(*links), find, lambda: int(NOW * 1e9), told.append)  # type: ignore[arg-type] # stand-ins


def test_each_reason_is_told_once_for_each_lock(session: Path) -> None:
    told: list[str] = []
    swept = sweep(session, told)
    lock(session, maxHoldMs=1)
    swept.sweep()
    swept.sweep()
    assert told == ["hold_exceeded"]
    session.with_name(session.name + ".lock").unlink()
    swept.sweep()
    lock(session, maxHoldMs=1)
    swept.sweep()
    assert told == ["hold_exceeded", "hold_exceeded"]


def test_the_oldest_lock_is_told_by_its_age(session: Path) -> None:
    swept = sweep(session, [])
    assert swept.held() == (0, 0.0)
    lock(session, age_seconds=301.0)
    count, age = swept.held()
    assert count == 1
    assert age == pytest.approx(301.0)


def test_nothing_is_concluded_from_a_process_that_is_not_linked(session: Path) -> None:
    told: list[str] = []
    lock(session)
    sweep(session, told).sweep()
    assert told == []


def test_a_gateway_that_gave_the_lock_back_has_left_it_behind(session: Path) -> None:
    told: list[str] = []
    locks = LockTable()
    swept = sweep(session, told, Link(os.getpid(), Role.GATEWAY), locks=locks)
    lock(session)
    locks.taken(taken(session))
    swept.sweep()
    assert told == []
    locks.released(released(session))
    swept.sweep()
    assert told == ["orphan_self_pid"]


def test_a_hold_is_found_though_a_link_leads_to_the_directory(session: Path, tmp_path: Path) -> None:
    """The preload reports a path with all links followed."""
    (tmp_path / "link").symlink_to(session.parent)
    told: list[str] = []
    locks = LockTable()
    locks.taken(taken(session))
    lock(session)
    sweep(tmp_path / "link" / session.name, told, Link(os.getpid(), Role.GATEWAY), locks=locks).sweep()
    assert told == []


@pytest.mark.parametrize("more", [{"lost": 1}, {"gaps": 1}])
def test_nothing_is_concluded_where_reports_may_be_missing(session: Path, more: dict[str, int]) -> None:
    told: list[str] = []
    lock(session)
    sweep(session, told, Link(os.getpid(), Role.GATEWAY, **more)).sweep()  # type: ignore[arg-type] # its keys are the fields
    assert told == []


def test_a_lock_from_before_the_link_may_be_held(session: Path) -> None:
    told: list[str] = []
    lock(session, touched_seconds=601.0)
    sweep(session, told, Link(os.getpid(), Role.GATEWAY)).sweep()
    assert told == []


def test_nothing_is_concluded_from_a_gateway_of_another_namespace_that_calls_itself_so(session: Path) -> None:
    told: list[str] = []
    lock(session)
    sweep(session, told, Link(os.getpid(), Role.GATEWAY, pids=(0, os.getpid()))).sweep()
    assert told == []


def test_a_cotenant_that_is_linked_may_hold_the_lock(session: Path) -> None:
    told: list[str] = []
    lock(session, pid=1)
    sweep(session, told, Link(1, Role.COTENANT)).sweep()
    assert told == []
    sweep(session, told).sweep()
    assert told == ["non_openclaw_owner"]

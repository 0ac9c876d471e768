"""What is said of processes without a link, where a lock file names one by its id in another pid namespace."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from sidecar.core import events as ev
from sidecar.core.facts.gateway import Gateway, Proof, Role
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.intake.files import FileIntake
from sidecar.intake.gateways import HIDDEN_SECONDS, KnownGateways
from sidecar.link.session import LinkSession
from sidecar.watch.identity import start_ticks, started
from sidecar.watch.lockfile import LockPayload
from sidecar.watch.namespaces import Namespaces, Sight
from sidecar.wire.messages import Hello
from sidecar.words import sentence
from tests.processes import waiting

NO_START = 1 << 40
"""Ticks of the clock at which no process was started."""


@dataclass
class Peer:
    pid: int


@dataclass
class Link:
    """What is looked at of a link."""

    peer: Peer
    hello: Hello
    role: Role = Role.GATEWAY
    adapter: None = None
    messages: int = 0
    gaps: int = 0
    lost: int = 0
    backlog_bytes: int = 0
    pids: tuple[int, ...] = ()
    started_at_ns: int = 0
    disobeyed: str = ""
    unverified: Reason | None = None
    proof: Proof | None = None

    @property
    def pid(self) -> int:
        return self.peer.pid or self.hello.pid

    @property
    def gateway(self) -> Gateway:
        return Gateway(
            f"link-{self.pid}",
            self.pid,
            started_at_ns=self.started_at_ns,
            pids=self.pids,
            unverified=self.unverified,
            proof=self.proof,
        )


@dataclass
class Room:
    """A sidecar's list of gateways, with a lock file's reader ahead of it."""

    links: list[Link] = field(default_factory=list)
    told: list[ev.LockFileSeen] = field(default_factory=list)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        namespaces = Namespaces()
        namespaces._all_seen = False  # as in a container
        self.known = KnownGateways(cast("Any", self), Path("/nowhere"), namespaces, lambda: self.seconds)
        self.intake = FileIntake(
            cast("Any", self),
            self.known,
            cast("Any", None),
            lambda: 1,
            lambda *_args: None,
            lambda *_args: None,
            lambda process: process,
        )

    def open_sessions(self) -> tuple[Link, ...]:
        return tuple(self.links)

    def handle(self, event: ev.LockFileSeen) -> None:
        self.told.append(event)

    def link(self, peer_pid: int, told_pid: int) -> Link:
        linked = Link(Peer(peer_pid), Hello(seq=1, at="1", protocol=1, pid=told_pid))
        self.links.append(linked)
        self.known.linked(cast("LinkSession", linked))
        return linked

    def lock(self, pid: int, start: int | None = None) -> list[ev.LockFileSeen]:
        """What is told of a lock file that names this process."""
        self.told.clear()
        self.intake.lock_seen(Path("/nowhere/s.jsonl"), LockPayload(pid, start))
        return list(self.told)

    def problems(self) -> list[str]:
        return [problem.code for problem in self.known.problems() if problem.code != "release_unknown"]


@pytest.fixture
def neighbour() -> Iterator[int]:
    """A process of our namespace."""
    with ExitStack() as stack:
        yield stack.enter_context(waiting("sh", "-c", "echo; read line"))


def test_a_gateway_without_the_preload_in_our_namespace_is_named(neighbour: int) -> None:
    room = Room()
    [told] = room.lock(neighbour, start_ticks(neighbour))
    assert (told.pid, told.hidden, Path(told.exe).samefile("/bin/sh")) == (neighbour, False, True)
    assert room.problems() == ["preload_missing"]


@pytest.mark.parametrize("start", [None, NO_START])
def test_nothing_is_concluded_from_an_id_of_a_namespace_that_can_not_be_seen(neighbour: int, start: int | None) -> None:
    """The same id means another process here."""
    room = Room()
    [told] = room.lock(neighbour, start)
    assert (told.pid, told.exe, told.hidden) == (neighbour, "", True)
    assert room.problems() == ["gateway_not_visible"]


def test_a_gateway_that_can_not_be_seen_is_known_by_its_own_word(neighbour: int) -> None:
    room = Room()
    linked = room.link(0, neighbour)
    assert linked.pids == (0, neighbour)
    assert linked.started_at_ns == 0, "when the process was started that has its id here, says nothing of it"
    assert room.lock(neighbour, NO_START) == []
    assert room.problems() == []
    [status] = room.known.gateways()
    assert (status.pid, status.own_pid, status.visible) == (neighbour, neighbour, False)


def test_a_gateway_that_is_seen_and_has_another_id_for_itself_is_known_by_that(neighbour: int) -> None:
    room = Room()
    linked = room.link(neighbour, 1)
    assert (linked.pids, linked.started_at_ns) == ((neighbour,), started(neighbour))
    linked.pids = (neighbour, 1)
    assert room.lock(1, start_ticks(neighbour)) == []
    [told] = room.lock(1, NO_START)
    assert (told.pid, told.exe, told.hidden) == (1, "", False), "that is another process, and it is gone"
    assert room.problems() == []


def test_one_that_was_not_seen_is_forgotten_when_it_links_and_after_a_while() -> None:
    room = Room()
    room.lock(7, NO_START)
    room.lock(8, NO_START)
    assert room.known.hidden() == (7, 8)
    room.link(0, 7)
    assert room.known.hidden() == (8,)
    room.seconds = HIDDEN_SECONDS + 1
    assert room.problems() == []


def test_who_is_not_there_is_gone_where_all_who_link_are_seen_and_not_where_one_is_not() -> None:
    room = Room()
    assert room.known.holder(999_999, NO_START).sight is Sight.HIDDEN
    room.link(os.getpid(), os.getpid())
    assert room.known.holder(999_999, NO_START).sight is Sight.GONE
    room.links.remove(room.link(0, 7))
    assert room.known.holder(999_999, NO_START).sight is Sight.HIDDEN, "its state directory is used from elsewhere"


def test_a_gateway_is_shown_with_what_it_is_believed_for(neighbour: int) -> None:
    room = Room()
    room.link(neighbour, neighbour).proof = Proof.PROCESS
    [shown] = room.known.gateways()
    assert (shown.verified, shown.proof, shown.doubt) == (True, "process", "")
    assert room.problems() == []


@pytest.mark.parametrize(
    ("why", "remedy"),
    [
        (Reason.of(ReasonCode.LINK_NOT_NODE, exe="/usr/bin/python3"), "unverified = true"),
        (Reason(ReasonCode.LINK_PINNED), "end the process that linked before it"),
    ],
)
def test_one_that_is_not_believed_is_a_problem_with_its_reason_and_a_remedy(
    neighbour: int, why: Reason, remedy: str
) -> None:
    room = Room()
    room.link(neighbour, neighbour).unverified = why
    [shown] = room.known.gateways()
    assert (shown.verified, shown.proof, shown.doubt_code) == (False, "", why.code.value)
    [problem] = [problem for problem in room.known.problems() if problem.code != "release_unknown"]
    assert problem.code == "unverified_link"
    assert f"process {neighbour} " in problem.what
    assert sentence(why) in problem.what
    assert remedy in problem.remedy


def test_one_of_many_links_that_is_not_believed_is_told(neighbour: int) -> None:
    room = Room()
    room.link(neighbour, neighbour).proof = Proof.PROCESS
    room.link(neighbour, neighbour).unverified = Reason(ReasonCode.LINK_PINNED)
    [shown] = room.known.gateways()
    assert (shown.threads, shown.verified) == (2, False)


def test_a_lock_of_one_that_is_not_believed_is_a_strangers(neighbour: int) -> None:
    room = Room()
    room.link(neighbour, neighbour).unverified = Reason(ReasonCode.LINK_PINNED)
    assert [told.pid for told in room.lock(neighbour, start_ticks(neighbour))] == [neighbour]
    assert room.problems() == ["unverified_link"]

"""Kernel evidence in the core: it makes a verdict stronger or refuses, and never stands for the bytes."""

from typing import Final

import pytest

from sidecar.core import events as ev
from sidecar.core.custody.kernel_log import LATE_NS, MAX_SEEN
from sidecar.core.decisions import Approve, Refuse
from sidecar.core.facts.gateway import Gateway
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.loss import Loss
from sidecar.core.facts.process import Act, Process
from sidecar.core.facts.value import replace
from sidecar.core.policy.glob import Glob
from sidecar.core.policy.policy import Policy, Unchanged
from sidecar.core.verdict.incident import Incident
from sidecar.core.verdict.judge import Verdict
from tests.core.kit import FILE, MISSING, Bench
from tests.core.kit import GATEWAY_PID as PID

GATEWAY: Final = Process(PID, 1_000, "/usr/bin/node")
EDITOR: Final = Process(4711, 2_000, "/usr/bin/vim", "/user.slice", "")
DIRECTORY: Final = FILE.rpartition("/")[0]


class Room(Bench):
    """A bench at which the kernel is listened to."""

    def __init__(self, *, policy: Policy | None = None) -> None:
        super().__init__(policy=policy)
        self.handle(ev.KernelListening(directory=DIRECTORY, at_ns=self.now()))
        self.pass_time(2 * LATE_NS)

    def heard(self) -> None:
        """The kernel's queue is empty."""
        self.handle(ev.KernelDrained(at_ns=self.now()))

    def saw(self, process: Process, act: Act = Act.WRITE) -> None:
        """The kernel names a process."""
        self.handle(ev.KernelAccess(file=FILE, process=process, act=act, at_ns=self.now()))

    def open_window(self) -> None:
        """A run sets its fence."""
        self.heard()
        self.fence()

    @property
    def last(self) -> Incident:
        return self.incident


def opened(*, policy: Policy | None = None) -> Room:
    """A room with a window."""
    room = Room(policy=policy)
    room.open_window()
    return room


def test_without_a_sighting_of_the_writer_the_grade_is_bytes() -> None:
    room = opened()
    room.cotenant(b"note\n")

    assert isinstance(room.ask(), Approve)
    assert room.last.grade is Grade.BYTES


def test_a_stranger_at_the_file_keeps_the_grade_at_bytes_though_every_byte_is_explained() -> None:
    for act in (Act.WRITE, Act.CLOSE):
        room = opened()
        room.cotenant(b"note\n")
        room.saw(GATEWAY)
        room.saw(EDITOR, act)

        assert isinstance(room.ask(), Approve)
        assert room.last.grade is Grade.BYTES


def test_a_policy_that_needs_the_kernel_refuses_what_it_does_not_vouch_for() -> None:
    room = opened(policy=Policy(needs=Grade.KERNEL))
    room.cotenant(b"note\n")
    assert isinstance(room.ask(), Refuse)

    room.saw(GATEWAY)
    assert isinstance(room.ask(), Approve)


def test_a_sighting_never_stands_for_the_bytes() -> None:
    room = opened()
    room.disk.append(b"who?\n", foreign=1)
    room.saw(GATEWAY)

    answer = room.ask()

    assert isinstance(answer, Refuse)
    assert room.last.verdict is Verdict.EXTERNAL


def test_with_custody_lost_a_stranger_that_wrote_makes_unexplained_bytes_external() -> None:
    room = opened()
    room.lose()
    room.disk.append(b"foreign\n", foreign=1)
    room.saw(EDITOR)

    assert isinstance(room.ask(), Refuse)
    assert (room.last.verdict, room.last.grade) == (Verdict.EXTERNAL, Grade.KERNEL)
    assert len(room.pages) == 1


@pytest.mark.parametrize(
    ("process", "act"), [(GATEWAY, Act.WRITE), (EDITOR, Act.METADATA), (EDITOR, Act.CLOSE), (Process(0), Act.WRITE)]
)
def test_with_custody_lost_nothing_less_proves_a_takeover(process: Process, act: Act) -> None:
    room = opened()
    room.lose()
    room.disk.append(b"somebody\n", foreign=1)
    room.saw(process, act)

    assert isinstance(room.ask(), Refuse)
    assert room.last.verdict is Verdict.UNATTRIBUTED


def test_what_was_seen_ahead_of_the_word_of_the_fence_proves_nothing_and_casts_doubt() -> None:
    room = Room()
    room.saw(EDITOR)
    room.open_window()
    room.cotenant(b"note\n")
    room.saw(GATEWAY)
    room.ask()
    assert room.last.grade is Grade.BYTES

    room = Room()
    room.saw(EDITOR)
    room.open_window()
    room.lose()
    room.disk.append(b"somebody\n", foreign=1)
    room.ask()
    assert room.last.verdict is Verdict.UNATTRIBUTED


def test_what_was_seen_long_before_the_fence_is_of_the_past() -> None:
    room = Room()
    room.saw(EDITOR)
    room.pass_time(2 * LATE_NS)
    room.open_window()
    room.cotenant(b"note\n")
    room.saw(GATEWAY)
    room.ask()

    assert room.last.grade is Grade.KERNEL


def test_after_lost_sightings_the_grade_is_bytes_until_the_next_fence() -> None:
    room = opened()
    room.cotenant(b"note\n")
    room.saw(GATEWAY)
    room.handle(ev.KernelOverflowed(at_ns=room.now()))
    approval = room.ask()
    assert isinstance(approval, Approve)
    assert room.last.grade is Grade.BYTES

    room.pass_time(2 * LATE_NS)
    room.heard()
    room.apply(approval)
    room.cotenant(b"more\n")
    room.saw(GATEWAY)
    room.ask()
    assert room.last.grade is Grade.BYTES  # of the window, the gravest and first one stays


def test_a_process_of_the_gateways_id_that_was_started_at_another_time_is_a_stranger() -> None:
    room = opened()
    room.lose()
    room.disk.append(b"foreign\n", foreign=1)
    room.handle(ev.LinkOpened(gateway=_started(room, 1_000), at_ns=room.now()))
    room.saw(Process(PID, 5_000, "/usr/bin/cat"))
    room.ask()

    assert room.last.verdict is Verdict.EXTERNAL


def test_a_linked_process_that_has_ended_is_no_stranger() -> None:
    room = Room()
    other = _started(room, 7_000, link="link-9", pid=99)
    room.handle(ev.LinkOpened(gateway=other, at_ns=room.now()))
    room.open_window()
    room.lose()
    room.disk.append(b"its last words\n", foreign=1)
    room.saw(Process(99, 7_000))
    room.handle(ev.LinkLost(link="link-9", clean=True, at_ns=room.now()))
    room.ask()

    assert room.last.verdict is Verdict.UNATTRIBUTED


def test_more_strangers_than_are_remembered_leave_nothing_to_conclude_from() -> None:
    room = opened()
    for number in range(MAX_SEEN + 1):
        room.saw(Process(10_000 + number, 1), Act.METADATA)
    room.cotenant(b"note\n")
    room.saw(GATEWAY)
    room.ask()

    assert room.last.grade is Grade.BYTES


def test_a_policy_about_changes_without_bytes_asks_the_kernel_who_made_them() -> None:
    only = Policy(unchanged=Unchanged(executables=(Glob("/usr/bin/rsync"),)))
    for exe, answer in (("/usr/bin/rsync", Approve), ("/usr/bin/touch", Refuse)):
        room = opened(policy=only)
        room.disk.touch()
        room.saw(Process(4711, 2_000, exe), Act.METADATA)
        assert isinstance(room.ask(), answer)
        assert room.last.verdict is Verdict.UNCHANGED
    room = opened(policy=only)
    room.disk.touch()
    assert isinstance(room.ask(), Refuse)  # nobody was seen


def grades(room: Room) -> list[Grade]:
    """Of the ranges with a writer."""
    found = room.engine.files.chain(FILE, room.disk.snapshot, room.now())
    return [r.grade for r in found.ranges if r.writer is not None]


def test_a_range_that_the_kernel_saw_being_written_is_of_grade_kernel_from_the_first_look_on() -> None:
    room = opened()
    room.cotenant(b"note\n")
    room.saw(GATEWAY)
    room.heard()

    assert grades(room) == [Grade.KERNEL]  # not settled yet
    room.fence()
    assert grades(room) == [Grade.KERNEL]
    room.pass_time(2 * LATE_NS)
    room.heard()
    room.fence()
    room.cotenant(b"unseen\n")
    room.fence()
    assert grades(room) == [Grade.KERNEL, Grade.BYTES]


def test_a_range_beside_a_stranger_or_a_byte_that_nobody_reported_or_lost_sightings_is_of_grade_bytes() -> None:
    for what in ("a stranger", "an unexplained byte", "lost sightings", "lost reports"):
        room = opened()
        room.cotenant(b"note\n")
        room.saw(GATEWAY)
        match what:
            case "a stranger":
                room.saw(EDITOR)
            case "an unexplained byte":
                room.disk.append(b"who knows\n", foreign=1)
            case "lost sightings":
                room.handle(ev.KernelOverflowed(at_ns=room.now()))
            case _:
                room.lose(MISSING, Loss.GAP)
        room.heard()
        assert grades(room) in ([Grade.BYTES], []), what
        room.fence()
        room.read()
        assert grades(room) in ([Grade.BYTES], []), what


def _started(room: Room, started_at_ns: int, *, link: str = "", pid: int = PID) -> Gateway:
    (known,) = room.engine.gateways
    return replace(known, link=link or known.link, pid=pid, started_at_ns=started_at_ns)

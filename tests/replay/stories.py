"""Windows with the shape of what operators have reported upstream, played on a model disk through the real core.

`python -m tests.replay.stories` writes each as an exported incident beside this file. The bytes are invented, and only
their digests are kept.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sidecar.core import events as ev
from sidecar.core.change import Operation
from sidecar.core.decisions import Approve, CheckLineage, Decision, KeepRecording
from sidecar.core.gateway import Run
from sidecar.core.loss import Loss
from sidecar.core.policy import Mode
from sidecar.core.recorder import Recorder
from sidecar.core.writer import Writer, WriterKind
from sidecar.store.recordings import exported
from tests.core.kit import (
    CHANNEL,
    CRON,
    FILE,
    GATEWAY_PID,
    HEARTBEAT,
    OTHER_LINK,
    OTHER_RUN,
    OWN,
    RUN,
    WINDOW,
    Bench,
    Disk,
    gateway,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE: Final = Path(__file__).parent

NOTE: Final = b'{"type":"message","id":"n1","parentId":"m1","message":{"role":"assistant"}}\n'
REPLY: Final = b'{"type":"message","id":"r1","parentId":"n1","message":{"role":"assistant"}}\n'
ASKED: Final = b'{"type":"message","id":"u1","parentId":"r1","message":{"role":"user"}}\n'
LABEL: Final = b'{"type":"label","id":"l1","parentId":"m1","targetId":"m1"}\n'
HISTORY: Final = b'{"type":"session","id":"s"}\n' + b"".join(
    b'{"type":"message","id":"m%d","parentId":"m%d"}\n' % (n, n - 1) for n in range(2, 200)
)

MIRROR: Final = Writer(WriterKind.MIRROR, "telegram", GATEWAY_PID)
COMPACTION: Final = Writer(WriterKind.COMPACTION, "", GATEWAY_PID)
MAINTENANCE: Final = Writer(WriterKind.MAINTENANCE, "", GATEWAY_PID)
SENT: Final = Writer(WriterKind.SESSIONS_SEND, "", GATEWAY_PID, "run-9")
CLI: Final = Writer(WriterKind.CLI, "", 200, "run-8")
PLUGIN: Final = Writer(WriterKind.UNKNOWN, "plugin", GATEWAY_PID)


class Taped(Bench):
    """A bench whose windows are recorded."""

    def __init__(self, *, mode: Mode = Mode.RECOVER, can_reload: bool = True) -> None:
        self.kept: list[KeepRecording] = []
        self._recorder: Recorder | None = None
        super().__init__(mode=mode, can_reload=can_reload, disk=Disk(HISTORY))

    def tell(self, event: ev.Event) -> list[Decision]:
        """By way of the recorder, which sees everything from the first link on."""
        if self._recorder is None:
            self._recorder = Recorder(self.custodian)
        made = self._recorder.handle(event)
        self.kept += [d for d in made if isinstance(d, KeepRecording)]
        return [d for d in made if not isinstance(d, KeepRecording)]

    def recovers(self) -> None:
        """The run asks, is told to go on, goes on, and its history is one line."""
        answer = self.ask()
        assert isinstance(answer, Approve), answer
        self.apply(answer, "n1")
        self.goes_on()

    def recovers_pushed(self) -> None:
        """The step was approved ahead of the check."""
        self.look()
        self.apply(self.approvals[-1], "n1")
        self.goes_on()

    def goes_on(self) -> None:
        """The run writes its answer and ends."""
        self.write(OWN, REPLY)
        self.fence()
        self.ends()

    def ends(self, *missing: str) -> None:
        """The window is over; what the history lacks is found."""
        checks = [d for d in self.close() if isinstance(d, CheckLineage)]
        for check in checks:
            self.handle(ev.LineageChecked(window=check.window, missing=missing, at_ns=self.now()))

    def is_lost(self) -> None:
        """The gateway's own fence stops the turn."""
        self.trip()
        self.close(takeover=True)

    def is_refused(self) -> None:
        """The run asks, is told no, and stops."""
        self.ask()
        self.is_lost()


@dataclass(frozen=True)
class Story:
    """One case."""

    name: str
    about: str
    play: Callable[[], Taped]


_STORIES: Final[list[Story]] = []


def story(about: str) -> Callable[[Callable[[], Taped]], Callable[[], Taped]]:
    """A function that plays a window; its name is that of the file."""

    def add(play: Callable[[], Taped]) -> Callable[[], Taped]:
        _STORIES.append(Story(play.__name__, about, play))
        return play

    return add


def fenced(*, mode: Mode = Mode.RECOVER, can_reload: bool = True, run: Run = RUN) -> Taped:
    """A run waits for its model."""
    bench = Taped(mode=mode, can_reload=can_reload)
    bench.fence(run=run)
    return bench


@story("#84071 #118122: a channel delivers into the session while another run waits for its model")
def channel_in_a_shared_session() -> Taped:
    bench = fenced()
    bench.cotenant(NOTE, CHANNEL)
    bench.recovers_pushed()
    return bench


@story("#84059 (68 in a day): a heartbeat writes into the session of a user's turn, several times in one window")
def heartbeats_in_one_window() -> Taped:
    bench = fenced()
    for n in range(3):
        bench.cotenant(b'{"type":"message","id":"h%d"}\n' % n, HEARTBEAT)
        bench.look()
    bench.recovers_pushed()
    return bench


@story("#84583 #85592 #86845 #87417: a cron job announces into the session that a turn has fenced")
def cron_announce() -> Taped:
    bench = fenced()
    bench.cotenant(NOTE, CRON)
    bench.recovers()
    return bench


@story("#84583, the other way round: the fenced run is the cron job, and a channel writes")
def cron_run_is_fenced() -> Taped:
    bench = fenced(run=Run(run_id=CRON.run_id, kind="cron", name="daily-digest", session=RUN.session))
    bench.cotenant(NOTE, CHANNEL)
    answer = bench.ask(run=Run(run_id=CRON.run_id, kind="cron", session=RUN.session))
    assert isinstance(answer, Approve), answer
    bench.apply(answer, "n1", moves=False)
    bench.ends()
    return bench


@story("#85306 #86370 #86572 #95228: a long turn appends past its own fence")
def own_write_of_a_long_turn() -> Taped:
    bench = fenced(can_reload=False)
    bench.write(OWN, REPLY)
    bench.write(OWN, ASKED)
    bench.recovers()
    return bench


@story("#90729 #95672: compaction rewrites the session under a fence; the release can make the run read it again")
def compaction_with_a_reload() -> Taped:
    bench = fenced()
    bench.rewrite(COMPACTION, HISTORY[:400] + b"\n")
    bench.recovers()
    return bench


@story("#90729 on a release that can't make the run read the session again: the turn is better stopped")
def compaction_without_a_reload() -> Taped:
    bench = fenced(can_reload=False)
    bench.rewrite(COMPACTION, HISTORY[:400] + b"\n")
    bench.is_refused()
    return bench


@story("#90307 #88703: a delivery mirror is appended while the turn waits")
def delivery_mirror() -> Taped:
    bench = fenced(can_reload=False)
    bench.cotenant(NOTE, MIRROR)
    bench.recovers_pushed()
    return bench


@story("#93193: a label record, no message, is appended")
def metadata_record() -> Taped:
    bench = fenced(can_reload=False)
    bench.cotenant(LABEL, MAINTENANCE)
    bench.recovers()
    return bench


@story("#105410: sessions_send of another agent appends to the session")
def sessions_send() -> Taped:
    bench = fenced()
    bench.cotenant(ASKED, SENT)
    bench.recovers_pushed()
    return bench


@story("#118408: the CLI appends from a process of its own, which has a link, too")
def cli_in_its_own_process() -> Taped:
    bench = fenced()
    bench.handle(ev.LinkOpened(gateway=gateway(OTHER_LINK, 200), at_ns=bench.now()))
    bench.write(CLI, ASKED, link=OTHER_LINK)
    bench.recovers()
    return bench


@story("#84204 #102849: a plugin inside the gateway writes; nobody knows its kind, yet its bytes are reported")
def plugin_write() -> Taped:
    bench = fenced()
    bench.write(PLUGIN, NOTE)
    bench.recovers()
    return bench


@story("#86508 (194 in a day): Google Drive makes and removes hard links; only ctime moves")
def hard_links() -> Taped:
    bench = fenced(can_reload=False)
    for _ in range(4):
        bench.disk.touch()
    bench.recovers_pushed()
    return bench


@story("#92109: Btrfs moves ctime by itself, again and again")
def ctime_drift() -> Taped:
    bench = fenced(can_reload=False)
    bench.disk.touch()
    answer = bench.ask()
    assert isinstance(answer, Approve), answer
    bench.apply(answer)
    bench.disk.touch()
    bench.recovers()
    return bench


@story("#113446: an SMB share gives the same file another inode")
def inode_of_a_share() -> Taped:
    bench = fenced()
    bench.disk.rename_copy()
    bench.recovers()
    return bench


@story("#86801 #113019: the lock is held by a live process without the preload, and here it also writes")
def lock_held_by_a_stranger() -> Taped:
    bench = fenced()
    bench.handle(ev.LockFileSeen(file=FILE, pid=4242, exe="/opt/tools/sync", at_ns=bench.now()))
    bench.disk.append(NOTE, foreign=1)
    bench.look()
    bench.is_refused()
    return bench


@story("#85913 (122 log lines were 62 events): the gateway tells of one lost turn twice")
def one_trip_told_twice() -> Taped:
    bench = fenced(mode=Mode.OBSERVE)
    bench.cotenant(NOTE, HEARTBEAT)
    bench.look()
    bench.trip()
    bench.is_lost()
    return bench


@story("#91141: the user's message is gone from the conversation after a recovery that forked the history")
def message_off_the_path() -> Taped:
    bench = fenced(can_reload=False)
    bench.cotenant(ASKED, CHANNEL)
    answer = bench.ask()
    assert isinstance(answer, Approve), answer
    bench.apply(answer, "u1")
    bench.write(OWN, REPLY)
    bench.fence()
    bench.ends("u1")
    return bench


@story("#85205 #86584: what an unconditional refresh would hide: a stranger's record beside a co-tenant's")
def takeover_beside_a_cotenant() -> Taped:
    bench = fenced()
    bench.cotenant(NOTE, CRON)
    bench.disk.append(ASKED, foreign=1)
    bench.write(CHANNEL, REPLY)
    bench.look()
    bench.is_refused()
    return bench


@story("#86508, with a conflict: the sync tool puts an older copy in the place of the session")
def older_copy_put_back() -> Taped:
    bench = fenced()
    bench.cotenant(NOTE, CRON)
    bench.disk.replace(HISTORY)
    bench.is_refused()
    return bench


@story("#109437: many writers at once, and the kernel's queue overflows within the window")
def events_lost_in_the_window() -> Taped:
    bench = fenced()
    bench.cotenant(NOTE, CHANNEL)
    bench.lose("the kernel's event queue was full", Loss.OVERFLOW)
    bench.cotenant(REPLY, CRON)
    bench.is_refused()
    return bench


@story("#85913, seen by a sidecar that was started within the window")
def sidecar_started_in_the_window() -> Taped:
    bench = Taped()
    fence = bench.disk.fingerprint
    bench.cotenant(NOTE, HEARTBEAT)
    bench.ask(fence=fence)
    bench.trip()
    bench.close(takeover=True)
    return bench


@story("#113019 and #86801: a live process holds the lock for longer than the run waits; it is a co-tenant's")
def lock_held_too_long_by_a_cotenant() -> Taped:
    bench = Taped()
    bench.take_lock(CRON)
    bench.fence()
    bench.write(CRON, NOTE)
    bench.time_out()
    bench.release_lock(CRON)
    bench.wait_ended(had=True)
    bench.recovers()
    return bench


@story("two runs on one session, as in #84071: each window has an incident of its own")
def two_runs_fenced_at_once() -> Taped:
    bench = fenced()
    bench.fence(window="100.1700000000.2", run=OTHER_RUN)
    bench.cotenant(NOTE, CHANNEL)
    bench.look()
    bench.close(window="100.1700000000.2")
    bench.recovers()
    return bench


@story("#84046: an append of the run's own comes to no check; here a stranger wrote just before it")
def taken_in_by_the_next_fence() -> Taped:
    bench = fenced()
    bench.disk.append(NOTE, foreign=1)
    bench.write(OWN, REPLY)
    bench.fence()
    bench.look()
    bench.ends()
    return bench


@story("a write that is under way when the gateway asks, and a file that is cut and grown again to the same bytes")
def cut_and_grown_again() -> Taped:
    bench = fenced()
    data = bench.disk.data
    bench.disk.truncate(100)
    bench.disk.replace(data)
    change = bench.begin(Operation.APPEND, CRON, NOTE)
    bench.disk.append(NOTE)
    bench.end(change)
    bench.recovers()
    return bench


def written() -> Iterator[tuple[str, dict[str, Any]]]:
    """The name and the body of each case."""
    for case in _STORIES:
        kept = [k for k in case.play().kept if k.incident.controller == WINDOW]
        body = exported(kept[-1].incident, kept[-1].recording)
        yield case.name, {**body, "about": f"Upstream {case.about}."}


def text_of(body: dict[str, Any]) -> str:
    """As it is in the file."""
    return json.dumps(body, indent=1) + "\n"


if __name__ == "__main__":
    for name, found in written():
        (HERE / f"{name}.json").write_text(text_of(found), encoding="utf-8")

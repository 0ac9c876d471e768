"""Any interleaving of runs, co-tenants, strangers, lost events, restarts and looks, against the real engine.

A model knows who wrote each byte and what the known writers alone would have left. Two custodians hear the same events;
only the first is ever shown the file between questions, so that the second tells whether that makes a difference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sidecar.core import events as ev
from sidecar.core.decisions import Approve, CheckLineage, Decision, ReadFile, Refuse, SaveIncident
from sidecar.core.engine import Engine
from sidecar.core.facts.change import Change, Operation
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.gateway import Run
from sidecar.core.facts.loss import Loss
from sidecar.core.facts.value import replace
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.policy.policy import Mode
from sidecar.core.verdict.incident import Incident, Outcome, Subject
from sidecar.core.verdict.judge import Verdict
from tests.core.kit import (
    CHANNEL,
    CRON,
    FILE,
    HEARTBEAT,
    LINK,
    MISSING,
    OTHER_LINK,
    Disk,
    applied,
    asked,
    digest,
    fence_set,
    gateway,
    naming,
    tripped,
)

MAX_WINDOWS: Final = 2
MAX_CALLS: Final = 2
OTHERS: Final = (CRON, CHANNEL, HEARTBEAT)
DECLARED: Final = Writer(WriterKind.DECLARED, "backup", 200, token=True)


@dataclass
class Fence:
    """What is true of a window since its fence was set last.

    Attributes:
        window: Its id.
        run: Whose it is.
        at: The fingerprint that the run recorded.
        since: The time of it.
        ghost: What the known writers alone would have made of the file since.
        exists: Whether they would have left one.
        known: The engine heard of it with no call under way, and nothing was lost since.
        unsettled: Reports alone do not settle the file: a cut or a write in the middle, a call that overlaps another.
        replaced: A known writer replaced old bytes.
        disturbed: Somebody unknown changed the inode or the times, or reports of another process came in between.
        overlapped: A call took its time, so that there may be no one order of all calls.
        gone: There was no file for a while.
        intruded: Somebody unknown changed bytes; true for the rest of the window.
        caught: A look has proven it; true for the rest of the window.
        pushed: The step that was approved ahead of a question.
        acts: What known writers did since: the operation, who, the size of the file ahead of it, the bytes.
    """

    window: str
    run: Run
    at: Fingerprint
    since: int
    ghost: bytes
    exists: bool
    known: bool
    unsettled: bool = False
    replaced: bool = False
    disturbed: bool = False
    overlapped: bool = False
    gone: bool = False
    intruded: bool = False
    caught: bool = False
    pushed: Approve | None = None
    acts: list[tuple[Operation, Writer, int, bytes]] = field(default_factory=list)

    @property
    def placed(self) -> bool:
        """Late reports can be told to come from before the fence or after it. One absent file is like the other."""
        return not (self.gone and self.disturbed)

    @property
    def writer(self) -> Writer:
        """The run as a writer."""
        return Writer(WriterKind.USER_TURN, "", 100, self.run.run_id)


@dataclass
class Call:
    """A write that takes its time."""

    change: Change
    data: bytes
    landed: int = 0


@dataclass
class Checks:
    """What came of an event."""

    decisions: list[Decision] = field(default_factory=list)

    @property
    def answer(self) -> Approve | Refuse:
        (answer,) = [d for d in self.decisions if isinstance(d, Refuse) or (isinstance(d, Approve) and d.ask)]
        return answer


class Sidecar:
    """One engine, and the part of the shells that it needs."""

    def __init__(self, disk: Disk, *, can_reload: bool) -> None:
        self.disk = disk
        self.engine = Engine(naming("backup"), Mode.RECOVER)
        self.incidents: dict[str, Incident] = {}
        self.pages: list[tuple[Incident, Subject]] = []
        self.approvals: list[Approve] = []
        for link, pid in ((LINK, 100), (OTHER_LINK, 200)):
            self.tell(ev.LinkOpened(gateway=gateway(link, pid, can_reload=can_reload), at_ns=disk.clock))

    def tell(self, event: ev.Event) -> Checks:
        answers = Checks()
        saved: dict[str, Incident] = {}
        for decision in self.engine.handle(event):
            answers.decisions.append(decision)
            match decision:
                case ReadFile(settle=False):
                    answers.decisions += self.look(settled=False).decisions
                case SaveIncident(incident=incident):
                    assert incident.window not in saved, "an incident is saved once for each event"
                    saved[incident.window] = incident
                    known = self.incidents.get(incident.incident_id)
                    told = known.paged_for if known is not None else ()
                    assert incident.paged_for[: len(told)] == told, "a page that is due stays due"
                    self.pages += [(incident, about) for about in incident.paged_for[len(told) :]]
                    self.incidents[incident.incident_id] = incident
                case Approve():
                    assert saved[decision.window].recovery.outcome is Outcome.APPROVED, "rule 6: intent comes first"
                    self.approvals.append(decision)
                case CheckLineage():
                    self.tell(ev.LineageChecked(window=decision.window, missing=(), at_ns=self.disk.clock))
                case _:
                    pass
        return answers

    def look(self, *, settled: bool = True) -> Checks:
        snapshot, at_ns = self.disk.snapshot, self.disk.clock
        return self.tell(ev.SnapshotTaken(file=FILE, snapshot=snapshot, at_ns=at_ns, settled=settled))


class Sessions(RuleBasedStateMachine):
    """A gateway with two links, its sidecar, and everybody else."""

    @initialize(can_reload=st.booleans(), empty=st.booleans())
    def begin(self, *, can_reload: bool, empty: bool) -> None:
        self.disk = Disk(b"") if empty else Disk()
        self.can_reload = can_reload
        self.number = 0
        self.fences: dict[str, Fence] = {}
        self.under_way: list[Call] = []
        self.late: list[Change] = []
        self.mapped = False
        self.strangers = False
        """Somebody unknown has changed bytes, ever."""
        self.start()
        self.open_window()

    def start(self) -> None:
        self.sidecar = Sidecar(self.disk, can_reload=self.can_reload)
        self.blind = Sidecar(self.disk, can_reload=self.can_reload)

    def tell(self, event: ev.Event) -> None:
        self.blind.tell(event)
        self.take_pushes(self.sidecar.tell(event))

    def next(self) -> int:
        self.number += 1
        return self.number

    def record(self, letter: str) -> bytes:
        """A record that was never written before: known writers use small letters, others capitals."""
        return f"{letter}{self.next()}\n".encode()

    # What the gateway and its co-tenants do.

    def change(self, operation: Operation, writer: Writer, data: bytes = b"", *, link: str = LINK) -> Change:
        """A report of a call that is about to be made."""
        number = self.next()
        for fence in self.fences.values():
            fence.acts.append((operation, writer, len(self.disk.data), data))
        return Change(
            change_id=f"c{number}",
            operation=operation,
            writer=writer,
            at_ns=self.disk.clock,
            length=len(data),
            sha256=digest(data) if data else "",
            offset=len(self.disk.data),
            before=self.disk.fingerprint,
            link=link,
            began=number,
            ended=number,
        )

    def report(self, change: Change) -> None:
        self.tell(ev.FileChanged(file=FILE, change=replace(change, after=self.disk.fingerprint)))

    def grow(self, data: bytes) -> None:
        """A known writer's bytes reach the end of the file."""
        self.disk.append(data)
        for fence in self.fences.values():
            fence.ghost += data
            fence.exists = True

    def replaced(self, ghosts: Callable[[bytes], bytes], *, exists: bool = True, unsettled: bool = False) -> None:
        """A known writer did away with old bytes."""
        for fence in self.fences.values():
            fence.ghost = ghosts(fence.ghost)
            fence.exists = exists
            fence.gone = fence.gone or not exists
            fence.replaced = True
            fence.unsettled = fence.unsettled or unsettled or bool(self.under_way)

    def append(self, writer: Writer, *, link: str = LINK) -> Change:
        data = self.record("k")
        change = self.change(Operation.APPEND, writer, data, link=link)
        self.grow(data)
        return replace(change, after=self.disk.fingerprint)

    def rewrite(self, writer: Writer, _size: int) -> Change:
        data = self.record("k")
        change = self.change(Operation.REWRITE, writer, data)
        self.disk.replace(data)
        self.replaced(lambda _ghost: data)
        return change

    def rewrite_what_is_there(self, writer: Writer, _size: int) -> Change:
        """The whole file, as it was read, foreign bytes and all."""
        change = self.change(Operation.REWRITE, writer, self.disk.data)
        self.disk.replace(self.disk.data, self.disk.foreign)
        self.replaced(lambda ghost: ghost)
        return change

    def truncate(self, writer: Writer, size: int) -> Change:
        change = replace(self.change(Operation.TRUNCATE, writer), length=size)
        unsettled = 0 < size < len(self.disk.data)
        self.disk.truncate(size)
        self.replaced(lambda ghost: ghost[:size], unsettled=unsettled)
        return change

    def write_at(self, writer: Writer, offset: int) -> Change:
        data = self.record("k")
        change = replace(self.change(Operation.WRITE, writer, data), offset=offset)
        self.disk.overwrite(offset, data)
        for fence in self.fences.values():
            fence.ghost = fence.ghost[:offset] + data + fence.ghost[offset + len(data) :]
            fence.exists = fence.unsettled = True
        return change

    def remove(self, writer: Writer, _size: int) -> Change:
        change = self.change(Operation.REMOVE, writer)
        self.disk.remove()
        self.replaced(lambda _ghost: b"", exists=False)
        return change

    def metadata(self, writer: Writer, _size: int) -> Change:
        change = self.change(Operation.METADATA, writer)
        self.disk.touch()
        return change

    def write_nothing(self, writer: Writer, _size: int) -> Change:
        change = self.change(Operation.APPEND, writer)
        self.disk.touch()
        return change

    @rule(writer=st.sampled_from(OTHERS), times=st.integers(1, 3))
    def cotenant(self, writer: Writer, times: int) -> None:
        """Under the lock."""
        self.tell(ev.LockTaken(file=FILE, hold="h", writer=writer, wait_ns=0, at_ns=self.disk.clock))
        for _ in range(times):
            self.report(self.append(writer))
        after = self.disk.fingerprint
        self.tell(ev.LockReleased(file=FILE, hold="h", writer=writer, after=after, held_ns=0, at_ns=self.disk.clock))

    def one_cotenant(self) -> None:
        self.cotenant(CRON, 1)

    def cron_copies(self) -> None:
        """Reads the file and writes all of it anew."""
        self.report(self.rewrite_what_is_there(CRON, 0))

    @precondition(lambda self: self.disk.exists)
    @rule(
        act=st.sampled_from(
            (rewrite, rewrite_what_is_there, truncate, write_at, write_at, remove, metadata, write_nothing)
        ),
        writer=st.sampled_from(OTHERS),
        share=st.sampled_from((0, 1, 2)),
        data=st.data(),
    )
    def other_known_act(
        self, act: Callable[[Sessions, Writer, int], Change], writer: Writer, share: int, data: st.DataObject
    ) -> None:
        """By a co-tenant, or by a run that does not care for the lock."""
        own = data.draw(st.booleans(), label="own")
        change = act(self, self.some(data).writer if own and self.fences else writer, len(self.disk.data) * share // 2)
        self.report(change)

    @rule(step=st.sampled_from(("begin", "piece", "whole", "end")), last=st.booleans())
    def slow_call(self, step: str, *, last: bool) -> None:
        """A write that is announced, and reaches the file later, whole or in pieces."""
        if step == "begin" or not self.under_way:
            if len(self.under_way) < MAX_CALLS:
                self.call_begins()
            return
        call = self.under_way[-1 if last else 0]
        if step == "piece":
            self.call_lands(call, call.data[call.landed :][:1])
            return
        self.call_lands(call, call.data[call.landed :])
        if step == "end":
            self.under_way.remove(call)
            done = call.change.finish(
                ended=self.next(), length=len(call.data), sha256=digest(call.data), after=self.disk.fingerprint
            )
            self.tell(ev.FileChanged(file=FILE, change=done))

    def call_begins(self) -> None:
        data = self.record("k")
        call = Call(replace(self.change(Operation.APPEND, HEARTBEAT, data), ended=None), data)
        self.under_way.append(call)
        for fence in self.fences.values():
            fence.overlapped = True
            fence.unsettled = fence.unsettled or fence.replaced
        self.tell(ev.FileChanged(file=FILE, change=call.change))

    def call_lands(self, call: Call, piece: bytes) -> None:
        """What comes between the pieces of a write, if it is in pieces, can't be placed."""
        if not piece:
            return
        for fence in self.fences.values():
            fence.unsettled = fence.unsettled or piece != call.data
        call.landed += len(piece)
        self.grow(piece)

    # Another process, whose reports take their time.

    def other_process(self) -> None:
        """Another gateway, or a declared writer."""
        writer = DECLARED if self.number % 2 else CHANNEL
        self.late.append(self.append(writer, link=OTHER_LINK))
        self.disturb()

    def hear_everybody(self) -> None:
        """Every link says what it has done: always so before a look and before an answer."""
        while self.late:
            self.tell(ev.FileChanged(file=FILE, change=self.late.pop(0)))

    # Strangers.

    def foreign_append(self) -> None:
        self.disk.append(self.record("F"), foreign=self.next())
        self.intrude()

    def foreign_overwrite(self) -> None:
        middle = len(self.disk.data) // 2
        byte = b"G" if self.disk.data[middle : middle + 1] == b"F" else b"F"
        self.disk.overwrite(middle, byte, foreign=self.next())
        self.intrude()

    def foreign_cut(self) -> None:
        self.disk.truncate(len(self.disk.data) // 2)
        self.intrude()

    def foreign_removal(self) -> None:
        self.disk.remove()
        self.intrude()
        for fence in self.fences.values():
            fence.gone = True

    def foreign_and_back(self) -> None:
        """Bytes are taken away, and put back as they were."""
        data, taint = self.disk.data, self.disk.foreign
        self.disk.truncate(1)
        self.disk.replace(data, taint)
        self.disturb()

    def foreign_touch(self) -> None:
        self.disk.touch()
        self.disturb()

    def foreign_hard_link(self) -> None:
        """Made and removed: ctime moves twice, and nothing else."""
        self.disk.touch()
        self.disk.touch()
        self.disturb()

    def foreign_mapped_write(self) -> None:
        """Bytes change under a mapping; the fingerprint does not, until somebody else moves it."""
        middle = len(self.disk.data) // 2
        clock = self.disk.clock
        byte = b"G" if self.disk.data[middle : middle + 1] == b"F" else b"F"
        self.disk.overwrite(middle, byte, foreign=self.next())
        self.disk.clock = clock
        self.mapped = True
        self.intrude()

    def foreign_rename_of_a_copy(self) -> None:
        self.disk.rename_copy()
        self.disturb()

    def intrude(self) -> None:
        for fence in self.fences.values():
            fence.intruded = True
            self.strangers = True

    def disturb(self) -> None:
        for fence in self.fences.values():
            fence.disturbed = True

    @precondition(lambda self: self.disk.data)
    @rule(
        act=st.sampled_from(
            (
                foreign_touch,
                foreign_rename_of_a_copy,
                foreign_hard_link,
                foreign_and_back,
                foreign_mapped_write,
                foreign_append,
                foreign_overwrite,
                foreign_cut,
                foreign_removal,
            )
        )
    )
    def stranger(self, act: Callable[[Sessions], None]) -> None:
        act(self)

    @rule(times=st.integers(1, 2))
    def somebody_else(self, times: int) -> None:
        for _ in range(times):
            self.other_process()

    # Trouble of the sidecar's own.

    @rule(kind=st.sampled_from(("lost", "lost with a write", "restart")))
    def trouble(self, kind: str) -> None:
        if kind == "restart":
            self.restart()
            return
        if kind == "lost with a write":
            self.grow(self.record("k"))
        self.tell(ev.AccountBroken(loss=Loss.GAP, reason=MISSING, at_ns=self.disk.clock))
        for fence in self.fences.values():
            fence.known = False

    def restart(self) -> None:
        """Killed and started again: every fence before it is unheard of, and what was pushed is forgotten.

        Calls under way are announced again.
        """
        self.late.clear()
        self.start()
        for fence in self.fences.values():
            fence.known = False
            fence.caught = False
            fence.pushed = None
        for call in self.under_way:
            self.tell(ev.FileChanged(file=FILE, change=call.change))

    # Runs.

    def set_fence(self, fence: Fence) -> None:
        fence.at = self.disk.fingerprint
        fence.since = self.next()
        fence.ghost, fence.exists = self.disk.data, self.disk.exists
        fence.known = not self.under_way
        fence.unsettled = fence.replaced = False
        fence.acts = []
        fence.overlapped = bool(self.under_way)
        fence.disturbed = bool(self.late)
        fence.gone = not self.disk.exists
        fence.pushed = None
        # Bytes under a mapping change unseen, also ahead of a fence.
        fence.intruded = fence.intruded or self.mapped
        self.strangers = self.strangers or self.mapped
        self.fences[fence.window] = fence
        self.tell(fence_set(fence.at, self.disk.clock, window=fence.window, run=fence.run))

    def look(self) -> None:
        """The file is read at any moment, once everybody was heard. The second engine is not shown."""
        self.hear_everybody()
        answers = self.sidecar.look()
        accused = {i.window for i in self.sidecar.incidents.values() if i.verdict is Verdict.EXTERNAL}
        for fence in self.fences.values():
            fence.caught = fence.window in accused
            assert fence.caught or not self.must_be_caught(fence)
        self.take_pushes(answers)

    @rule()
    def somebody_looks(self) -> None:
        self.look()

    def open_window(self) -> None:
        number = self.next()
        run = Run(run_id=f"run-{number}")
        self.set_fence(Fence(f"w{number}", run, self.disk.fingerprint, 0, b"", exists=True, known=True))

    @precondition(lambda self: len(self.fences) < MAX_WINDOWS)
    @rule()
    def another_run(self) -> None:
        self.open_window()

    def some(self, data: st.DataObject) -> Fence:
        return self.fences[data.draw(st.sampled_from(sorted(self.fences)), label="window")]

    @rule(data=st.data(), forgiven=st.booleans(), writes=st.booleans())
    def check(self, data: st.DataObject, *, forgiven: bool, writes: bool) -> None:
        """A run takes the lock and compares. Where the sidecar refuses, the turn is lost or the gateway forgives."""
        fence = self.some(data)
        if self.disk.fingerprint != fence.at and not self.passes(fence) and not forgiven:
            self.stop(fence)
        elif writes:
            self.report(self.append(fence.writer))
            self.set_fence(fence)
        elif self.disk.fingerprint != fence.at:
            self.set_fence(fence)

    @rule(
        acts=st.lists(
            st.sampled_from(
                (one_cotenant, one_cotenant, foreign_append, cron_copies, other_process, foreign_touch, look)
            ),
            min_size=1,
            max_size=3,
        ),
        data=st.data(),
    )
    def acts_and_check(self, acts: list[Callable[[Sessions], None]], data: st.DataObject) -> None:
        """What matters most, more often than chance would have it."""
        for act in acts:
            act(self)
        fence = self.some(data)
        if self.disk.fingerprint != fence.at and not self.passes(fence):
            self.stop(fence)

    def passes(self, fence: Fence) -> bool:
        approval = fence.pushed
        if approval is None or approval.current != self.disk.fingerprint:
            answer = self.ask(fence)
            if isinstance(answer, Refuse):
                return False
            approval = answer
        self.tell(applied(approval, self.disk.clock, f"r{self.next()}"))
        self.set_fence(fence)
        return True

    def ask(self, fence: Fence) -> Approve | Refuse:
        self.hear_everybody()
        ask, snapshot = f"a{self.next()}", self.disk.snapshot
        event = asked(fence.at, snapshot, self.disk.clock, ask=ask, window=fence.window, run=fence.run)
        answer, blind = self.sidecar.tell(event).answer, self.blind.tell(event).answer
        for given in (answer, blind):
            if isinstance(given, Approve):
                self.judge_approval(fence, given)
            else:
                self.judge_refusal(fence, given)
        self.compare(fence, answer, blind)
        return answer

    def stop(self, fence: Fence) -> None:
        snapshot, at_ns = self.disk.snapshot, self.disk.clock
        self.tell(tripped(fence.at, snapshot, at_ns, window=fence.window, run=fence.run))
        self.close(fence, takeover=True)

    def close(self, fence: Fence, *, takeover: bool) -> None:
        """There always is a next run."""
        del self.fences[fence.window]
        self.tell(ev.FenceClosed(window=fence.window, takeover=takeover, at_ns=self.disk.clock))
        if not self.fences:
            self.open_window()

    @rule(data=st.data())
    def run_ends(self, data: st.DataObject) -> None:
        self.close(self.some(data), takeover=False)

    # What must be true.

    def untouched(self, fence: Fence) -> bool:
        """The known writers alone would have left this very file."""
        return (self.disk.exists, self.disk.data) == (fence.exists, fence.ghost)

    def take_pushes(self, answers: Checks) -> None:
        for decision in answers.decisions:
            if isinstance(decision, Approve) and not decision.ask:
                fence = self.fences[decision.window]
                self.judge_approval(fence, decision)
                assert not fence.caught, "rule 1: a takeover that was seen"
                fence.pushed = decision

    def judge_approval(self, fence: Fence, approval: Approve) -> None:
        """Rules 1, 2, 3 and 5."""
        assert (approval.fence, approval.current) == (fence.at, self.disk.fingerprint), "rule 2"
        assert not any(brought > fence.since for brought in self.disk.foreign), "rule 1: a foreign byte in the step"
        assert self.untouched(fence), "rule 3: the file is what its known writers left"

    def judge_refusal(self, fence: Fence, refusal: Refuse) -> None:
        assert refusal.verdict is Verdict.EXTERNAL or not self.must_be_caught(fence), refusal.reason
        assert fence.intruded or refusal.verdict is not Verdict.EXTERNAL, "nobody but known writers was there"
        assert not self.must_be_recovered(fence), refusal.reason

    def must_be_recovered(self, fence: Fence) -> bool:
        """Co-tenants only, with a whole account."""
        return (
            fence.known
            and self.disk.exists
            and not fence.intruded
            and not fence.unsettled
            and not self.under_way
            and not (fence.replaced and (fence.disturbed or fence.overlapped or not self.can_reload))
            and fence.placed
            and not self.overwritten(fence)
        )

    def overwritten(self, fence: Fence) -> bool:
        """Rule 3: a known writer did away with what another had added, which is not where it was."""
        for number, (operation, writer, _size, _data) in enumerate(fence.acts):
            if operation in {Operation.REWRITE, Operation.TRUNCATE, Operation.REMOVE}:
                for added, other, offset, data in fence.acts[:number]:
                    theirs = added in {Operation.APPEND, Operation.WRITE} and other.run_id != writer.run_id
                    if theirs and data and self.disk.data[offset : offset + len(data)] != data:
                        return True
        return False

    def must_be_caught(self, fence: Fence) -> bool:
        """A foreign byte in the step, with a whole account of everybody else."""
        strange = any(brought > fence.since for brought in self.disk.foreign)
        seen = self.disk.fingerprint != fence.at
        return (
            strange
            and seen
            and fence.known
            and fence.placed
            and not (fence.unsettled or fence.replaced or self.under_way)
        )

    def compare(self, fence: Fence, answer: Approve | Refuse, blind: Approve | Refuse) -> None:
        """Whether the file was looked at meanwhile makes no difference, but that a takeover once seen is not unseen."""
        if fence.caught:
            assert isinstance(answer, Refuse)
            return
        if self.mapped:
            # Who has read the file since takes such bytes as they are; who has not, misses the old ones.
            return
        assert type(answer) is type(blind)
        if isinstance(answer, Refuse) and isinstance(blind, Refuse):
            assert answer.verdict is blind.verdict

    @invariant()
    def each_incident_pages_once_and_for_a_reason(self) -> None:
        for sidecar in (self.sidecar, self.blind):
            paged = [(incident.incident_id, about) for incident, about in sidecar.pages]
            assert len(paged) == len(set(paged))
            for incident, about in sidecar.pages:
                taken, failed = incident.verdict is Verdict.EXTERNAL, incident.recovery.outcome is Outcome.INEFFECTIVE
                assert taken if about is Subject.TAKEOVER else failed and about is Subject.RECOVERY

    @invariant()
    def nobody_is_accused_where_nobody_was(self) -> None:
        for sidecar in (self.sidecar, self.blind):
            for incident in sidecar.incidents.values():
                fence = self.fences.get(incident.window)
                if fence is not None and not fence.intruded:
                    assert incident.verdict is not Verdict.EXTERNAL
                if incident.taken_in:  # of a step that a fence has left behind
                    assert self.strangers or incident.verdict is not Verdict.EXTERNAL

    @invariant()
    def commands_and_questions_leave_one_incident_for_each_window(self) -> None:
        for sidecar in (self.sidecar, self.blind):
            windows = [incident.window for incident in sidecar.incidents.values() if incident.window]
            assert len(windows) == len(set(windows))


TestSessions = Sessions.TestCase
TestSessions.settings = settings(
    max_examples=400,
    stateful_step_count=30,
    derandomize=True,
    report_multiple_bugs=False,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

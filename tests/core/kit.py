"""What the tests of the core share: a disk that knows who wrote each byte, and a bench that plays the shells' part."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, NamedTuple, TypeVar

from sidecar.core import events as ev
from sidecar.core.custody.files.account import FileAccount
from sidecar.core.custody.kernel_evidence import NO_KERNEL_EVIDENCE, KernelEvidence
from sidecar.core.decisions import Approve, CheckLineage, Decision, ReadFile, RecallChain, Refuse, SaveIncident
from sidecar.core.engine import Engine
from sidecar.core.facts.change import Change, Operation
from sidecar.core.facts.content import BytesContent, Snapshot
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.gateway import Adapter, Gateway, Run
from sidecar.core.facts.loss import Loss
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.value import Value, replace
from sidecar.core.facts.version import Version
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.policy.glob import Glob
from sidecar.core.policy.policy import Mode, Policy
from sidecar.core.policy.rules import Permission, Rule
from sidecar.core.verdict import judge as verdict
from sidecar.core.verdict.incident import Incident, Subject
from sidecar.core.verdict.judge import Judgement

FILE: Final = "/state/agents/main/sessions/0a1b.jsonl"
LINK: Final = "link-1"
OTHER_LINK: Final = "link-2"
GATEWAY_PID: Final = 100
WINDOW: Final = "100.1700000000.1"

RUN: Final = Run(run_id="run-1", kind="user_turn", session="5e55", trace_id="ab" * 16)
OTHER_RUN: Final = Run(run_id="run-2", kind="heartbeat", session="5e55")

OWN: Final = Writer(WriterKind.USER_TURN, "", GATEWAY_PID, RUN.run_id)
HEARTBEAT: Final = Writer(WriterKind.HEARTBEAT, "", GATEWAY_PID, OTHER_RUN.run_id)
CRON: Final = Writer(WriterKind.CRON, "daily-digest", GATEWAY_PID, "run-3")
CHANNEL: Final = Writer(WriterKind.CHANNEL, "telegram", GATEWAY_PID)
WAITED_NS: Final = 60_000_000_000
"""How long a run has waited for the lock when it times out."""

STRANGER: Final = Writer(WriterKind.FOREIGN, "", 999)


class Evidence(Value, frozen=True):
    """What a verdict on a file rests on: its account, the file as it was read, and whose window it is."""

    run_id: str
    account: FileAccount
    snapshot: Snapshot
    can_reload: bool
    file: str = ""
    session: str = ""
    kernel_evidence: KernelEvidence = NO_KERNEL_EVIDENCE
    gateway_uid: int = -1


def judge(evidence: Evidence, policy: Policy) -> Judgement:
    """Examine the file, and judge what was found."""
    finding = evidence.account.examined(evidence.snapshot, evidence.kernel_evidence, evidence.gateway_uid)
    case = verdict.Evidence(evidence.run_id, finding, evidence.can_reload, evidence.file, evidence.session)
    return verdict.judge(case, policy)


_DecisionT = TypeVar("_DecisionT", bound=Decision)

OVERFLOWED: Final = Reason.of(ReasonCode.WATCH_OVERFLOWED, problem="the kernel's event queue was full")
MISSING: Final = Reason.of(ReasonCode.REPORTS_MISSING, count=12, pid=GATEWAY_PID)
FAILED: Final = Reason.of(ReasonCode.WRITE_FAILED, pid=GATEWAY_PID)


def said(reason: Reason | None) -> list[Reason]:
    """A reason and all its details, each by itself."""
    if reason is None:
        return []
    return [replace(reason, details=()), *(part for detail in reason.details for part in said(detail))]


def naming(*programs: str) -> Policy:
    """A policy that makes programs of these names, which know the token, co-tenants."""
    globs = tuple(Glob(name) for name in programs)
    kinds = frozenset({WriterKind.DECLARED})
    return Policy(rules=(Rule(name="programs", kinds=kinds, names=globs, may=Permission.REWRITE),))


def only(*kinds: WriterKind) -> Policy:
    """A policy that knows these co-tenants and no other."""
    rules = (Rule(name="known", kinds=frozenset(kinds), may=Permission.REWRITE),) if kinds else ()
    return Policy(rules=rules, default=Permission.NOTHING)


def gateway(link: str = LINK, pid: int = GATEWAY_PID, *, can_reload: bool = True) -> Gateway:
    """A linked process whose release has a fence."""
    return Gateway(link, pid, "2026.7.35", Adapter.PUBLISH if can_reload else Adapter.SWAP, can_reload)


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return sha256(data).hexdigest()


def reported(
    operation: Operation,
    writer: Writer,
    data: bytes = b"",
    *,
    change_id: str,
    span: tuple[int, int | None],
    offset: int = -1,
    length: int | None = None,
    link: str = LINK,
) -> Change:
    """A report without fingerprints, as custody takes it. ``span`` holds the numbers of its begin and its end."""
    return Change(
        change_id=change_id,
        operation=operation,
        writer=writer,
        at_ns=0,
        length=len(data) if length is None else length,
        sha256=digest(data) if data else "",
        offset=offset,
        link=link,
        began=span[0],
        ended=span[1],
    )


def fence_set(fence: Version, at_ns: int, *, window: str = WINDOW, file: str = FILE, run: Run = RUN) -> ev.FenceSet:
    """A run of the first link records the file as it is."""
    return ev.FenceSet(link=LINK, window=window, file=file, fence=fence, run=run, at_ns=at_ns)


def asked(
    fence: Version,
    snapshot: Snapshot,
    at_ns: int,
    *,
    ask: str = "a1",
    window: str = WINDOW,
    file: str = FILE,
    run: Run = RUN,
) -> ev.VerdictAsked:
    """A run of the first link stands at its check; the gateway's clock is the sidecar's."""
    return ev.VerdictAsked(
        ask=ask,
        link=LINK,
        window=window,
        file=file,
        fence=fence,
        current=snapshot.fingerprint,
        run=run,
        snapshot=snapshot,
        at_ns=at_ns,
        heard_ns=at_ns,
    )


def tripped(
    fence: Version, snapshot: Snapshot, at_ns: int, *, window: str = WINDOW, file: str = FILE, run: Run = RUN
) -> ev.TurnTripped:
    """The gateway's own fence stops a turn of the first link."""
    return ev.TurnTripped(
        link=LINK, window=window, file=file, fence=fence, run=run, snapshot=snapshot, at_ns=at_ns, heard_ns=at_ns
    )


def timed_out(
    fence: Version,
    snapshot: Snapshot,
    at_ns: int,
    *,
    window: str = WINDOW,
    file: str = FILE,
    pid: int = GATEWAY_PID,
) -> ev.LockTimedOut:
    """A run of the first link did not acquire the lock in time; ``pid`` is what the lock file says."""
    return ev.LockTimedOut(
        ask="a1",
        link=LINK,
        window=window,
        file=file,
        fence=fence,
        run=RUN,
        snapshot=snapshot,
        waited_ns=WAITED_NS,
        holder_pid=pid,
        holder_exe="/usr/bin/backup" if pid == STRANGER.pid else "",
        at_ns=at_ns,
        heard_ns=at_ns,
    )


def applied(approval: Approve, at_ns: int, *records: str) -> ev.RecoveryApplied:
    """The preload obeyed a command."""
    return ev.RecoveryApplied(
        window=approval.window,
        applied=True,
        fence=approval.fence,
        current=approval.current,
        pushed=not approval.ask,
        latency_ns=5_000_000,
        reason="",
        records=records,
        at_ns=at_ns,
    )


class Due(NamedTuple):
    """A page that fell due."""

    incident: Incident
    about: Subject


def due(decisions: Iterable[Decision]) -> list[Due]:
    """The pages that fell due, each once, with the incident as it was saved then."""
    pages: dict[tuple[str, Subject], Due] = {}
    for decision in decisions:
        if isinstance(decision, SaveIncident):
            for about in decision.incident.paged_for:
                pages.setdefault((decision.incident.incident_id, about), Due(decision.incident, about))
    return list(pages.values())


@dataclass
class Disk:
    """A session file. Every act gives it a new ctime; each byte remembers whether a foreigner brought it in."""

    data: bytes = b'{"type":"session"}\n'
    foreign: list[int] = field(default_factory=list)
    """For each byte: 0, or when a foreigner brought it in."""
    exists: bool = True
    regular: bool = True
    uid: int = 1000
    ino: int = 1
    clock: int = 1_700_000_000_000_000_000

    def __post_init__(self) -> None:
        """What is there at first is the gateway's."""
        self.foreign = [0] * len(self.data)

    @property
    def fingerprint(self) -> Fingerprint:
        """What a stat would say."""
        if not self.exists:
            return Fingerprint.absent()
        return Fingerprint(
            exists=True, dev=1, ino=self.ino, size=len(self.data), mtime_ns=self.clock, ctime_ns=self.clock
        )

    @property
    def snapshot(self) -> Snapshot:
        """What a reading would give."""
        if not self.exists:
            return Snapshot(self.fingerprint)
        return Snapshot(self.fingerprint, BytesContent(self.data), regular=self.regular, uid=self.uid)

    def touch(self) -> None:
        """Change times, no byte."""
        self.clock += 1_000_000

    def append(self, data: bytes, *, foreign: int = 0) -> None:
        """Add bytes at the end."""
        self.replace(self.data + data, [*self.foreign, *[foreign] * len(data)])

    def overwrite(self, offset: int, data: bytes, *, foreign: int = 0) -> None:
        """Write at a position, at most up to the end."""
        end = offset + len(data)
        taint = [*self.foreign[:offset], *[foreign] * len(data), *self.foreign[end:]]
        self.replace(self.data[:offset] + data + self.data[end:], taint)

    def truncate(self, size: int) -> None:
        """Cut to ``size`` bytes."""
        self.replace(self.data[:size], self.foreign[:size])

    def rename_copy(self) -> None:
        """Move an identical copy into place: same bytes, another inode."""
        self.ino += 1
        self.touch()

    def remove(self) -> None:
        """Delete the file."""
        self.replace(b"", [])
        self.exists = False

    def replace(self, data: bytes, foreign: Sequence[int] | None = None) -> None:
        """Leave exactly these bytes, the gateway's unless told otherwise."""
        self.data = data
        self.foreign = [0] * len(data) if foreign is None else list(foreign)
        self.exists = True
        self.touch()


class Bench:
    """An engine between a disk and a gateway: acts on the one, reports as the other, collects the decisions.

    Reads that must be immediate are answered at once. The others wait in ``reads`` until `look`.
    """

    def __init__(
        self,
        *,
        policy: Policy | None = None,
        mode: Mode = Mode.RECOVER,
        can_reload: bool = True,
        disk: Disk | None = None,
        linked: bool = True,
        file: str = FILE,
    ) -> None:
        self.file = file
        self.disk = disk or Disk()
        self.engine = Engine(policy or Policy(), mode)
        self.decisions: list[Decision] = []
        self.reads: list[ReadFile] = []
        self.at_read: list[Callable[[], None]] = []
        """What happens just ahead of the next immediate reading."""
        self._seen = self.disk.fingerprint
        self._seq = 0
        self._ns = 1_700_000_000_000_000_000
        if linked:
            self.handle(ev.LinkOpened(gateway=gateway(can_reload=can_reload), at_ns=self.now()))

    def now(self) -> int:
        """A later time than ever before."""
        self._ns += 1_000_000
        return self._ns

    def pass_time(self, ns: int) -> None:
        """Nothing happens for a while."""
        self._ns += ns

    def seq(self) -> int:
        """The number of the next report."""
        self._seq += 1
        return self._seq

    def tell(self, event: ev.Event) -> list[Decision]:
        """The one place where the engine hears of anything."""
        return self.engine.handle(event)

    def handle(self, event: ev.Event) -> list[Decision]:
        """Give an event to the engine; answer immediate reads, keep the rest."""
        made: list[Decision] = []
        for decision in self.tell(event):
            if isinstance(decision, RecallChain):
                made += self.recall()
            elif not isinstance(decision, ReadFile):
                made.append(decision)
            elif decision.settle:
                self.reads.append(decision)
            else:
                while self.at_read:
                    self.at_read.pop()()
                made += self.read(settled=False)
        self.decisions += made
        return made

    def recall(self) -> list[Decision]:
        """Answer that asks for what was kept of the file: nothing was."""
        return []

    def read(self, snapshot: Snapshot | None = None, *, settled: bool = True) -> list[Decision]:
        """Deliver a reading of the file, as it is now unless told otherwise."""
        taken = snapshot or self.disk.snapshot
        event = ev.SnapshotTaken(file=self.file, snapshot=taken, at_ns=self.now(), settled=settled)
        made = self.tell(event)
        assert not [d for d in made if isinstance(d, ReadFile)]
        return made

    def look(self) -> list[Decision]:
        """The watch sees whether the file moved; the reading that the engine wants is taken."""
        before, self._seen = self._seen, self.disk.fingerprint
        if before != self._seen:
            self.handle(ev.FingerprintChanged(file=self.file, before=before, fingerprint=self._seen, at_ns=self.now()))
        made: list[Decision] = []
        if self.reads:
            self.reads.clear()
            made = self.read()
        self.decisions += made
        return made

    def fence_set(self, window: str = WINDOW, run: Run = RUN, link: str = LINK) -> ev.FenceSet:
        """Word that a run has recorded the file as it is."""
        set_now = fence_set(self.disk.fingerprint, self.now(), window=window, file=self.file, run=run)
        return replace(set_now, link=link)

    def fence(self, window: str = WINDOW, run: Run = RUN, link: str = LINK) -> list[Decision]:
        """A run records the file as it is."""
        return self.handle(self.fence_set(window, run, link))

    def begin(self, operation: Operation, writer: Writer, data: bytes = b"", *, link: str = LINK) -> Change:
        """Announce a call of which nothing has reached the file."""
        change = Change(
            change_id=f"c{self.seq()}",
            operation=operation,
            writer=writer,
            at_ns=self.now(),
            length=len(data),
            sha256=digest(data),
            offset=len(self.disk.data),
            before=self.disk.fingerprint,
            link=link,
            began=self._seq,
            ended=None,
        )
        self.handle(ev.FileChanged(file=self.file, change=change))
        return change

    def end(self, change: Change) -> None:
        """Report that a call has returned."""
        done = change.finish(ended=self.seq(), length=change.length, sha256=change.sha256, after=self.disk.fingerprint)
        self.handle(ev.FileChanged(file=self.file, change=done))

    def done(
        self,
        operation: Operation,
        writer: Writer,
        data: bytes,
        *,
        before: Fingerprint,
        length: int | None = None,
        offset: int | None = None,
        link: str = LINK,
    ) -> Change:
        """Report a synchronous call that has just been made on the disk."""
        change = Change(
            change_id=f"c{self.seq()}",
            operation=operation,
            writer=writer,
            at_ns=self.now(),
            length=len(data) if length is None else length,
            sha256=digest(data) if data else "",
            offset=before.size if offset is None else offset,
            before=before,
            after=self.disk.fingerprint,
            link=link,
            began=self._seq,
            ended=self._seq,
        )
        self.handle(ev.FileChanged(file=self.file, change=change))
        return change

    def write(self, writer: Writer, data: bytes, *, link: str = LINK) -> Change:
        """A linked process appends and reports it."""
        before = self.disk.fingerprint
        self.disk.append(data)
        return self.done(Operation.APPEND, writer, data, before=before, link=link)

    def rewrite(self, writer: Writer, data: bytes, foreign: Sequence[int] | None = None) -> Change:
        """A linked process writes the whole file anew and reports it."""
        before = self.disk.fingerprint
        self.disk.replace(data, foreign)
        return self.done(Operation.REWRITE, writer, data, before=before, offset=0)

    def truncate(self, writer: Writer, size: int) -> Change:
        """A linked process cuts the file and reports it."""
        before = self.disk.fingerprint
        self.disk.truncate(size)
        return self.done(Operation.TRUNCATE, writer, b"", before=before, length=size)

    def remove(self, writer: Writer) -> Change:
        """A linked process deletes the file and reports it."""
        before = self.disk.fingerprint
        self.disk.remove()
        return self.done(Operation.REMOVE, writer, b"", before=before)

    def take_lock(self, writer: Writer, link: str = LINK) -> None:
        """A linked process takes the session lock."""
        self.handle(
            ev.LockTaken(link=link, file=self.file, hold="h1", writer=writer, wait_ns=2_000_000, at_ns=self.now())
        )

    def release_lock(self, writer: Writer, link: str = LINK) -> None:
        """A linked process gives the session lock back."""
        after = self.disk.fingerprint
        self.handle(
            ev.LockReleased(
                link=link, file=self.file, hold="h1", writer=writer, after=after, held_ns=3_000_000, at_ns=self.now()
            )
        )

    def time_out(
        self,
        pid: int = GATEWAY_PID,
        *,
        window: str = WINDOW,
        fence: Version | None = None,
        run: Run = RUN,
        unheard: bool = False,
        hidden: bool = False,
        ahead_ns: int = 0,
        link: str = LINK,
    ) -> list[Decision]:
        """The run did not acquire the lock in time; ``pid`` is what the lock file says, ``hidden`` one not seen."""
        now_ns, fence = self.now(), fence or self._known(window)
        event = timed_out(fence, self.disk.snapshot, now_ns, window=window, file=self.file, pid=pid)
        asked = replace(event, link=link, run=run, at_ns=now_ns + ahead_ns, unheard=unheard, holder_hidden=hidden)
        return self.handle(asked)

    def _known(self, window: str) -> Version:
        """The fence of a window that is open."""
        return {w.window_id: w.fence for w in self.engine.windows}[window]

    def wait_ended(self, window: str = WINDOW, *, had: bool) -> list[Decision]:
        """The run acquired the lock after all, or gave up."""
        return self.handle(
            ev.LockWaitEnded(window=window, had=had, waited_ns=WAITED_NS + 2_000_000_000, at_ns=self.now())
        )

    def cotenant(self, data: bytes, writer: Writer = CRON) -> None:
        """A co-tenant appends under the lock."""
        self.take_lock(writer)
        self.write(writer, data)
        self.release_lock(writer)

    def ask(
        self,
        window: str = WINDOW,
        *,
        ask: str = "",
        fence: Fingerprint | None = None,
        current: Fingerprint | None = None,
        run: Run = RUN,
        ahead_ns: int = 0,
        link: str = LINK,
        unheard: bool = False,
    ) -> Approve | Refuse:
        """The run stands at its check; the one answer. The gateway's clock may be ahead of the sidecar's."""
        now_ns, ask, snapshot = self.now(), ask or f"a{self.seq()}", self.disk.snapshot
        event = asked(fence or self._known(window), snapshot, now_ns, ask=ask, window=window, file=self.file, run=run)
        current = current or snapshot.fingerprint
        made = self.handle(replace(event, current=current, link=link, at_ns=now_ns + ahead_ns, unheard=unheard))
        (answer,) = [d for d in made if isinstance(d, Approve | Refuse)]
        return answer

    def apply(self, approval: Approve, *records: str, moves: bool = True) -> None:
        """The preload obeys a command, and the run records its new fence."""
        self.handle(applied(approval, self.now(), *records))
        if moves:
            self.fence(approval.window)

    def decline(self, approval: Approve, reason: str) -> None:
        """The preload finds that something differs and leaves the fence alone."""
        self.handle(replace(applied(approval, self.now()), applied=False, latency_ns=0, reason=reason))

    def trip(
        self,
        window: str = WINDOW,
        *,
        fence: Version | None = None,
        run: Run = RUN,
        link: str = LINK,
        unheard: bool = False,
    ) -> list[Decision]:
        """The gateway's own fence stops the turn."""
        fence = fence or self._known(window)
        event = tripped(fence, self.disk.snapshot, self.now(), window=window, file=self.file, run=run)
        return self.handle(replace(event, link=link, unheard=unheard))

    def close(self, window: str = WINDOW, *, takeover: bool = False) -> list[Decision]:
        """The run is done with its window."""
        return self.handle(ev.FenceClosed(window=window, takeover=takeover, at_ns=self.now()))

    def lose(self, reason: Reason = OVERFLOWED, loss: Loss = Loss.OVERFLOW, file: str = "") -> None:
        """Reports or file events were lost."""
        self.handle(ev.AccountBroken(loss=loss, reason=reason, at_ns=self.now(), file=file))

    def made(self, kind: type[_DecisionT]) -> list[_DecisionT]:
        """All decisions of one kind so far."""
        return [d for d in self.decisions if isinstance(d, kind)]

    @property
    def approvals(self) -> list[Approve]:
        """Commands given so far."""
        return self.made(Approve)

    @property
    def pages(self) -> list[Due]:
        """Pages so far."""
        return due(self.decisions)

    @property
    def checks(self) -> list[CheckLineage]:
        """Checks of the history wanted so far."""
        return self.made(CheckLineage)

    @property
    def incidents(self) -> dict[str, Incident]:
        """The incidents as they were saved last, by id."""
        return {d.incident.incident_id: d.incident for d in self.made(SaveIncident)}

    @property
    def incident(self) -> Incident:
        """The one incident."""
        (incident,) = self.incidents.values()
        return incident


def fenced(
    *, policy: Policy | None = None, mode: Mode = Mode.RECOVER, can_reload: bool = True, disk: Disk | None = None
) -> Bench:
    """A linked gateway with one window open, on a file that needed no reading but the one at the fence."""
    bench = Bench(policy=policy, mode=mode, can_reload=can_reload, disk=disk)
    assert bench.fence() == []
    return bench

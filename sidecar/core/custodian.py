"""The state machine of the core: events in, decisions out.

It keeps a `Registry` of what is known and has a `Court` judge it. Nothing happens without an event; the same events in
the same order give the same decisions. Times come with the events.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, assert_never

from sidecar.core import events as ev
from sidecar.core.aftermath import Aftermath
from sidecar.core.answers import Answers, refusal
from sidecar.core.chain import beginning, examine
from sidecar.core.court import Court, saved
from sidecar.core.decisions import (
    Decision,
    KeepChains,
    ReadFile,
    RecallChain,
    ReportIllegalStep,
    Withdraw,
    once_each,
)
from sidecar.core.errors import IllegalStepError
from sidecar.core.gateway import Gateway
from sidecar.core.late_answers import LateAnswers
from sidecar.core.ledger import Ledger
from sidecar.core.life import Life
from sidecar.core.links import link_lost, link_opened
from sidecar.core.lockwaits import LockWaits, answer_wait
from sidecar.core.loss import Loss
from sidecar.core.outcomes import CustodyLost, Ending
from sidecar.core.reasons import Reason, ReasonCode
from sidecar.core.registry import Registry
from sidecar.core.unlinked import UnlinkedChanges
from sidecar.core.verdict import Verdict
from sidecar.core.window import NOT_READ, Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sidecar.core.brakes import Brakes
    from sidecar.core.budget import Spent
    from sidecar.core.chain import Chain
    from sidecar.core.content import Snapshot
    from sidecar.core.fingerprint import Fingerprint
    from sidecar.core.gateway import Run
    from sidecar.core.lock_table import LockTable
    from sidecar.core.outcomes import AnyOutcome, HoldEnded
    from sidecar.core.policy import Mode, Policy
    from sidecar.core.span import Span
    from sidecar.core.writer import Writer

MAX_KEPT_AT_ONCE: Final = 25
"""Chains that one `sidecar.core.events.TimePassed` gives out: a gateway may be waiting for an answer."""

_NS_PER_MS: Final = 1_000_000


class Custodian:
    """Judges every change of every fenced session file."""

    def __init__(self, policy: Policy, mode: Mode, spent: Iterable[Spent] = ()) -> None:
        """Start with no knowledge: custody of everything is unknown until it is established.

        Args:
            policy: The rules in force.
            mode: Whether commands are given.
            spent: Recoveries of an earlier life, which count in the budgets.
        """
        self._registry = Registry()
        self._court = Court(self._registry, policy, mode, spent)
        self._aftermath = Aftermath()
        self._late = LateAnswers(self._registry, self._court, self._aftermath)
        self._answers = Answers(self._registry, self._court, self._late)
        self._lock_waits = LockWaits(self._registry, self._court, self._late)
        self._unlinked = UnlinkedChanges(self._registry.locks)

    @property
    def policy(self) -> Policy:
        """The rules in force."""
        return self._court.policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._court.policy = policy

    @property
    def mode(self) -> Mode:
        """Whether commands are given."""
        return self._court.mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._court.mode = mode

    @property
    def brakes(self) -> Brakes:
        """What holds back recoveries."""
        return self._court.brakes

    @property
    def windows(self) -> tuple[Window, ...]:
        """The open windows."""
        return tuple(self._registry.windows.values())

    def window(self, window: str) -> Window | None:
        """The open window with this id."""
        return self._registry.windows.get(window)

    def has_window(self, window: str) -> bool:
        """The window is open, or has ended and its history is being read."""
        return window in self._registry.windows or window in self._registry.closed

    def custody_unknown(self) -> int:
        """How many files with an open window there are of which custody is unknown."""
        return len({window.file for window in self._registry.windows.values() if window.account.broken})

    @property
    def locks(self) -> LockTable:
        """Who holds the session locks."""
        return self._registry.locks

    def last_holder(self, file: str) -> Writer | None:
        """The linked process that acquired this lock last; None when not known."""
        return self._registry.locks.last_holder(file)

    def open_holds(self, at_ns: int) -> list[HoldEnded]:
        """All open holds, as the end of the sidecar cuts them short."""
        return self._registry.locks.open_holds(at_ns)

    def linked_pids(self) -> set[int]:
        """The processes that have a link."""
        return self._registry.linked_pids()

    @property
    def gateways(self) -> tuple[Gateway, ...]:
        """The linked processes."""
        return tuple(self._registry.gateways.values())

    @property
    def outcomes(self) -> tuple[AnyOutcome, ...]:
        """What came of the event that was handled last, in order. To be told, whatever becomes of its decisions."""
        return tuple(self._registry.outcomes.made)

    def run_of(self, window: str) -> Run | None:
        """The run of a window that is open, or whose history is being read."""
        known = self._registry.windows.get(window) or self._registry.closed.get(window)
        return known.run if known is not None else None

    def handle(self, event: ev.Event) -> list[Decision]:
        """Take in one event. What a window's tables do not allow is answered with no, and loses its custody."""
        outcomes = self._registry.outcomes
        outcomes.made.clear()
        at_ns = event.change.at_ns if isinstance(event, ev.FileChanged) else event.at_ns
        try:
            decisions = self._decide(event)
        except IllegalStepError as error:
            decisions = self._refuse(event, error, at_ns)
        outcomes.decided(decisions, self._registry.windows, at_ns)
        return once_each(decisions)

    def _refuse(self, event: ev.Event, error: IllegalStepError, at_ns: int) -> list[Decision]:
        reason = Reason.of(ReasonCode.ILLEGAL_STEP, state=error.state, step=error.step)
        decisions: list[Decision] = []
        window = self._registry.windows.get(error.window)
        if window is not None:
            if window.approved is not None:
                decisions.append(Withdraw(link=window.gateway.link, window=window.window_id))
            window.give_up(reason)
            window.note(at_ns, "custody lost", reason=reason)
        match event:
            case ev.VerdictAsked():
                decisions.append(refusal(event, Verdict.UNATTRIBUTED, reason))
            case ev.LockTimedOut():
                decisions.append(answer_wait(event, reason, granted=False))
            case _:
                pass
        self._registry.outcomes.add(CustodyLost(loss=Loss.ILLEGAL_STEP, windows=(error.window,), at_ns=at_ns))
        return [*decisions, ReportIllegalStep(window=error.window, reason=reason)]

    def _decide(self, event: ev.Event) -> list[Decision]:  # noqa: C901, PLR0911, PLR0912 - one case for each event
        match event:
            case ev.LinkOpened():
                link_opened(self._registry, event)
                return []
            case ev.LinkLost():
                return link_lost(self._registry, event)
            case ev.AccountBroken():
                self._registry.lose_custody(event.loss, event.reason, event.at_ns, event.file)
                return []
            case ev.FenceSet():
                return self._fence_set(event)
            case ev.FenceClosed():
                return self._fence_closed(event)
            case ev.FileChanged():
                return self._file_changed(event)
            case ev.LockTaken():
                return self._lock_taken(event)
            case ev.LockReleased():
                return self._lock_released(event)
            case ev.LockFileSeen():
                return self._lock_file_seen(event)
            case ev.LockFileGone():
                self._registry.locks.gone(event)
                return []
            case ev.FileMoved():
                return self._file_moved(event)
            case ev.KernelListening():
                self._registry.witness.listening(event.directory, event.at_ns)
                return []
            case ev.KernelSaw():
                return self._kernel_saw(event)
            case ev.KernelHeard():
                self._registry.witness.heard(event.at_ns)
                return []
            case ev.KernelDeaf():
                self._registry.witness.deaf(event.at_ns)
                return []
            case ev.SnapshotTaken():
                return self._snapshot_taken(event)
            case ev.VerdictAsked():
                return self._answers.asked(event)
            case ev.LockTimedOut():
                return self._lock_waits.timed_out(event)
            case ev.LockWaitEnded():
                return self._lock_waits.wait_ended(event)
            case ev.AnswerLate():
                return self._late.late(event)
            case ev.SidecarHalted():
                return self._late.halted(event)
            case ev.CommandWithheld():
                return self._answers.withheld(event)
            case ev.RecoveryApplied():
                return self._answers.applied(event)
            case ev.TurnTripped():
                return self._answers.tripped(event)
            case ev.LineageChecked():
                return self._answers.lineage_checked(event)
            case ev.ChainRecalled():
                self._registry.ledger(event.chain.file).recall(event.chain, event.reason)
                return []
            case ev.AccountRecalled():
                self._registry.ledgers[event.file] = Ledger(event.account)
                return []
            case ev.TimePassed():
                return self._time_passed(event)
            case ev.TurnTold():
                if event.takeover and event.file:
                    self._registry.outcomes.takeover_logged(event.file, event.at_ns)
                return self._aftermath.told(event, self._registry.windows.values())
            case ev.Noted():
                return self._noted(event)
            case ev.PolicyChanged():
                return self._court.policy_changed(event)
            case ev.PauseChanged():
                return self._court.pause_changed(event)
            case _:
                assert_never(event)

    def is_untouched(self, file: str, now: Fingerprint) -> bool:
        """The file still is as it was at its fence, or as its account has it: it has met nothing that could be lost."""
        ledger = self._registry.ledgers.get(file)
        at_rest = ledger is None or (ledger.account.head == now and not ledger.account.changes)
        return at_rest and all(w.fence == now and not w.account.changes for w in self._registry.on_file(file))

    def is_fenced(self, file: str) -> bool:
        """A window is open on this file."""
        return bool(self._registry.on_file(file))

    @property
    def unsaved(self) -> bool:
        """There are chains to be kept: `sidecar.core.events.TimePassed` asks for some of them."""
        return any(ledger.unsaved for ledger in self._registry.ledgers.values())

    @property
    def files(self) -> Mapping[str, str]:
        """The files with an account, and the hash of the session key of each, where a run told it."""
        return {file: ledger.session for file, ledger in self._registry.ledgers.items()}

    def chain(self, file: str, snapshot: Snapshot, at_ns: int) -> Chain:
        """The chain of custody of a file; changes nothing.

        Args:
            file: Path of the session file.
            snapshot: The file as it was read; no report about it is outstanding.
            at_ns: The time.
        """
        ledger = self._registry.ledgers.get(file)
        if ledger is None:
            return examine(beginning(file, at_ns), (), snapshot)
        testimony = self._registry.testimony(file, ledger.account)
        return examine(ledger.kept(file, at_ns), ledger.account.changes, snapshot, testimony, ledger.strange)

    def preamble(self, file: str, at_ns: int) -> list[ev.Event]:
        """The events that would lead a custodian that knows nothing to what is known now about this file."""
        told: list[ev.Event] = []
        for number, (pid, started_at_ns) in enumerate(self._registry.witness.past):
            gone = Gateway(link=f"past-{number}", pid=pid, started_at_ns=started_at_ns)
            told.append(ev.LinkOpened(gateway=gone, at_ns=at_ns))
            told.append(ev.LinkLost(link=gone.link, clean=True, at_ns=at_ns))
        told += [ev.LinkOpened(gateway=gateway, at_ns=at_ns) for gateway in self.gateways]
        if self.brakes.pause is not None:
            told.append(ev.PauseChanged(pause=self.brakes.pause, at_ns=at_ns))
        told += self._registry.witness.recount(file)
        told += self._registry.locks.recount(file)
        ledger = self._registry.ledgers.get(file)
        if ledger is not None:
            told.append(ev.AccountRecalled(file=file, account=ledger.account.recorded(), at_ns=at_ns))
        return told

    def _begin(self, file: str) -> list[Decision]:
        """The first word of a file: is there something from before?"""
        ledger = self._registry.ledger(file)
        asked, ledger.asked = ledger.asked, True
        return [] if asked else [RecallChain(file=file)]

    def _time_passed(self, event: ev.TimePassed) -> list[Decision]:
        unsaved = [(file, ledger) for file, ledger in self._registry.ledgers.items() if ledger.unsaved]
        chains = [ledger.saved(file, event.at_ns) for file, ledger in unsaved[:MAX_KEPT_AT_ONCE]]
        if len(unsaved) <= MAX_KEPT_AT_ONCE:
            # What is put away must have been kept before.
            self._registry.prune(event.at_ns)
            self._unlinked.prune(event.at_ns)
        kept = tuple(chain for chain in chains if chain.witnessed)
        return [KeepChains(chains=kept)] if kept else []

    def _file_moved(self, event: ev.FileMoved) -> list[Decision]:
        """A fenced file is read again; a change by a process without a link is noted."""
        windows = self._registry.on_file(event.file)
        if windows:
            moved = any(w.fence != event.fingerprint for w in windows)
            return [ReadFile(file=event.file, settle=True)] if moved else []
        ledger = self._registry.ledgers.get(event.file)
        if ledger is not None and ledger.has_word_of(event.fingerprint):
            return []  # whoever did it spoke for itself, and may be gone by now
        return list(self._unlinked.changed(event, self._registry.linked_pids(), self.mode))

    def _fence_set(self, event: ev.FenceSet) -> list[Decision]:
        window = self._registry.windows.get(event.window)
        if window is None:
            window = Window(
                event.window, self._registry.gateway(event.link), event.file, event.run, event.fence, event.at_ns
            )
            self._registry.windows[event.window] = window
            window.note(event.at_ns, "fence set", f"at {event.fence.size} bytes")
            self._registry.outcomes.opened(window)
        else:
            self._registry.own(window, event.link)
            self._registry.outcomes.moved(window, event.fence.size, event.at_ns)
            window.note(event.at_ns, "fence moved", f"to {event.fence.size} bytes")
        window.run = event.run
        mark = self._registry.witness.mark()
        begin = self._begin(event.file)
        ledger = self._registry.ledger(event.file)
        ledger.session = event.run.session or ledger.session
        ledger.expire(event.at_ns)
        if ledger.advance(event.fence, self._registry.testimony(event.file, ledger.account)) is not None:
            ledger.account = replace(ledger.account, mark=mark)
            window.rebase(event.fence, ledger.account)
            # The reports lead here, but none says whose the file is: that takes a reading.
            unowned = event.fence.exists and ledger.account.uid < 0
            return [*begin, ReadFile(file=event.file)] if unowned else begin
        window.rebase(event.fence, replace(ledger.account.unread(event.fence, NOT_READ), mark=mark))
        self._registry.unsettled.add(event.file)
        read: list[Decision] = [*begin, ReadFile(file=event.file)]
        # What the fence has left behind is judged when all reports about it are in.
        return read if window.unjudged is None else [*read, ReadFile(file=event.file, settle=True)]

    def _fence_closed(self, event: ev.FenceClosed) -> list[Decision]:
        outcomes = self._registry.outcomes
        window = self._registry.windows.get(event.window)
        if window is None:
            if event.takeover:
                outcomes.turn_lost(event.window, None)
            return []
        window.note(event.at_ns, "window closed", "turn lost" if event.takeover else "")
        if event.takeover:
            outcomes.turn_lost(window.window_id, window.incident.verdict if window.incident else None)
        decisions = self._answers.lost(window) if event.takeover else saved(window.went_on(self.mode))
        unproven = bool(window.records) and not event.takeover
        decisions += saved(window.end(event.at_ns, unproven=unproven))
        outcomes.ended(window, Ending.TAKEOVER if event.takeover else Ending.ENDED, event.at_ns, final=not unproven)
        if event.takeover:
            outcomes.tripped(window, event.at_ns)
            self._aftermath.remember(window)
        return [*decisions, *self._registry.end(window, unproven=unproven)]

    def _file_changed(self, event: ev.FileChanged) -> list[Decision]:
        change = event.change
        begin = self._begin(event.file)
        ledger = self._registry.ledger(event.file)
        ledger.report(change)
        windows = self._registry.on_file(event.file)
        for window in windows:
            window.report(change)
            if change.finished:
                window.tally.unjudged.append(change)
                span = f" {change.length} bytes at {change.offset}" if change.length else ""
                window.note(change.at_ns, "write", f"{change.operation.value}{span} by {change.writer.label()}")
        if not windows and change.finished and ledger.account.manifest is None:
            # Custody begins with the first word of a file, not with the first fence.
            return [*begin, ReadFile(file=event.file, settle=True)]
        if change.finished and any(w.may_be_read for w in windows):
            # It was under way at a fence, and so nothing could be concluded from a reading.
            return [*begin, ReadFile(file=event.file, settle=True)]
        return begin

    def _lock_taken(self, event: ev.LockTaken) -> list[Decision]:
        self._registry.locks.taken(event)
        for window in self._registry.on_file(event.file):
            window.note(
                event.at_ns, "lock taken", f"by {event.writer.label()} after {event.wait_ns / _NS_PER_MS:.1f} ms"
            )
        return []

    def _lock_released(self, event: ev.LockReleased) -> list[Decision]:
        self._registry.outcomes.add(self._registry.locks.released(event))
        wanted = False
        for window in self._registry.on_file(event.file):
            window.note(
                event.at_ns, "lock released", f"by {event.writer.label()} after {event.held_ns / _NS_PER_MS:.1f} ms"
            )
            wanted = wanted or (event.after != window.fence and not _is_own(event.writer, window.run))
        return [ReadFile(file=event.file, settle=True)] if wanted else []

    def _lock_file_seen(self, event: ev.LockFileSeen) -> list[Decision]:
        if event.pid in self._registry.linked_pids():
            return []
        self._registry.locks.seen(event)
        for window in self._registry.on_file(event.file):
            window.note(event.at_ns, "lock taken", f"by process {event.pid}, which has no link ({event.exe})")
        return []

    def _kernel_saw(self, event: ev.KernelSaw) -> list[Decision]:
        """A stranger at a fenced file is worth a line, the first time of each kind."""
        before = self._registry.witness.saw(event.file, event.process, event.act, event.at_ns)
        for window in self._registry.on_file(event.file):
            mark = window.account.mark
            news = mark is not None and before <= mark.number
            if news and not self._registry.knows(event.process, window.account.changes):
                window.note(event.at_ns, "seen by the kernel", f"{event.act.value} by {event.process.label()}")
        return []

    def _snapshot_taken(self, event: ev.SnapshotTaken) -> list[Decision]:
        """The file was read: either to establish custody at a fence, or because something changed in a window."""
        decisions: list[Decision] = []
        windows = self._registry.on_file(event.file)
        waiting = [w for w in windows if w.may_be_read and w.fence == event.snapshot.fingerprint]
        for window in windows:
            window.account = window.account.owned(event.snapshot)
        ledger = self._registry.ledger(event.file)
        strange: list[Span] = []
        fenced = True
        if event.file in self._registry.unsettled or not event.settled:
            # Nothing can be concluded about other windows: reports of what was read may be on their way.
            self._registry.unsettled.discard(event.file)
            if not ledger.may_take(event.snapshot, (w.fence for w in windows)):
                return decisions
        else:
            fenced = bool(windows)
            if ledger.account.head == event.snapshot.fingerprint:
                strange += ledger.strange  # the file is as it was when they were seen
            for window in windows:
                decisions += self._answers.look_back(window, event.snapshot, event.at_ns)
                if window.fence != event.snapshot.fingerprint:
                    over = window.window_id in event.over or window.state.life is Life.STOPPED
                    decisions += self._answers.look(window, event.snapshot, event.at_ns, over=over)
                    strange += window.strange
        testimony, mark = self._registry.testimony(event.file, ledger.account), self._registry.witness.mark()
        manifest = ledger.read(event.snapshot, event.at_ns, testimony, strange, mark=mark, fenced=fenced)
        for window in waiting:
            if manifest is not None:
                window.read(ledger.account)
        return decisions

    def _noted(self, event: ev.Noted) -> list[Decision]:
        for window in self._registry.windows.values():
            if (event.file and window.file == event.file) or (event.run_id and window.run.run_id == event.run_id):
                window.note(event.at_ns, event.what, event.detail)
        return []


def _is_own(writer: Writer, run: Run) -> bool:
    return bool(run.run_id) and writer.run_id == run.run_id

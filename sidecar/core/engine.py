"""The state machine of the core: events in, decisions out.

It keeps `SessionFiles` and a `Registry` of all else that is known, and has a `Decider` judge it.
Nothing happens without an event; the same events in the same order give the same decisions. Times come with the events.
"""

from collections.abc import Iterable, Iterator
from typing import assert_never

from sidecar.core import events as ev
from sidecar.core.custody.claims import Claim
from sidecar.core.custody.files.ledger import Ledger
from sidecar.core.custody.files.ledgers import Ledgers
from sidecar.core.custody.rows.account import RowAccount
from sidecar.core.custody.rows.chain import KeptRows
from sidecar.core.custody.rows.ledger import RowLedger, RowLedgers
from sidecar.core.custody.transcripts import Transcripts
from sidecar.core.decisions import Decision, ReadFile, ReportIllegalStep, Withdraw, once_each
from sidecar.core.doubted import Doubted
from sidecar.core.errors import IllegalStepError
from sidecar.core.facts.gateway import Gateway, Run
from sidecar.core.facts.loss import Loss
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.rows import RowChange, RowSnapshot, RowVersion
from sidecar.core.facts.units import NS_PER_MS
from sidecar.core.facts.window_name import link_of
from sidecar.core.facts.writer import Writer
from sidecar.core.outcomes import AnyOutcome, CustodyLost, Ending, HoldEnded
from sidecar.core.policy.budget import Spent
from sidecar.core.policy.gate import RecoveryGate
from sidecar.core.policy.policy import Mode, Policy
from sidecar.core.session_files import SessionFiles
from sidecar.core.session_rows import SessionRows
from sidecar.core.verdict.judge import Verdict
from sidecar.core.windows.checks import Checks, refusal
from sidecar.core.windows.database_locks import DatabaseLocks
from sidecar.core.windows.decide import Decider, saved
from sidecar.core.windows.late_answers import LateAnswers
from sidecar.core.windows.links import link_lost, link_opened
from sidecar.core.windows.lock_table import LockTable
from sidecar.core.windows.lock_timeouts import LockTimeouts, answer_wait
from sidecar.core.windows.losses import ENDED_BY_GATEWAY, Losses
from sidecar.core.windows.lost_turns import LostTurns
from sidecar.core.windows.patience import DatabasePatience
from sidecar.core.windows.registry import Registry
from sidecar.core.windows.window import Window
from sidecar.core.windows.without_preload import ChangesWithoutPreload


class Engine:
    """Judges every change of every fenced session file.

    Attributes:
        files: What is known of each session file.
        rows: What is known of each transcript in a database.
        registry: What else is known: the linked processes, the windows.
    """

    def __init__(
        self, policy: Policy, mode: Mode, spent: Iterable[Spent] = (), *, apart_from: Doubted | None = None
    ) -> None:
        """Start with no knowledge: custody of everything is unknown until it is established.

        Args:
            policy: The rules in force.
            mode: Whether commands are given.
            spent: Recoveries of an earlier life, which count in the budgets.
            apart_from: The one that looks after this engine, which is of a process that is not believed; else None.
        """
        ledgers, row_ledgers = Ledgers(), RowLedgers()
        self._apart = apart_from is not None
        self._doubted = apart_from or Doubted(self._without_knowledge, self._known)
        self.registry = Registry(Transcripts(ledgers, row_ledgers), self._doubted.claims)
        self._decider = Decider(self.registry, policy, mode, spent)
        self._lost_turns = LostTurns()
        self._late = LateAnswers(self.registry, self._decider, self._lost_turns)
        self._losses = Losses(self.registry, self._decider)
        self._checks = Checks(self.registry, self._decider, self._late, self._losses)
        self._lock_timeouts = LockTimeouts(self.registry, self._decider, self._late)
        without_preload = ChangesWithoutPreload(self.registry.locks)
        self.files = SessionFiles(ledgers, self.registry, self._decider, self._checks, without_preload)
        self._patience = DatabasePatience(self.registry, self._decider)
        self.rows = SessionRows(row_ledgers, self.registry, self._checks, self._patience)

    @property
    def policy(self) -> Policy:
        """The rules in force."""
        return self._decider.policy

    @property
    def mode(self) -> Mode:
        """Whether commands are given."""
        return self._decider.mode

    @property
    def gate(self) -> RecoveryGate:
        """What holds back recoveries."""
        return self._decider.gate

    def _without_knowledge(self) -> "Engine":
        return Engine(self.policy, self.mode, apart_from=self._doubted)

    def _known(self, file: str, at_ns: int) -> Iterator[ev.AccountRecalled]:
        """What believed links have told of a transcript, for an engine that begins with it."""
        ledger, row_ledger = self.files.ledgers.get(file), self.rows.ledgers.get(file)
        if ledger is not None:
            yield ev.AccountRecalled(file=file, account=ledger.account, at_ns=at_ns)
        if row_ledger is not None:
            yield ev.AccountRecalled(file=file, account=row_ledger.account, at_ns=at_ns)

    @property
    def windows(self) -> tuple[Window, ...]:
        """The open windows, those of gateways that are not believed among them."""
        windows = self.registry.windows.values()
        return tuple(windows) if self._apart else (*windows, *self._doubted.windows)

    def window(self, window: str) -> Window | None:
        """The open window with this id."""
        known = self.registry.windows.get(window)
        if known is not None or self._apart:
            return known
        return next((doubted for doubted in self._doubted.windows if doubted.window_id == window), None)

    def custody_unknown(self) -> int:
        """How many files with an open window there are of which custody is unknown."""
        windows = self.registry.windows
        return len({window.file for window in windows.values() if window.account.broken}) if windows else 0

    @property
    def locks(self) -> LockTable:
        """Who holds the session locks."""
        return self.registry.locks

    @property
    def database_locks(self) -> DatabaseLocks:
        """Who holds the databases of agents."""
        return self.registry.database_locks

    def last_holder(self, file: str) -> Writer | None:
        """The linked process that acquired this lock last; None when not known."""
        return self.registry.locks.last_holder(file)

    def open_holds(self, at_ns: int) -> list[HoldEnded]:
        """All open holds, as the end of the sidecar cuts them short."""
        return self.registry.locks.open_holds(at_ns)

    @property
    def gateways(self) -> tuple[Gateway, ...]:
        """The linked processes that are believed."""
        return tuple(self.registry.gateways.values())

    @property
    def doubted(self) -> tuple[Gateway, ...]:
        """The linked processes that are not believed."""
        return tuple(self._doubted.gateways.values())

    def claims(self, file: str) -> tuple[Claim, ...]:
        """What processes that are not believed said that they did to a transcript."""
        return self._doubted.claims.of(file)

    def believes(self, link: str) -> bool:
        """What this link says is taken for true."""
        return link not in self._doubted.gateways

    def is_alone(self, link: str, file: str) -> bool:
        """This link, which is not believed, has a window on a transcript, and no link that is believed has one."""
        if self.believes(link) or self.registry.windows_on(file):
            return False
        return any(window.file == file and window.gateway.link == link for window in self._doubted.windows)

    @property
    def outcomes(self) -> tuple[AnyOutcome, ...]:
        """What came of the event that was handled last, in order. To be told, whatever becomes of its decisions."""
        return tuple(self.registry.outcomes.made)

    def run_of(self, window: str) -> Run | None:
        """The run of a window that is open, or whose history is being read; None for any other."""
        known = self.window(window) or self.registry.closed.get(window)
        return known.run if known is not None else None

    def handle(self, event: ev.Event) -> list[Decision]:
        """Take in one event. What a window's tables do not allow is answered with no, and loses its custody."""
        self.registry.outcomes.made.clear()
        doubted = self._doubted
        if self._apart or not (doubted.gateways or isinstance(event, ev.LinkOpened)):
            return self._handle(event)
        doubted.outcomes.clear()
        if isinstance(event, ev.LinkOpened):
            decisions = self._link_opened(event)
        elif (liar := doubted.said_by(event)) is not None:
            decisions = doubted.heard(liar, event)
        else:
            decisions = [*self._handle(event), *doubted.overheard(event)]
        self.registry.outcomes.made += doubted.outcomes
        return decisions

    def _link_opened(self, event: ev.LinkOpened) -> list[Decision]:
        """What a link says is believed or not from now on; what it said before stays what it was."""
        link, at_ns = event.gateway.link, event.at_ns
        if event.gateway.believed:
            return [*self._doubted.believed(link, at_ns), *self._handle(event)]
        lost = link in self.registry.gateways
        before = self._handle(ev.LinkLost(link=link, clean=False, at_ns=at_ns)) if lost else []
        return [*before, *self._doubted.opened(event)]

    def _handle(self, event: ev.Event) -> list[Decision]:
        outcomes = self.registry.outcomes
        at_ns = event.change.at_ns if isinstance(event, ev.FileChanged) else event.at_ns
        try:
            decisions = self._decide(event)
        except IllegalStepError as error:
            decisions = self._refuse(event, error, at_ns)
        if not decisions:
            return decisions  # as after most events
        outcomes.decided(decisions, self.registry.windows, at_ns)
        return once_each(decisions)

    def _refuse(self, event: ev.Event, error: IllegalStepError, at_ns: int) -> list[Decision]:
        reason = Reason.of(ReasonCode.ILLEGAL_STEP, state=error.state, step=error.step)
        decisions: list[Decision] = []
        window = self.registry.windows.get(error.window)
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
        self.registry.outcomes.add(CustodyLost(loss=Loss.ILLEGAL_STEP, windows=(error.window,), at_ns=at_ns))
        return [*decisions, ReportIllegalStep(window=error.window, reason=reason)]

    def _decide(self, event: ev.Event) -> list[Decision]:  # noqa: C901, PLR0911, PLR0912, PLR0915 - one case for each event
        match event:
            case ev.LinkOpened():
                link_opened(self.registry, event)
                return []
            case ev.LinkLost():
                return link_lost(self.registry, event)
            case ev.AccountBroken():
                self.registry.lose_custody(event.loss, event.reason, event.at_ns, event.file)
                return []
            case ev.FenceSet():
                if isinstance(event.fence, RowVersion):
                    return self.rows.fence_set(event, event.fence)
                return self.files.fence_set(event, event.fence)
            case ev.FenceClosed():
                return self._fence_closed(event)
            case ev.FileChanged():
                if isinstance(event.change, RowChange):
                    return self.rows.changed(event, event.change)
                return self.files.changed(event, event.change)
            case ev.LockTaken():
                return self._lock_taken(event)
            case ev.LockReleased():
                return self._lock_released(event)
            case ev.LockFileSeen():
                return self._lock_file_seen(event)
            case ev.LockFileGone():
                self.registry.locks.gone(event)
                return []
            case ev.FingerprintChanged():
                return self.files.moved(event)
            case ev.DatabaseChanged():
                return self.rows.database_changed(event)
            case ev.DatabaseLocked():
                self.rows.database_locked(event)
                return []
            case ev.DatabaseHeld():
                return self.rows.database_held(event)
            case ev.HoldersHidden():
                self.registry.database_locks.hidden(event.database, hidden=event.hidden)
                return []
            case ev.KernelListening():
                self.registry.kernel_log.listening(event.directory, event.at_ns)
                return []
            case ev.KernelAccess():
                return self._kernel_saw(event)
            case ev.KernelDrained():
                self.registry.kernel_log.heard(event.at_ns)
                return []
            case ev.KernelOverflowed():
                self.registry.kernel_log.deaf(event.at_ns)
                return []
            case ev.SnapshotTaken():
                if isinstance(event.snapshot, RowSnapshot):
                    return self.rows.read(event, event.snapshot)
                return self.files.read(event, event.snapshot)
            case ev.VerdictAsked():
                return self._checks.asked(event)
            case ev.LockTimedOut():
                return self._lock_timeouts.timed_out(event)
            case ev.LockWaitEnded():
                return self._lock_timeouts.wait_ended(event)
            case ev.AnswerLate():
                return self._late.late(event)
            case ev.SidecarHalted():
                return self._late.halted(event)
            case ev.CommandWithheld():
                return self._checks.withheld(event)
            case ev.RecoveryApplied():
                return self._checks.applied(event)
            case ev.TurnTripped():
                if link_of(event.window) and not self._apart:
                    return []  # it was on its way when the link came to be believed, and the window is over
                return self._checks.tripped(event)
            case ev.TurnLost():
                return self._losses.lost(event)
            case ev.WriterClaimed():
                self._losses.claimed(event)
                return []
            case ev.LineageChecked():
                return self._checks.lineage_checked(event)
            case ev.ChainRecalled():
                if isinstance(event.chain, KeptRows):
                    self.rows.ledgers[event.chain.file].recall(event.chain, event.reason)
                else:
                    self.files.ledgers[event.chain.file].recall(event.chain, event.reason)
                return []
            case ev.AccountRecalled():
                if isinstance(event.account, RowAccount):
                    self.rows.ledgers[event.file] = RowLedger(event.account)
                else:
                    self.files.ledgers[event.file] = Ledger(event.account)
                return []
            case ev.TimePassed():
                return [*self.rows.time_passed(event), *self.files.time_passed(event)]
            case ev.GatewayLogged():
                if event.takeover and event.file:
                    self.registry.outcomes.takeover_logged(event.file, event.at_ns)
                return self._lost_turns.told(event, self.registry.windows.values())
            case ev.TimelineNote():
                return self._noted(event)
            case ev.PolicyChanged():
                return [*self._decider.policy_changed(event), *self._patience.withdraw(self.windows)]
            case ev.PauseChanged():
                return [*self._decider.pause_changed(event), *self._patience.withdraw(self.windows)]
            case _:
                assert_never(event)

    @property
    def sessions(self) -> dict[str, str]:
        """The transcripts with an account, and the hash of the session key of each, where a run told it."""
        return {**self.files.sessions, **self.rows.sessions}

    @property
    def unsaved(self) -> bool:
        """There are chains to be kept: `sidecar.core.events.TimePassed` asks for some of them."""
        return self.files.unsaved or self.rows.unsaved

    def is_fenced(self, file: str) -> bool:
        """A window is open on this file."""
        return bool(self.registry.windows_on(file)) or any(w.file == file for w in self._doubted.windows)

    def _fence_closed(self, event: ev.FenceClosed) -> list[Decision]:
        outcomes = self.registry.outcomes
        window = self.registry.windows.get(event.window)
        if window is None:
            if event.takeover:
                outcomes.turn_lost(event.window, None)
            return []
        window.note(event.at_ns, "window closed", "turn lost" if event.takeover else "")
        if event.takeover:
            outcomes.turn_lost(window.window_id, window.incident.verdict if window.incident else None)
        decisions = self._losses.ended(window, event.at_ns)
        if event.takeover or (window.loss is not None and window.loss.cause not in ENDED_BY_GATEWAY):
            decisions += self._checks.lost(window)
        elif window.loss is None:
            decisions += saved(window.went_on(self.mode))
        unproven = bool(window.records) and not event.takeover
        decisions += saved(window.end(event.at_ns, unproven=unproven))
        lost = Ending.ENDED if window.loss is None else Ending.LOST
        outcomes.ended(window, Ending.TAKEOVER if event.takeover else lost, event.at_ns, final=not unproven)
        if event.takeover:
            outcomes.tripped(window, event.at_ns)
        if event.takeover or window.loss is not None:
            self._lost_turns.remember(window)
        return [*decisions, *self.registry.end(window, unproven=unproven)]

    def _lock_taken(self, event: ev.LockTaken) -> list[Decision]:
        self.registry.locks.taken(event)
        for window in self.registry.windows_on(event.file):
            window.note(
                event.at_ns, "lock taken", f"by {event.writer.label()} after {event.wait_ns / NS_PER_MS:.1f} ms"
            )
        return []

    def _lock_released(self, event: ev.LockReleased) -> list[Decision]:
        self.registry.outcomes.add(self.registry.locks.released(event))
        wanted = False
        for window in self.registry.windows_on(event.file):
            window.note(
                event.at_ns, "lock released", f"by {event.writer.label()} after {event.held_ns / NS_PER_MS:.1f} ms"
            )
            wanted = wanted or (event.after != window.fence and not event.writer.is_of(window.run.run_id))
        return [ReadFile(file=event.file, settle=True)] if wanted else []

    def _lock_file_seen(self, event: ev.LockFileSeen) -> list[Decision]:
        if self.registry.named(event.pid) if event.hidden else event.pid in self.registry.linked_pids():
            return []
        self.registry.locks.seen(event)
        which = (
            "of a pid namespace that can't be seen from here" if event.hidden else f"which has no link ({event.exe})"
        )
        for window in self.registry.windows_on(event.file):
            window.note(event.at_ns, "lock taken", f"by process {event.pid}, {which}")
        return []

    def _kernel_saw(self, event: ev.KernelAccess) -> list[Decision]:
        """A stranger at a fenced file is worth a line, the first time of each kind."""
        before = self.registry.kernel_log.saw(event.file, event.process, event.act, event.at_ns)
        for window in self.registry.windows_in(event.file):
            mark = window.account.mark
            news = mark is not None and before <= mark.number
            if news and not self.registry.knows(event.process, window.account.changes):
                window.note(event.at_ns, "seen by the kernel", f"{event.act.value} by {event.process.label()}")
        return []

    def _noted(self, event: ev.TimelineNote) -> list[Decision]:
        for window in self.registry.windows.values():
            if (event.file and window.file == event.file) or (event.run_id and window.run.run_id == event.run_id):
                window.note(event.at_ns, event.what, event.detail)
        return []

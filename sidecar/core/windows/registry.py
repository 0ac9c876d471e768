"""The lists that the rest asks: linked processes, ledgers, open windows, lock table, kernel log."""

from collections.abc import Iterable
from typing import Final

from sidecar.core.custody.account import Accounts, AnyAccount
from sidecar.core.custody.claims import Claims
from sidecar.core.custody.kernel_evidence import KernelEvidence
from sidecar.core.custody.kernel_log import KernelLog
from sidecar.core.decisions import CheckLineage
from sidecar.core.events import WriterClaimed
from sidecar.core.facts.bounded import Bounded
from sidecar.core.facts.gateway import Gateway
from sidecar.core.facts.loss import Loss
from sidecar.core.facts.process import Process
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.rows import is_of_rows, place_of
from sidecar.core.facts.version import AnyChange
from sidecar.core.facts.writer import WriterKind
from sidecar.core.outcomes import CustodyLost
from sidecar.core.questions import AtFence
from sidecar.core.windows.database_locks import DatabaseLocks
from sidecar.core.windows.lock_table import ForeignHold, LockTable
from sidecar.core.windows.outcome_log import OutcomeLog
from sidecar.core.windows.window import Window

MAX_CLAIMS: Final = 1_024
"""Sessions whose last claim is remembered."""

_NOT_SEEN: Final = Reason(ReasonCode.FENCE_NOT_SEEN)


class Registry:
    """Holds a `Window` for each fence, and what its verdicts rest on.

    Attributes:
        gateways: The linked processes, by link.
        accounts: Of each transcript, kept from fence to fence.
        windows: The open ones, by id.
        closed: Windows whose history is being looked at, by id. They are judged no more.
        unsettled: Transcripts that are read at once, before every link could say what it has done.
        claims: What processes that are not believed say that they wrote: names, and no evidence.
    """

    def __init__(self, accounts: Accounts, claims: Claims) -> None:
        self.accounts = accounts
        self.claims = claims
        self.gateways: dict[str, Gateway] = {}
        self.windows: dict[str, Window] = {}
        self.closed: dict[str, Window] = {}
        self.locks = LockTable()
        self.database_locks = DatabaseLocks(self.is_linked)
        self.unsettled: set[str] = set()
        self.kernel_log = KernelLog()
        self.outcomes = OutcomeLog()
        self._claims: Bounded[str, WriterClaimed] = Bounded(MAX_CLAIMS)

    def gateway(self, link: str) -> Gateway:
        """The process on that link, as far as it is known."""
        return self.gateways.get(link) or Gateway(link=link, pid=0)

    def linked_pids(self) -> set[int]:
        """The processes that speak for themselves, by their ids here; 0 for those that can't be seen from here."""
        return {g.visible_pid for g in self.gateways.values()}

    def named(self, pid: int) -> set[str]:
        """The links of the processes that call themselves so: a lock file names its holder in the holder's words."""
        return {g.link for g in self.gateways.values() if g.own_pid == pid}

    def is_linked(self, process: Process) -> bool:
        """The process speaks for itself."""
        return any(process.may_be(g.visible_pid, g.started_at_ns) for g in self.gateways.values())

    def knows(self, process: Process, changes: Iterable[AnyChange]) -> bool:
        """The process is one that speaks, or spoke, for itself, or that declared one of these changes."""
        writers = [c.writer for c in changes]
        declared = any(w.kind is WriterKind.DECLARED and process.may_be(w.pid, 0) for w in writers)
        return self.is_linked(process) or declared or self.kernel_log.was_linked(process)

    def kernel_evidence(self, file: str, account: AnyAccount) -> KernelEvidence:
        """What the kernel says of the time since the head of an account of this transcript was set.

        Of rows, it says who wrote to their database.
        """
        return self.kernel_log.testify(
            place_of(file), account.mark, lambda process: self.knows(process, account.changes)
        )

    def suspect(self, file: str, since_ns: int) -> ForeignHold | None:
        """The process without a link that may have written to this transcript since then; nothing is proven by it."""
        if not is_of_rows(file):
            return self.locks.foreign(file)
        hold = self.database_locks.suspect(place_of(file), since_ns)
        if hold is None:
            return None
        return ForeignHold(hold.process.pid, hold.process.exe, hold.until_ns or since_ns)

    def windows_on(self, file: str) -> list[Window]:
        """The open windows of a transcript."""
        if not self.windows:
            return []
        return [w for w in self.windows.values() if w.file == file]

    def windows_in(self, place: str) -> list[Window]:
        """The open windows of the transcripts in this file: of itself, or of all in this database."""
        return [w for w in self.windows.values() if place_of(w.file) == place]

    def on_link(self, link: str) -> list[Window]:
        """The open windows of a process."""
        return [w for w in self.windows.values() if w.gateway.link == link]

    def window(self, asked: AtFence) -> Window:
        """The window that a gateway speaks of. Custody of one whose beginning was not seen is unknown, and stays so."""
        known = self.windows.get(asked.window)
        if known is not None:
            self.own(known, asked.link)
            return known
        window = self.open(asked)
        self.outcomes.opened(window, partial=True)
        return window

    def open(self, told: AtFence) -> Window:
        """Put a new window on the list of open ones; its account knows nothing yet."""
        window = Window(
            window_id=told.window,
            gateway=self.gateway(told.link),
            file=told.file,
            run=told.run,
            fence=told.fence,
            opened_at_ns=told.at_ns,
            account=self.accounts.beginning(told.fence, _NOT_SEEN),
        )
        self.windows[told.window] = window
        return window

    def fenced(self, told: AtFence, place: str) -> Window:
        """The window whose run named its fence; ``place`` says where that is, for the timeline."""
        window = self.windows.get(told.window)
        if window is None:
            window = self.open(told)
            claim = self._claims.get(told.run.session)
            if claim is not None and claim.run_id == told.run.run_id:
                _note_claim(window, claim)
            window.note(told.at_ns, "fence set", f"at {place}")
            self.outcomes.opened(window)
        else:
            self.own(window, told.link)
            self.outcomes.moved(window, told.fence.size, told.at_ns)
            window.note(told.at_ns, "fence moved", f"to {place}")
        window.run = told.run
        return window

    def claimed(self, event: WriterClaimed) -> None:
        """A run claimed a session: a line in the windows there, and in the one that the run is to open."""
        if not event.session:
            return
        self._claims.put(event.session, event)
        for window in self.windows.values():
            if window.run.session == event.session:
                _note_claim(window, event)

    def end(self, window: Window, *, unproven: bool) -> list[CheckLineage]:
        """Take a window off the list of open ones; ``unproven`` when its history must be read first."""
        del self.windows[window.window_id]
        if not unproven:
            return []
        self.closed[window.window_id] = window
        return [CheckLineage(window=window.window_id, file=window.file, records=tuple(window.records))]

    def own(self, window: Window, link: str) -> None:
        """The process on that link speaks of the window: a gateway that has linked anew takes its windows along."""
        if window.gateway.link != link:
            window.gateway = self.gateway(link)

    def lose_custody(self, loss: Loss, reason: Reason, at_ns: int, file: str = "") -> None:
        """Nothing may be assumed of the time before (rule 5), be it of one transcript or of all."""
        self.accounts.forget(file, reason, at_ns)
        touched = self.windows_on(file) if file else list(self.windows.values())
        self.outcomes.add(CustodyLost(loss=loss, windows=tuple(w.window_id for w in touched), at_ns=at_ns))
        for window in touched:
            window.lose_custody(reason)
            window.note(at_ns, "custody lost", reason=reason)


def _note_claim(window: Window, claim: WriterClaimed) -> None:
    over = f", in place of run {claim.previous}" if claim.previous else ""
    stopped = ", which was stopped" if claim.superseded else ""
    window.note(claim.at_ns, "session claimed", f"by run {claim.run_id}{over}{stopped}")

"""The engine's part that knows transcripts in databases: reports, fences and readings of them."""

from collections.abc import Mapping
from typing import Final

from sidecar.core import events as ev
from sidecar.core.custody.rows.chain import RowChain, examine_chain
from sidecar.core.custody.rows.ledger import RowLedgers
from sidecar.core.custody.rows.names import RowNames
from sidecar.core.decisions import MAX_KEPT_AT_ONCE, Decision, KeepChains, ReadFile, RecallChain
from sidecar.core.facts.database import LockKind
from sidecar.core.facts.rows import RowChange, RowSnapshot, RowVersion, rows_named
from sidecar.core.facts.units import NS_PER_MS, NS_PER_SECOND
from sidecar.core.facts.value import replace
from sidecar.core.outcomes import ForeignHoldEnded
from sidecar.core.windows.checks import Checks
from sidecar.core.windows.life import Life
from sidecar.core.windows.patience import DatabasePatience
from sidecar.core.windows.registry import Registry
from sidecar.core.windows.window import NOT_READ, Window

LONG_WAIT_NS: Final = 100 * NS_PER_MS
"""A wait for a database's lock that is worth a line."""


class SessionRows:
    """Handles what is heard and read of transcripts in databases.

    Attributes:
        ledgers: The account of each transcript.
    """

    def __init__(self, ledgers: RowLedgers, registry: Registry, checks: Checks, patience: DatabasePatience) -> None:
        """Nothing is known of any transcript."""
        self.ledgers = ledgers
        self._registry = registry
        self._checks = checks
        self._patience = patience

    @property
    def unsaved(self) -> bool:
        """There are chains to be kept: `sidecar.core.events.TimePassed` asks for some of them."""
        return any(ledger.names.unsaved for ledger in self.ledgers.values())

    @property
    def sessions(self) -> Mapping[str, str]:
        """The transcripts with an account, and the hash of the session key of each, where a run told it."""
        return {transcript: ledger.session for transcript, ledger in self.ledgers.items()}

    def chain(self, transcript: str, reading: RowSnapshot, at_ns: int) -> RowChain:
        """The chain of custody of a transcript; changes nothing.

        Args:
            transcript: Its id.
            reading: Its rows as they were read; no report about them is outstanding.
            at_ns: The time.
        """
        ledger = self.ledgers.get(transcript)
        if ledger is None:
            return examine_chain(RowNames().kept(transcript, "", at_ns), (), reading)
        kernel_evidence = self._registry.kernel_evidence(transcript, ledger.account)
        return examine_chain(ledger.kept(transcript, at_ns), ledger.account.changes, reading, kernel_evidence)

    def _begin(self, transcript: str) -> list[Decision]:
        """The first word of a transcript: is there something from before?"""
        ledger = self.ledgers[transcript]
        asked, ledger.asked = ledger.asked, True
        return [] if asked else [RecallChain(file=transcript)]

    def time_passed(self, event: ev.TimePassed) -> list[Decision]:
        """Have some of the changed chains kept, and forget what is old."""
        unsaved = [(name, ledger) for name, ledger in self.ledgers.items() if ledger.names.unsaved]
        chains = [ledger.saved(name, event.at_ns) for name, ledger in unsaved[:MAX_KEPT_AT_ONCE]]
        if len(unsaved) <= MAX_KEPT_AT_ONCE:
            # What is put away must have been kept before.
            self.ledgers.prune({w.file for w in self._registry.windows.values()}, event.at_ns)
        kept = tuple(chain for chain in chains if chain.witnessed)
        return [KeepChains(chains=kept)] if kept else []

    def fence_set(self, event: ev.FenceSet, fence: RowVersion) -> list[Decision]:
        """A run committed rows: the account is carried there by the reports, or the transcript is read."""
        window = self._registry.fenced(event, f"row {fence.seq}")
        mark = self._registry.kernel_log.mark()
        begin = self._begin(event.file)
        ledger = self.ledgers[event.file]
        ledger.session = event.run.session or ledger.session
        if ledger.advance(fence, self._registry.kernel_evidence(event.file, ledger.account)) is not None:
            ledger.account = replace(ledger.account, mark=mark)
            window.rebase(fence, ledger.account)
            return [*begin, ReadFile(file=event.file, settle=True)] if window.unjudged is not None else begin
        ledger.account = replace(ledger.account, rows=None, head=fence, changes=(), broken=NOT_READ, mark=mark)
        window.rebase(fence, ledger.account)
        return [*begin, ReadFile(file=event.file, settle=True)]

    def changed(self, event: ev.FileChanged, change: RowChange) -> list[Decision]:
        """A linked process committed a transaction: the account and each open window take it in."""
        begin = self._begin(event.file)
        ledger = self.ledgers[event.file]
        ledger.report(change)
        windows = self._registry.windows_on(event.file)
        # Custody begins with the first word of a transcript, not with the first fence.
        wanted = not windows and not ledger.names.trusted
        for window in windows:
            window.report(change)
            window.tally.unjudged.append(change)
            first, last = (change.rows[0].seq, change.rows[-1].seq) if change.rows else (0, -1)
            rows = rows_named(first, last - first + 1) if change.rows else "rows"
            window.note(change.at_ns, "commit", f"{change.operation.value} of {rows} by {change.writer.label()}")
            wanted = wanted or not change.writer.is_of(window.run.run_id)
        return [*begin, ReadFile(file=event.file, settle=True)] if wanted else begin

    def database_changed(self, event: ev.DatabaseChanged) -> list[Decision]:
        """Somebody committed something: each transcript in that database with a window is read."""
        files = {w.file for w in self._registry.windows_in(event.database)}
        return [ReadFile(file=file, settle=True) for file in sorted(files)]

    def database_locked(self, event: ev.DatabaseLocked) -> None:
        """A write transaction is over. What its run waited for long, or did not have, is a line in its timeline."""
        locks = self._registry.database_locks
        ended = locks.locked(event)
        self._registry.outcomes.add(ended)
        if event.error is None and event.wait_ns < LONG_WAIT_NS:
            return
        whom = "nobody was seen to hold it"
        if ended.holder is not None:
            own = "" if locks.is_foreign(ended.holder) else "the gateway's own "
            whom = f"held by {own}{ended.holder.label()}"
        elif locks.is_hidden(event.database):
            whom = "who held it can't be seen from here"
        waited = f"after {event.wait_ns / NS_PER_SECOND:.1f} s, {whom}"
        for window in self._registry.windows_in(event.database):
            if event.error is not None and event.writer.is_of(window.run.run_id):
                window.note(event.at_ns, "database lock failed", f"{event.error.value} {waited}")
            elif event.writer.is_of(window.run.run_id):
                window.note(event.at_ns, "database lock had", waited)

    def database_held(self, event: ev.DatabaseHeld) -> list[Decision]:
        """A process was seen with a lock of a database. A stranger with the write lock is a line in each timeline."""
        hold = event.hold
        foreign = self._registry.database_locks.held(event)
        if hold.kind is not LockKind.WRITE:
            return []
        windows = self._registry.windows_in(event.database)
        if foreign:
            self._told(event, windows)
        if hold.until_ns:
            return self._patience.withdraw(windows)
        return self._patience.held(hold, windows, event.at_ns, foreign=foreign)

    def _told(self, event: ev.DatabaseHeld, windows: list[Window]) -> None:
        hold = event.hold
        if hold.until_ns:
            self._registry.outcomes.add(ForeignHoldEnded(database=event.database, hold=hold))
        for window in windows:
            if hold.until_ns:
                seconds = (hold.until_ns - hold.since_ns) / NS_PER_SECOND
                window.note(event.at_ns, "database free", f"{hold.label()} held it for {seconds:.1f} s at least")
            else:
                window.note(event.at_ns, "database held", f"by {hold.label()}")

    def read(self, event: ev.SnapshotTaken, reading: RowSnapshot) -> list[Decision]:
        """A transcript was read: to establish custody at a fence, or because something changed in a window."""
        if not event.settled:
            return []
        decisions: list[Decision] = []
        windows = self._registry.windows_on(event.file)
        if not windows and event.file not in self.ledgers:
            return decisions  # no link that is believed has spoken of it
        ledger = self.ledgers[event.file]
        waiting = [w for w in windows if w.may_be_read and w.fence == reading.version]
        for window in windows:
            decisions += self._checks.look_back(window, reading, event.at_ns)
            if window in waiting:
                continue
            if self._is_as_left(window, reading):
                window.compared = True
            else:
                over = window.window_id in event.over or window.state.life is Life.STOPPED
                decisions += self._checks.look(window, reading, event.at_ns, over=over)
        kernel_evidence = self._registry.kernel_evidence(event.file, ledger.account)
        if ledger.read(reading, event.at_ns, kernel_evidence, mark=self._registry.kernel_log.mark()):
            for window in waiting:
                window.read(ledger.account)
        return decisions

    @staticmethod
    def _is_as_left(window: Window, reading: RowSnapshot) -> bool:
        """It is at its fence, all of it: a version tells of the last row only, and an older one may be another."""
        return reading.version == window.fence and not window.account.examined(reading).unexplained

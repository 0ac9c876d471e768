"""The engine's part that knows transcripts in databases: reports, fences and readings of them."""

from sidecar.core import events as ev
from sidecar.core.custody.rows.ledger import RowLedgers
from sidecar.core.decisions import Decision, ReadFile
from sidecar.core.facts.rows import RowChange, RowSnapshot, RowVersion, is_of_rows, parts_of
from sidecar.core.facts.span import Span
from sidecar.core.facts.value import replace
from sidecar.core.windows.checks import Checks
from sidecar.core.windows.life import Life
from sidecar.core.windows.registry import Registry
from sidecar.core.windows.window import NOT_READ, Window


class SessionRows:
    """Handles what is heard and read of transcripts in databases.

    Attributes:
        ledgers: The account of each transcript.
    """

    def __init__(self, ledgers: RowLedgers, registry: Registry, checks: Checks) -> None:
        """Nothing is known of any transcript."""
        self.ledgers = ledgers
        self._registry = registry
        self._checks = checks

    def time_passed(self, event: ev.TimePassed) -> None:
        """Forget what is old."""
        self.ledgers.prune({w.file for w in self._registry.windows.values()}, event.at_ns)

    def fence_set(self, event: ev.FenceSet, fence: RowVersion) -> list[Decision]:
        """A run committed rows: the account is carried there by the reports, or the transcript is read."""
        window = self._registry.fenced(event, f"row {fence.seq}")
        mark = self._registry.kernel_log.mark()
        ledger = self.ledgers[event.file]
        ledger.session = event.run.session or ledger.session
        if ledger.advance(fence) is not None:
            ledger.account = replace(ledger.account, mark=mark)
            window.rebase(fence, ledger.account)
            return [ReadFile(file=event.file, settle=True)] if window.unjudged is not None else []
        ledger.account = replace(ledger.account, rows=None, head=fence, changes=(), broken=NOT_READ, mark=mark)
        window.rebase(fence, ledger.account)
        return [ReadFile(file=event.file, settle=True)]

    def changed(self, event: ev.FileChanged, change: RowChange) -> list[Decision]:
        """A linked process committed a transaction: the account and each open window take it in."""
        self.ledgers[event.file].report(change)
        windows = self._registry.windows_on(event.file)
        wanted = False
        for window in windows:
            window.report(change)
            window.tally.unjudged.append(change)
            rows = f"{change.rows[0].seq} to {change.rows[-1].seq}" if change.rows else "none"
            window.note(change.at_ns, "commit", f"{change.operation.value} of rows {rows} by {change.writer.label()}")
            wanted = wanted or not change.writer.is_of(window.run.run_id)
        return [ReadFile(file=event.file, settle=True)] if wanted else []

    def database_changed(self, event: ev.DatabaseChanged) -> list[Decision]:
        """Somebody committed something: each transcript in that database with a window is read."""
        files = {
            w.file
            for w in self._registry.windows.values()
            if is_of_rows(w.file) and parts_of(w.file)[0] == event.database
        }
        return [ReadFile(file=file, settle=True) for file in sorted(files)]

    def read(self, event: ev.SnapshotTaken, reading: RowSnapshot) -> list[Decision]:
        """A transcript was read: to establish custody at a fence, or because something changed in a window."""
        if not event.settled:
            return []
        decisions: list[Decision] = []
        windows = self._registry.windows_on(event.file)
        ledger = self.ledgers[event.file]
        waiting = [w for w in windows if w.may_be_read and w.fence == reading.version]
        strange: list[Span] = list(ledger.strange) if ledger.account.head == reading.version else []
        for window in windows:
            decisions += self._checks.look_back(window, reading, event.at_ns)
            if window not in waiting and not self._is_as_left(window, reading):
                over = window.window_id in event.over or window.state.life is Life.STOPPED
                decisions += self._checks.look(window, reading, event.at_ns, over=over)
                strange += window.strange
        if ledger.read(reading, event.at_ns, strange, mark=self._registry.kernel_log.mark()):
            for window in waiting:
                window.read(ledger.account)
        return decisions

    @staticmethod
    def _is_as_left(window: Window, reading: RowSnapshot) -> bool:
        """It is at its fence, all of it: a version tells of the last row only, and an older one may be another."""
        return reading.version == window.fence and not window.account.examined(reading).unexplained

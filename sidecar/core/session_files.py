"""The engine's part that knows session files: reports, fences and readings of them, and their custody reports."""

from collections.abc import Mapping

from sidecar.core import events as ev
from sidecar.core.custody.files.chain import Chain, beginning, examine
from sidecar.core.custody.files.ledgers import Ledgers
from sidecar.core.decisions import MAX_KEPT_AT_ONCE, Decision, KeepChains, ReadFile, RecallChain
from sidecar.core.facts.change import Change
from sidecar.core.facts.content import Snapshot
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.span import Span
from sidecar.core.facts.value import replace
from sidecar.core.windows.checks import Checks
from sidecar.core.windows.decide import Decider
from sidecar.core.windows.life import Life
from sidecar.core.windows.registry import Registry
from sidecar.core.windows.window import NOT_READ
from sidecar.core.windows.without_preload import ChangesWithoutPreload


class SessionFiles:
    """Handles what is heard and read of session files.

    Attributes:
        ledgers: The account of each session file.
    """

    def __init__(
        self,
        ledgers: Ledgers,
        registry: Registry,
        decider: Decider,
        checks: Checks,
        without_preload: ChangesWithoutPreload,
    ) -> None:
        self.ledgers = ledgers
        self._registry = registry
        self._decider = decider
        self._checks = checks
        self._without_preload = without_preload

    def is_untouched(self, file: str, now: Fingerprint) -> bool:
        """The file still is as it was at its fence, or as its account has it: it has met nothing that could be lost."""
        ledger = self.ledgers.get(file)
        at_rest = ledger is None or (ledger.account.head == now and not ledger.account.changes)
        return at_rest and all(w.fence == now and not w.account.changes for w in self._registry.windows_on(file))

    @property
    def unsaved(self) -> bool:
        """There are chains to be kept: `sidecar.core.events.TimePassed` asks for some of them."""
        return any(ledger.unsaved for ledger in self.ledgers.values())

    @property
    def sessions(self) -> Mapping[str, str]:
        """The files with an account, and the hash of the session key of each, where a run told it."""
        return {file: ledger.session for file, ledger in self.ledgers.items()}

    def chain(self, file: str, snapshot: Snapshot, at_ns: int) -> Chain:
        """The chain of custody of a file; changes nothing.

        Args:
            file: Path of the session file.
            snapshot: The file as it was read; no report about it is outstanding.
            at_ns: The time.
        """
        ledger = self.ledgers.get(file)
        if ledger is None:
            return examine(beginning(file, at_ns), (), snapshot)
        kernel_evidence = self._registry.kernel_evidence(file, ledger.account)
        return examine(ledger.kept(file, at_ns), ledger.account.changes, snapshot, kernel_evidence, ledger.strange)

    def _begin(self, file: str) -> list[Decision]:
        """The first word of a file: is there something from before?"""
        ledger = self.ledgers[file]
        asked, ledger.asked = ledger.asked, True
        return [] if asked else [RecallChain(file=file)]

    def time_passed(self, event: ev.TimePassed) -> list[Decision]:
        """Have some of the changed custody reports kept, and forget what is old."""
        unsaved = [(file, ledger) for file, ledger in self.ledgers.items() if ledger.unsaved]
        chains = [ledger.saved(file, event.at_ns) for file, ledger in unsaved[:MAX_KEPT_AT_ONCE]]
        if len(unsaved) <= MAX_KEPT_AT_ONCE:
            # What is put away must have been kept before.
            self.ledgers.prune({w.file for w in self._registry.windows.values()}, event.at_ns)
            self._without_preload.prune(event.at_ns)
        kept = tuple(chain for chain in chains if chain.witnessed)
        return [KeepChains(chains=kept)] if kept else []

    def moved(self, event: ev.FingerprintChanged) -> list[Decision]:
        """A fenced file is read again; a change by a process without a link is noted."""
        windows = self._registry.windows_on(event.file)
        if windows:
            moved = any(w.fence != event.fingerprint for w in windows)
            return [ReadFile(file=event.file, settle=True)] if moved else []
        ledger = self.ledgers.get(event.file)
        if ledger is not None and ledger.has_word_of(event.fingerprint):
            return []  # whoever did it spoke for itself, and may be gone by now
        return list(self._without_preload.changed(event, self._registry.linked_pids(), self._decider.mode))

    def fence_set(self, event: ev.FenceSet, fence: Fingerprint) -> list[Decision]:
        """A run named its fence: the account is carried there by the reports, or the file is read."""
        window = self._registry.fenced(event, f"{fence.size} bytes")
        mark = self._registry.kernel_log.mark()
        begin = self._begin(event.file)
        ledger = self.ledgers[event.file]
        ledger.session = event.run.session or ledger.session
        ledger.expire(event.at_ns)
        if ledger.advance(fence, self._registry.kernel_evidence(event.file, ledger.account)) is not None:
            ledger.account = replace(ledger.account, mark=mark)
            window.rebase(fence, ledger.account)
            # The reports lead here, but none says whose the file is: that takes a reading.
            unowned = fence.exists and ledger.account.uid < 0
            return [*begin, ReadFile(file=event.file)] if unowned else begin
        window.rebase(fence, replace(ledger.account.unread(fence, NOT_READ), mark=mark))
        self._registry.unsettled.add(event.file)
        read: list[Decision] = [*begin, ReadFile(file=event.file)]
        # What the fence has left behind is judged when all reports about it are in.
        return read if window.unjudged is None else [*read, ReadFile(file=event.file, settle=True)]

    def changed(self, event: ev.FileChanged, change: Change) -> list[Decision]:
        """A linked process reported a change: the account and each open window take it in."""
        begin = self._begin(event.file)
        ledger = self.ledgers[event.file]
        ledger.report(change)
        windows = self._registry.windows_on(event.file)
        for window in windows:
            window.report(change)
            if change.finished:
                window.tally.unjudged.append(change)
                span = f" {change.length} bytes at {change.offset}" if change.length else ""
                window.note(change.at_ns, "write", f"{change.operation.value}{span} by {change.writer.label()}")
        if not windows:
            if change.finished and ledger.account.manifest is None:
                # Custody begins with the first word of a file, not with the first fence.
                return [*begin, ReadFile(file=event.file, settle=True)]
            return begin
        if change.finished and any(w.may_be_read for w in windows):
            # It was under way at a fence, and so nothing could be concluded from a reading.
            return [*begin, ReadFile(file=event.file, settle=True)]
        return begin

    def read(self, event: ev.SnapshotTaken, snapshot: Snapshot) -> list[Decision]:
        """The file was read: either to establish custody at a fence, or because something changed in a window."""
        decisions: list[Decision] = []
        windows = self._registry.windows_on(event.file)
        if not windows and event.file not in self.ledgers:
            return decisions  # no link that is believed has spoken of it
        waiting = [w for w in windows if w.may_be_read and w.fence == snapshot.fingerprint]
        for window in windows:
            window.account = window.account.owned(snapshot)
        ledger = self.ledgers[event.file]
        strange: list[Span] = []
        fenced = True
        if event.file in self._registry.unsettled or not event.settled:
            # Nothing can be concluded about other windows: reports of what was read may be on their way.
            self._registry.unsettled.discard(event.file)
            if not ledger.may_take(snapshot, (w.fence for w in windows if isinstance(w.fence, Fingerprint))):
                return decisions
        else:
            fenced = bool(windows)
            if ledger.account.head == snapshot.fingerprint:
                strange += ledger.strange  # the file is as it was when they were seen
            for window in windows:
                decisions += self._checks.look_back(window, snapshot, event.at_ns)
                if window.fence != snapshot.fingerprint:
                    over = window.window_id in event.over or window.state.life is Life.STOPPED
                    decisions += self._checks.look(window, snapshot, event.at_ns, over=over)
                    strange += window.strange
        kernel_evidence, mark = (
            self._registry.kernel_evidence(event.file, ledger.account),
            self._registry.kernel_log.mark(),
        )
        manifest = ledger.read(snapshot, event.at_ns, kernel_evidence, strange, mark=mark, fenced=fenced)
        for window in waiting:
            if manifest is not None:
                window.read(ledger.account)
        return decisions

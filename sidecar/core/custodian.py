"""The state machine of the core: events in, decisions out.

It keeps a `Ledger` for each session file and a `Window` for each fence. Nothing happens without an event; the same
events in the same order give the same decisions. Times come with the events.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, assert_never

from sidecar.core import events as ev
from sidecar.core.decisions import Approve, CheckLineage, Decision, Page, ReadFile, Refuse, SaveIncident
from sidecar.core.gateway import Gateway
from sidecar.core.incident import Outcome
from sidecar.core.ledger import ForeignHold, Ledger
from sidecar.core.policy import Mode
from sidecar.core.unlinked import UnlinkedChanges
from sidecar.core.verdict import Evidence, Judgement, Verdict, judge
from sidecar.core.window import Window

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.core.content import Snapshot
    from sidecar.core.fingerprint import Fingerprint
    from sidecar.core.gateway import Run
    from sidecar.core.incident import Incident
    from sidecar.core.policy import Policy
    from sidecar.core.writer import Writer

_NS_PER_MS: Final = 1_000_000
_RESTARTED: Final = "the sidecar did not see this fence being set"


class Custodian:
    """Judges every change of every fenced session file."""

    def __init__(self, policy: Policy, mode: Mode) -> None:
        """Start with no knowledge: custody of everything is unknown until it is established."""
        self.policy = policy
        self.mode = mode
        self._gateways: dict[str, Gateway] = {}
        self._ledgers: dict[str, Ledger] = {}
        self._windows: dict[str, Window] = {}
        self._closed: dict[str, Window] = {}
        """Windows whose history is being looked at. They are judged no more."""
        self._unsettled: set[str] = set()
        """Files that are read at once, before every link could say what it has done."""
        self._unlinked = UnlinkedChanges()

    @property
    def windows(self) -> tuple[Window, ...]:
        """The open windows."""
        return tuple(self._windows.values())

    @property
    def gateways(self) -> tuple[Gateway, ...]:
        """The linked processes."""
        return tuple(self._gateways.values())

    def handle(self, event: ev.Event) -> list[Decision]:  # noqa: C901, PLR0911, PLR0912 - one case for each event
        """Take in one event."""
        match event:
            case ev.LinkOpened():
                return self._link_opened(event)
            case ev.LinkLost():
                return self._link_lost(event)
            case ev.AccountBroken():
                return self._account_broken(event)
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
                return list(self._unlinked.lock_gone(event))
            case ev.FileMoved():
                return self._file_moved(event)
            case ev.SnapshotTaken():
                return self._snapshot_taken(event)
            case ev.VerdictAsked():
                return self._verdict_asked(event)
            case ev.RecoveryApplied():
                return self._recovery_applied(event)
            case ev.TurnTripped():
                return self._turn_tripped(event)
            case ev.LineageChecked():
                return self._lineage_checked(event)
            case ev.Noted():
                return self._noted(event)
            case _:
                assert_never(event)

    def is_fenced(self, file: str) -> bool:
        """A window is open on this file."""
        return any(w.file == file for w in self._windows.values())

    def _file_moved(self, event: ev.FileMoved) -> list[Decision]:
        """A fenced file is read again; a change by a process without a link is noted."""
        windows = self._on_file(event.file)
        if windows:
            moved = any(w.fence != event.fingerprint for w in windows)
            return [ReadFile(file=event.file, settle=True)] if moved else []
        linked = {g.pid for g in self._gateways.values()}
        return list(self._unlinked.changed(event, linked, self.mode))

    def _link_opened(self, event: ev.LinkOpened) -> list[Decision]:
        gateway = event.gateway
        self._gateways[gateway.link] = gateway
        self._unlinked.linked(gateway.pid)
        for ledger in self._ledgers.values():
            if ledger.foreign is not None and ledger.foreign.pid == gateway.pid:
                ledger.foreign = None
        for window in self._on_link(gateway.link):
            window.gateway = gateway
        return []

    def _link_lost(self, event: ev.LinkLost) -> list[Decision]:
        self._gateways.pop(event.link, None)
        decisions: list[Decision] = []
        for window in self._on_link(event.link):
            window.note(event.at_ns, "link lost", "the gateway ended" if event.clean else "without a goodbye")
            decisions += self._save(window.close(event.at_ns))
            del self._windows[window.window_id]
        for ledger in self._ledgers.values():
            ledger.abandon(event.link)
        for window in self._windows.values():
            window.abandon(event.link)
        if not event.clean:
            decisions += self._break("a gateway's link was lost without a goodbye", event.at_ns)
        return decisions

    def _account_broken(self, event: ev.AccountBroken) -> list[Decision]:
        return self._break(event.reason, event.at_ns)

    def _break(self, reason: str, at_ns: int) -> list[Decision]:
        for ledger in self._ledgers.values():
            ledger.forget()
        for window in self._windows.values():
            window.lose_custody(reason)
            window.note(at_ns, "custody lost", reason)
        return []

    def _fence_set(self, event: ev.FenceSet) -> list[Decision]:
        window = self._windows.get(event.window)
        if window is None:
            window = Window(event.window, self._gateway(event.link), event.file, event.run, event.fence, event.at_ns)
            self._windows[event.window] = window
            window.note(event.at_ns, "fence set", f"at {event.fence.size} bytes")
        else:
            window.note(event.at_ns, "fence moved", f"to {event.fence.size} bytes")
        window.run = event.run
        ledger = self._ledger(event.file)
        ledger.expire(event.at_ns)
        trusted = ledger.advance(event.fence)
        since = [c for c in ledger.changes if trusted is not None or not c.finished]
        window.rebase(event.fence, trusted, ledger.uid, since)
        if trusted is not None:
            return []
        self._unsettled.add(event.file)
        return [ReadFile(file=event.file)]

    def _fence_closed(self, event: ev.FenceClosed) -> list[Decision]:
        window = self._windows.pop(event.window, None)
        if window is None:
            return []
        window.note(event.at_ns, "window closed", "turn lost" if event.takeover else "")
        decisions = self._lost(window) if event.takeover else self._save(window.went_on(self.mode))
        decisions += self._save(window.close(event.at_ns))
        if window.records and not event.takeover:
            # The last of its batch: the answer may come at once, and what it changes must be saved after the above.
            self._closed[window.window_id] = window
            decisions.append(CheckLineage(window=window.window_id, file=window.file, records=tuple(window.records)))
        return decisions

    def _lost(self, window: Window) -> list[Decision]:
        """The gateway stopped the turn."""
        incident = window.lost(self.mode)
        if incident is None:
            return []
        paging = self._page(window) if incident.recovery.outcome is Outcome.INEFFECTIVE else []
        return [SaveIncident(incident=incident), *paging]

    def _file_changed(self, event: ev.FileChanged) -> list[Decision]:
        change = event.change
        self._ledger(event.file).report(change)
        for window in self._on_file(event.file):
            window.report(change)
            if change.finished:
                span = f" {change.length} bytes at {change.offset}" if change.length else ""
                window.note(change.at_ns, "write", f"{change.operation.value}{span} by {change.writer.label()}")
        return []

    def _lock_taken(self, event: ev.LockTaken) -> list[Decision]:
        for window in self._on_file(event.file):
            window.note(
                event.at_ns, "lock taken", f"by {event.writer.label()} after {event.wait_ns / _NS_PER_MS:.1f} ms"
            )
        return []

    def _lock_released(self, event: ev.LockReleased) -> list[Decision]:
        wanted = False
        for window in self._on_file(event.file):
            window.note(
                event.at_ns, "lock released", f"by {event.writer.label()} after {event.held_ns / _NS_PER_MS:.1f} ms"
            )
            wanted = wanted or (event.after != window.fence and not _is_own(event.writer, window.run))
        return [ReadFile(file=event.file, settle=True)] if wanted else []

    def _lock_file_seen(self, event: ev.LockFileSeen) -> list[Decision]:
        if event.pid in {g.pid for g in self._gateways.values()}:
            return []
        self._ledger(event.file).foreign = ForeignHold(event.pid, event.exe, event.at_ns)
        for window in self._on_file(event.file):
            window.note(event.at_ns, "lock taken", f"by process {event.pid}, which has no link ({event.exe})")
        self._unlinked.lock_seen(event)
        return []

    def _snapshot_taken(self, event: ev.SnapshotTaken) -> list[Decision]:
        """The file was read: either to establish custody at a fence, or because something changed in a window."""
        decisions: list[Decision] = []
        windows = self._on_file(event.file)
        waiting = [w for w in windows if w.may_be_read and w.fence == event.snapshot.fingerprint]
        if event.file in self._unsettled:
            # Nothing can be concluded about other windows: reports of what was read may be on their way.
            self._unsettled.discard(event.file)
        else:
            for window in windows:
                if window.fence != event.snapshot.fingerprint:
                    decisions += self._look(window, event.snapshot, event.at_ns)
        manifest = self._ledger(event.file).read(event.snapshot)
        for window in waiting:
            if manifest is not None:
                window.rebase(window.fence, manifest, event.snapshot.uid, window.changes)
        return decisions

    def _look(self, window: Window, snapshot: Snapshot, at_ns: int) -> list[Decision]:
        """Judge a change that the gateway has not asked about yet; push an approval or find a takeover early."""
        judgement = self._judge(window, snapshot)
        if judgement.verdict is Verdict.UNATTRIBUTED:
            return []
        judgement = self._observe(window, judgement, snapshot.fingerprint, at_ns)
        if not judgement.may_recover:
            return self._refused(window, judgement)
        if self.mode is not Mode.RECOVER:
            return self._not_attempted(window)
        step = (window.fence, snapshot.fingerprint)
        if window.approved == step:
            return []
        window.approved = step
        approved = window.amend(window.recovery(Outcome.APPROVED, self.mode, judgement.reason))
        return [
            SaveIncident(incident=approved),
            Approve(
                link=window.gateway.link,
                window=window.window_id,
                file=window.file,
                fence=window.fence,
                current=snapshot.fingerprint,
            ),
        ]

    def _observe(self, window: Window, judgement: Judgement, current: Fingerprint, at_ns: int) -> Judgement:
        """Take a judgement into the window's incident.

        Returns:
            The judgement, or a refusal if a takeover was seen in this window before: that its bytes are gone again
            does not mean that no one has read them.
        """
        incident = window.observe(judgement, current, self._foreign(window.file), at_ns)
        if incident.verdict is not Verdict.EXTERNAL or judgement.verdict is Verdict.EXTERNAL:
            return judgement
        reason = f"a foreign change was seen in this window before: {incident.reason}"
        return replace(judgement, verdict=Verdict.EXTERNAL, reason=reason, may_recover=False)

    def _verdict_asked(self, event: ev.VerdictAsked) -> list[Decision]:
        window = self._windows.get(event.window)
        if window is None:
            window = self._adopt(event.link, event.window, event.file, event)
        if window.fence != event.fence:
            window.lose_custody("the fence is not the one that was reported")
        if event.unheard:
            window.lose_custody("another linked process did not say in time what it had done")
        if event.snapshot.fingerprint != event.current:
            # Nothing is concluded from it: the gateway asks again, or its own fence stops the turn.
            return [self._answer_no(event, Verdict.UNATTRIBUTED, "the file changed again while it was looked at")]
        judgement = self._judge(window, event.snapshot)
        judgement = self._observe(window, judgement, event.current, event.at_ns)
        if not judgement.may_recover:
            return [*self._refused(window, judgement), self._answer_no(event, judgement.verdict, judgement.reason)]
        if self.mode is not Mode.RECOVER:
            return [*self._not_attempted(window), self._answer_no(event, judgement.verdict, "the mode is observe")]
        window.approved = (event.fence, event.current)
        saved = window.amend(window.recovery(Outcome.APPROVED, self.mode, judgement.reason))
        return [
            SaveIncident(incident=saved),
            Approve(
                link=event.link,
                window=event.window,
                file=event.file,
                fence=event.fence,
                current=event.current,
                ask=event.ask,
            ),
        ]

    def _answer_no(self, event: ev.VerdictAsked, verdict: Verdict, reason: str) -> Refuse:
        return Refuse(link=event.link, window=event.window, ask=event.ask, verdict=verdict, reason=reason)

    def _refused(self, window: Window, judgement: Judgement) -> list[Decision]:
        incident = window.amend(window.recovery(Outcome.REFUSED, self.mode, judgement.reason))
        paging = self._page(window) if incident.verdict is Verdict.EXTERNAL else []
        return [SaveIncident(incident=window.snapshot()), *paging]

    def _not_attempted(self, window: Window) -> list[Decision]:
        reason = f"the mode is {self.mode.value}"
        return self._save(window.amend(window.recovery(Outcome.NOT_ATTEMPTED, self.mode, reason)))

    def _page(self, window: Window) -> list[Decision]:
        """One page for each incident, whatever else happens in it."""
        if window.incident is None or window.incident.paged:
            return []
        incident = window.amend(paged=True)
        return [SaveIncident(incident=incident), Page(incident=incident)]

    def _recovery_applied(self, event: ev.RecoveryApplied) -> list[Decision]:
        window = self._windows.get(event.window)
        if window is None or window.incident is None:
            return []
        window.approved = None
        if not event.applied:
            window.note(event.at_ns, "recovery refused by the gateway's preload", event.reason)
            reason = f"the gateway's preload refused: {event.reason}"
            return self._save(window.amend(window.recovery(Outcome.REFUSED, self.mode, reason)))
        window.note(event.at_ns, "recovery applied", "ahead of the check" if event.pushed else "at the check")
        window.records.extend(event.records)
        known = window.recovery(Outcome.APPLIED, self.mode, window.incident.reason, event.latency_ns / _NS_PER_MS)
        return self._save(window.amend(known.counted(pushed=event.pushed)))

    def _turn_tripped(self, event: ev.TurnTripped) -> list[Decision]:
        window = self._windows.get(event.window)
        if window is None:
            window = self._adopt(event.link, event.window, event.file, event)
        window.note(event.at_ns, "turn stopped", "by the gateway's own fence")
        outcome = window.incident.recovery.outcome if window.incident else Outcome.NONE
        judgement = self._judge(window, event.snapshot)
        # What was judged at the check, under the lock, stands, unless a takeover shows now.
        if window.incident is None or judgement.verdict is Verdict.EXTERNAL:
            window.observe(judgement, event.snapshot.fingerprint, self._foreign(window.file), event.at_ns)
        incident = window.amend(turn_lost=True)
        decisions: list[Decision] = [SaveIncident(incident=incident)]
        if incident.verdict is Verdict.EXTERNAL:
            if outcome is not Outcome.REFUSED:
                window.amend(window.recovery(Outcome.REFUSED, self.mode, incident.reason))
            return [SaveIncident(incident=window.snapshot()), *self._page(window)]
        if outcome in {Outcome.APPROVED, Outcome.APPLIED}:
            return self._lost(window)
        if outcome is Outcome.NONE:
            reason = "the gateway did not wait for a command" if not window.broken else window.broken
            decisions = self._save(window.amend(window.recovery(Outcome.NOT_ATTEMPTED, self.mode, reason)))
        return decisions

    def _lineage_checked(self, event: ev.LineageChecked) -> list[Decision]:
        window = self._closed.pop(event.window, None)
        if window is None or window.incident is None or not event.missing:
            return []
        reason = f"records {', '.join(event.missing[:4])} are not on the path to the root: the history has forked"
        window.note(event.at_ns, "history forked", reason)
        window.amend(window.recovery(Outcome.INEFFECTIVE, self.mode, reason))
        return [SaveIncident(incident=window.snapshot()), *self._page(window)]

    def _noted(self, event: ev.Noted) -> list[Decision]:
        for window in self._windows.values():
            if (event.file and window.file == event.file) or (event.run_id and window.run.run_id == event.run_id):
                window.note(event.at_ns, event.what, event.detail)
        return []

    def _adopt(self, link: str, window_id: str, file: str, event: ev.VerdictAsked | ev.TurnTripped) -> Window:
        """A window whose beginning was not seen: custody of it is unknown, and stays so."""
        window = Window(window_id, self._gateway(link), file, event.run, event.fence, event.at_ns)
        window.lose_custody(_RESTARTED)
        self._windows[window_id] = window
        return window

    def _judge(self, window: Window, snapshot: Snapshot) -> Judgement:
        evidence = Evidence(
            run_id=window.run.run_id,
            fence=window.fence,
            trusted=window.trusted,
            trusted_uid=window.trusted_uid,
            changes=tuple(window.changes),
            snapshot=snapshot,
            broken=window.broken,
            can_reload=window.gateway.can_reload,
        )
        return judge(evidence, self.policy)

    def _save(self, incident: Incident | None) -> list[Decision]:
        return [] if incident is None else [SaveIncident(incident=incident)]

    def _gateway(self, link: str) -> Gateway:
        return self._gateways.get(link) or Gateway(link=link, pid=0)

    def _ledger(self, file: str) -> Ledger:
        return self._ledgers.setdefault(file, Ledger())

    def _foreign(self, file: str) -> ForeignHold | None:
        return self._ledger(file).foreign

    def _on_file(self, file: str) -> list[Window]:
        return [w for w in self._windows.values() if w.file == file]

    def _on_link(self, link: str) -> Iterable[Window]:
        return [w for w in self._windows.values() if w.gateway.link == link]


def _is_own(writer: Writer, run: Run) -> bool:
    return bool(run.run_id) and writer.run_id == run.run_id

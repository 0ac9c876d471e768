"""Feeds the core and carries out what it decides: one event at a time, all decisions of one before the next.

docs/driving-the-core.md is the contract that this keeps. Everything runs in one thread.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from sidecar.core import decisions as de
from sidecar.core import events as ev
from sidecar.core.court import UNHEARD
from sidecar.core.errors import SidecarError
from sidecar.core.reasons import Reason, ReasonCode
from sidecar.core.recorder import Recorder
from sidecar.driver.lineage import LineageCheck
from sidecar.driver.owed import OwedPages
from sidecar.driver.questions import Questions
from sidecar.driver.reads import SyncedReads
from sidecar.driver.tasks import Tasks
from sidecar.driver.window_ends import WindowEnds
from sidecar.words import sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.core.chain import Chain
    from sidecar.core.content import Snapshot
    from sidecar.core.custodian import Custodian
    from sidecar.core.questions import Question
    from sidecar.driver.ports import ChainSink, IncidentSink, Links, Listener, PageSink, RecordingSink

_UNHEARD: Final = sentence(UNHEARD)

log = structlog.get_logger("sidecar.driver")


class Driver:
    """The one who drives the `Custodian`."""

    def __init__(  # noqa: PLR0917 - a hub is made of its ports
        self,
        custodian: Custodian,
        incidents: IncidentSink,
        pages: PageSink,
        listener: Listener,
        links: Links,
        drain: Callable[[], None],
        now_ns: Callable[[], int],
        chains: ChainSink | None = None,
        recordings: RecordingSink | None = None,
    ) -> None:
        """Wire the hub; nothing happens before the first event."""
        self._custodian = custodian
        self._incidents = incidents
        self._pages = pages
        self._listener = listener
        self._links = links
        self._now_ns = now_ns
        self._chains = chains
        self._recordings = recordings
        self._recorder = Recorder(custodian)
        self._owed = OwedPages(incidents, pages)
        self._reads = SyncedReads(links, drain, self._looked)
        self._lineage = LineageCheck(self.handle, now_ns)
        self._tasks = Tasks()
        self._ends = WindowEnds(self.handle, self._tasks.spawn)
        self._questions = Questions(
            self.handle, custodian, links, self._reads, self._ends, self._tasks, listener, now_ns
        )
        self._waiting: deque[ev.Event] = deque()
        self._brought: list[ev.Event] = []
        """Heard while the decisions of one event are carried out; told right after them."""
        self._busy = False
        self.unsaved = 0
        self.last_error = ""

    def handle(self, event: ev.Event) -> None:
        """Tell the core, and carry out what it decides, in order.

        While that is done for one event, a further one is only taken note of: it is told when all decisions of the one
        are carried out, in the order of arrival, ahead of everything that waited before.
        """
        if self._busy:
            self._brought.append(event)
            return
        self._waiting.append(event)
        while self._waiting:
            self._take(self._waiting.popleft())

    def _take(self, event: ev.Event) -> None:
        self._busy = True
        try:
            with self._listener.within(event):
                self._handle(event)
        finally:
            self._busy = False
            self._waiting.extendleft(reversed(self._brought))
            self._brought.clear()

    def _handle(self, event: ev.Event) -> None:
        self._listener.event(event)
        decisions = self._recorder.handle(event)
        for outcome in self._custodian.outcomes:
            self._listener.outcome(outcome)
        for number, decision in enumerate(decisions):
            try:
                self._carry_out(decision)
            except SidecarError as error:
                # What could not be recorded must not be done (rule 6): the rest of the batch stays undone, a gateway
                # that waits for it goes on as unpatched, and the status says so. Pages are made up for.
                self._not_recorded(type(decision).__name__, error)
                self._owed.undone(decisions[number:])
                return
        if isinstance(event, ev.TimePassed) or any(isinstance(d, de.SaveIncident) for d in decisions):
            self._settle()

    def _settle(self) -> None:
        try:
            self._owed.settle()
        except SidecarError as error:
            self._not_recorded("Page", error)

    def _not_recorded(self, what: str, error: SidecarError) -> None:
        self.unsaved += 1
        self.last_error = str(error)
        log.error("not_recorded", decision=what, error=str(error))

    def is_fenced(self, file: str) -> bool:
        """A window is open on this file."""
        return self._custodian.is_fenced(file)

    def look_again(self, moved: ev.FileMoved) -> None:
        """More is known of a change that the watch has told already."""
        if self._custodian.is_fenced(moved.file):
            self.handle(moved)

    async def asked(self, question: Question) -> None:
        """A gateway waits for an answer, or its turn was stopped."""
        await self._questions.asked(question)

    def closed(self, event: ev.FenceClosed) -> None:
        """A run is done with its window. What was said of the window before comes first."""
        self._questions.over(event.window)
        window = self._custodian.window(event.window)
        self._ends.closed(event, self._reads.at({window.file} if window is not None else set()))

    def lost(self, event: ev.LinkLost) -> None:
        """A link is gone. What it said of its windows before comes first."""
        left = [w for w in self._custodian.windows if w.gateway.link == event.link]
        self._ends.lost(event, [w.window_id for w in left], self._reads.at({w.file for w in left}))

    async def stop(self) -> None:
        """End what is under way, but for histories: a recovery without a look at its history has no outcome."""
        self._settle()
        await self._lineage.stop()
        await self._reads.stop()
        await self._tasks.stop()

    def _carry_out(self, decision: de.Decision) -> None:
        match decision:
            case de.SaveIncident():
                self._incidents.save(decision.incident, decision.spent_at_ns)
                self._owed.heard(decision.incident)
            case de.Approve() | de.Withdraw() | de.Refuse() | de.AnswerWait():
                self._send(decision)
            case de.Page():
                self._pages.page(decision.incident, decision.about)
            case de.CheckLineage():
                self._lineage.check(decision)
            case de.ReportIllegalStep():
                log.error("illegal_step", window=decision.window, detail=sentence(decision.reason))
            case de.RecallChain() | de.KeepChains() | de.KeepRecording():
                self._remember(decision)
            case de.ReadFile(settle=True):
                self._reads.settle(decision.file)
            case de.ReadFile():
                snapshot = self._reads.now(decision.file)
                at_ns = self._now_ns()
                self.handle(ev.SnapshotTaken(file=decision.file, snapshot=snapshot, at_ns=at_ns, settled=False))

    def _remember(self, decision: de.RecallChain | de.KeepChains | de.KeepRecording) -> None:
        match decision:
            case de.RecallChain():
                self._recall(decision.file)
            case de.KeepChains() if self._chains is not None:
                self._chains.keep(*decision.chains)
            case de.KeepRecording() if self._recordings is not None:
                self._recordings.keep(decision.incident, decision.recording)
            case _:
                pass

    async def chain(self, file: str) -> Chain:
        """Read a file and hold it against its chain of custody; changes neither."""
        if file not in self._custodian.files:
            self._recall(file)
        snapshot, heard = await self._reads.patient(file)
        if not heard:
            snapshot = replace(snapshot, content=None, problem=_UNHEARD)
        return self._custodian.chain(file, snapshot, self._now_ns())

    def _recall(self, file: str) -> None:
        """Names of writers are no ground for a verdict, so a store that does not answer stops nothing."""
        try:
            kept = None if self._chains is None else self._chains.recall(file)
        except SidecarError as error:
            log.warning("chain_not_recalled", file=file, error=str(error))
            return
        if kept is not None:
            self.handle(ev.ChainRecalled(chain=kept, reason=Reason(ReasonCode.UNWATCHED), at_ns=self._now_ns()))

    def _send(self, command: de.Command) -> None:
        for link in self._links.open_sessions():
            if link.name == command.link:
                link.command(command)

    def _looked(self, file: str, snapshot: Snapshot) -> None:
        over = self._ends.held | self._left_open()
        windows = tuple(w.window_id for w in self._custodian.windows if w.file == file and w.window_id in over)
        self.handle(ev.SnapshotTaken(file=file, snapshot=snapshot, at_ns=self._now_ns(), over=windows))

    def _left_open(self) -> set[str]:
        """The windows of links that are gone."""
        linked = {session.name for session in self._links.open_sessions()}
        return {w.window_id for w in self._custodian.windows if w.gateway.link not in linked}

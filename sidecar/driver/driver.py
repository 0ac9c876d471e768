"""Feeds the core and carries out what it decides: one event at a time, all decisions of one before the next.

docs/driving-the-core.md is the contract that this keeps. Everything runs in one thread.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from sidecar.core import decisions as de
from sidecar.core import events as ev
from sidecar.core.content import Snapshot
from sidecar.core.errors import SidecarError
from sidecar.core.fingerprint import Fingerprint
from sidecar.core.recorder import Recorder
from sidecar.driver.lineage import LineageCheck
from sidecar.driver.owed import OwedPages
from sidecar.driver.reads import SyncedReads
from sidecar.driver.window_ends import Trip, WindowEnds
from sidecar.link import translate
from sidecar.watch.lockfile import SUFFIX, read_lock
from sidecar.watch.processes import executable_of
from sidecar.wire import messages as wire

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sidecar.core.chain import Chain
    from sidecar.core.custodian import Custodian
    from sidecar.driver.ports import ChainSink, IncidentSink, Links, Listener, PageSink, RecordingSink
    from sidecar.link.session import LinkSession

SYNC_SECONDS: Final = 0.15
"""How long an answer to a gateway may wait for other links in all; the gateway waits 250 ms."""

_UNHEARD: Final = "another linked process did not say in time what it had done"
_UNWATCHED: Final = "no sidecar kept an account of this file meanwhile"

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
        self._tasks: set[asyncio.Task[None]] = set()
        self._ends = WindowEnds(self.handle, self._spawn)
        self._waiting: deque[ev.Event] = deque()
        self._brought: list[ev.Event] = []
        """Heard while the decisions of one event are carried out; told right after them."""
        self._busy = False
        self._asking: Counter[str] = Counter()
        self._over: set[str] = set()
        """Windows that have ended while a question about them was open."""
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
        for number, decision in enumerate(decisions):
            self._listener.decision(decision)
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

    async def asked(self, session: LinkSession, message: wire.Ask) -> None:
        """Answer a gateway that stands at its check. With a single link there is nothing to wait for."""
        arrived = asyncio.get_running_loop().time()
        if any(s is not session for s in self._links.open_sessions()):
            # Other links may have to speak first, and this one must stay able to answer them.
            _ = self._spawn(self._answer(session, message, arrived))
        else:
            await self._answer(session, message, arrived)

    async def lock_asked(self, session: LinkSession, message: wire.LockAsked) -> None:
        """Answer a run that did not get the session lock in time."""
        if any(s is not session for s in self._links.open_sessions()):
            _ = self._spawn(self._answer_lock(session, message))
        else:
            await self._answer_lock(session, message)

    async def tripped(self, session: LinkSession, message: wire.Tripped) -> None:
        """The gateway stopped a turn: judge what it saw, if the file still is that.

        Two links whose turns are stopped at once must both stay able to say what they have done.
        """
        if any(s is not session for s in self._links.open_sessions()):
            unheard = self._tripped(session, message, None, heard=False)
            self._ends.tripped(Trip(self._spawn(self._trip(session, message)), unheard))
        else:
            await self._trip(session, message)

    def closed(self, event: ev.FenceClosed) -> None:
        """A run is done with its window. What was said of the window before comes first."""
        if self._asking[event.window]:
            self._over.add(event.window)
        files = {w.file for w in self._custodian.windows if w.window_id == event.window}
        self._ends.closed(event, self._reads.at(files))

    def lost(self, event: ev.LinkLost) -> None:
        """A link is gone. What it said of its windows before comes first."""
        left = [w for w in self._custodian.windows if w.gateway.link == event.link]
        self._ends.lost(event, [w.window_id for w in left], self._reads.at({w.file for w in left}))

    async def _trip(self, session: LinkSession, message: wire.Tripped) -> None:
        snapshot, heard = await self._reads.look(message.file, session, SYNC_SECONDS)
        self.handle(self._tripped(session, message, snapshot, heard=heard))

    def _tripped(
        self, session: LinkSession, message: wire.Tripped, snapshot: Snapshot | None, *, heard: bool
    ) -> ev.TurnTripped:
        if snapshot is None or snapshot.fingerprint.encode() != message.current:
            # Neither its bytes nor its kind and owner are what the gateway saw.
            window = next((w for w in self._custodian.windows if w.window_id == message.window), None)
            changed = "it has changed since the turn was stopped"
            snapshot = Snapshot(
                Fingerprint.parse(message.current),
                uid=window.trusted_uid if window is not None else -1,
                problem=changed if snapshot is not None else "the link was lost while it was looked at",
            )
        return ev.TurnTripped(
            link=session.name,
            window=message.window,
            file=message.file,
            fence=Fingerprint.parse(message.fence),
            run=translate.run_of(message.run),
            snapshot=snapshot,
            at_ns=int(message.at),
            unheard=not heard,
            heard_ns=self._now_ns(),
        )

    async def stop(self) -> None:
        """End what is under way, but for histories: a recovery without a look at its history has no outcome."""
        self._settle()
        await self._lineage.stop()
        for task in self._tasks:
            task.cancel()
        await self._reads.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer(self, session: LinkSession, message: wire.Ask, arrived: float) -> None:
        seen = await self._seen(session, message)
        if seen is None:
            return
        snapshot, heard = seen
        self.handle(
            ev.VerdictAsked(
                ask=message.ask,
                link=session.name,
                window=message.window,
                file=message.file,
                fence=Fingerprint.parse(message.fence),
                current=Fingerprint.parse(message.current),
                run=translate.run_of(message.run),
                snapshot=snapshot,
                at_ns=int(message.at),
                unheard=not heard,
                heard_ns=self._now_ns(),
            )
        )
        self._listener.answered(asyncio.get_running_loop().time() - arrived)

    async def _answer_lock(self, session: LinkSession, message: wire.LockAsked) -> None:
        arrived = asyncio.get_running_loop().time()
        seen = await self._seen(session, message)
        if seen is None:
            return
        snapshot, heard = seen
        held = read_lock(Path(message.file + SUFFIX))
        self.handle(
            ev.LockTimedOut(
                ask=message.ask,
                link=session.name,
                window=message.window,
                file=message.file,
                fence=Fingerprint.parse(message.fence),
                run=translate.run_of(message.run),
                snapshot=snapshot,
                waited_ns=int(message.waited),
                holder_pid=held.pid if held else 0,
                holder_exe=executable_of(held.pid) if held else "",
                at_ns=int(message.at),
                unheard=not heard,
                heard_ns=self._now_ns(),
            )
        )
        self._listener.answered(asyncio.get_running_loop().time() - arrived)

    async def _seen(self, session: LinkSession, message: wire.Ask | wire.LockAsked) -> tuple[Snapshot, bool] | None:
        """Look at the file for a run that waits for an answer.

        Returns:
            As `SyncedReads.look`; None where the gateway has not waited and gone on, or is gone: it asks of the past.
        """
        window = message.window
        fence = self._fence_of(window)
        self._asking[window] += 1
        try:
            seen = await self._reads.look(message.file, session, SYNC_SECONDS)
        finally:
            self._asking[window] -= 1
            if not self._asking[window]:
                del self._asking[window]
        over = window in self._over
        if window not in self._asking:
            self._over.discard(window)
        waits = any(s is session for s in self._links.open_sessions())
        return seen if waits and not over and self._fence_of(window) == fence else None

    def _fence_of(self, window: str) -> Fingerprint | None:
        return next((w.fence for w in self._custodian.windows if w.window_id == window), None)

    def _carry_out(self, decision: de.Decision) -> None:  # noqa: C901 - one case for each decision
        match decision:
            case de.SaveIncident():
                self._incidents.save(decision.incident, decision.spent_at_ns)
                self._owed.heard(decision.incident)
            case de.Approve():
                self._send(
                    decision.link,
                    wire.Approve(
                        window=decision.window,
                        fence=decision.fence.encode(),
                        current=decision.current.encode(),
                        ask=decision.ask,
                    ),
                )
            case de.Withdraw():
                nothing = wire.Refuse(window=decision.window, ask="", verdict="", reason="taken back")
                self._send(decision.link, nothing)
            case de.Refuse() | de.AnswerWait():
                self._send(decision.link, _word(decision))
            case de.Page():
                self._pages.page(decision.incident, decision.about)
            case de.CheckLineage():
                self._lineage.check(decision)
            case de.ReportIllegalStep():
                log.error("illegal_step", window=decision.window, detail=decision.reason)
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
            self.handle(ev.ChainRecalled(chain=kept, reason=_UNWATCHED, at_ns=self._now_ns()))

    def _send(self, link: str, message: wire.SidecarMessage) -> None:
        for session in self._links.open_sessions():
            if session.name == link:
                session.send(message)

    def _looked(self, file: str, snapshot: Snapshot) -> None:
        over = self._ends.held | self._left_open()
        windows = tuple(w.window_id for w in self._custodian.windows if w.file == file and w.window_id in over)
        self.handle(ev.SnapshotTaken(file=file, snapshot=snapshot, at_ns=self._now_ns(), over=windows))

    def _left_open(self) -> set[str]:
        """The windows of links that are gone."""
        linked = {session.name for session in self._links.open_sessions()}
        return {w.window_id for w in self._custodian.windows if w.gateway.link not in linked}

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("answer_failed", exc_info=task.exception())


def _word(decision: de.Refuse | de.AnswerWait) -> wire.SidecarMessage:
    """The answer to a run that does not stand at its check, or is not let through."""
    if isinstance(decision, de.AnswerWait) and decision.granted:
        return wire.Wait(window=decision.window, ask=decision.ask)
    verdict = decision.verdict.value if isinstance(decision, de.Refuse) else ""
    return wire.Refuse(window=decision.window, ask=decision.ask, verdict=verdict, reason=decision.reason[:300])

"""Feeds the core and carries out what it decides.

Everything runs in one thread, in the order of arrival. Reading a file so that a verdict may rest on it needs care: the
bytes and the reports about them come over different ways. `Warden.settled` therefore reads the file first, then has
every link say what it has done, then looks whether the file still is the same; only then are all reports about the
bytes that were read known, and no report about later ones has any bytes to show.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from sidecar.core import decisions as de
from sidecar.core import events as ev
from sidecar.core.content import Snapshot
from sidecar.core.errors import SidecarError
from sidecar.core.fingerprint import Fingerprint
from sidecar.core.lineage import off_path
from sidecar.core.recorder import Recorder
from sidecar.link import translate
from sidecar.recovery.endings import Endings, Trip
from sidecar.recovery.owed import OwedPages
from sidecar.watch.lockfile import SUFFIX, read_lock
from sidecar.watch.processes import executable_of
from sidecar.watch.reading import fingerprint_of, take_snapshot
from sidecar.watch.records import parse_records, read_lines
from sidecar.wire import messages as wire

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sidecar.core.chain import Chain
    from sidecar.core.custodian import Custodian
    from sidecar.link.session import LinkSession
    from sidecar.recovery.ports import ChainSink, IncidentSink, Links, Listener, PageSink, RecordingSink

SYNC_SECONDS: Final = 0.15
"""How long an answer to a gateway may wait for other links in all; the gateway waits 250 ms."""

PATIENT_SECONDS: Final = 1.0
"""How long a look that nobody waits for may wait for links in all."""

LONG_BYTES: Final = 1 << 20
"""A longer history is understood in a thread (18 ms for each megabyte)."""

_TRIES: Final = 3
_UNHEARD: Final = "another linked process did not say in time what it had done"

_UNWATCHED: Final = "no sidecar kept an account of this file meanwhile"

log = structlog.get_logger("sidecar.recovery")


class Warden:
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
        self._drain = drain
        self._now_ns = now_ns
        self._chains = chains
        self._recordings = recordings
        self._recorder = Recorder(custodian)
        self._owed = OwedPages(incidents, pages)
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._endings = Endings(self.handle, self._spawn)
        self._stopped = False
        self._histories: set[asyncio.Task[None]] = set()
        self._asking: Counter[str] = Counter()
        self._over: set[str] = set()
        """Windows that have ended while a question about them was open."""
        self.unsaved = 0
        self.last_error = ""

    def handle(self, event: ev.Event) -> None:
        """Tell the core, and carry out what it decides, in order."""
        with self._listener.within(event):
            self._handle(event)

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
            self._endings.tripped(Trip(self._spawn(self._trip(session, message)), unheard))
        else:
            await self._trip(session, message)

    def closed(self, event: ev.FenceClosed) -> None:
        """A run is done with its window. What was said of the window before comes first."""
        if self._asking[event.window]:
            self._over.add(event.window)
        files = {w.file for w in self._custodian.windows if w.window_id == event.window}
        self._endings.closed(event, self._looks_at(files))

    def lost(self, event: ev.LinkLost) -> None:
        """A link is gone. What it said of its windows before comes first."""
        left = [w for w in self._custodian.windows if w.gateway.link == event.link]
        self._endings.lost(event, [w.window_id for w in left], self._looks_at({w.file for w in left}))

    def _looks_at(self, files: set[str]) -> set[asyncio.Task[None]]:
        return {look for file, look in self._looks.items() if file in files and not look.done()}

    async def _trip(self, session: LinkSession, message: wire.Tripped) -> None:
        snapshot, heard = await self._look(message.file, session, SYNC_SECONDS)
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
        self._stopped = True
        self._settle()
        await asyncio.gather(*self._histories, return_exceptions=True)
        tasks = [*self._tasks, *self._looks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

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
            As `_look`; None where the gateway has not waited and gone on, or is gone: the question is about the past.
        """
        window = message.window
        fence = self._fence_of(window)
        self._asking[window] += 1
        try:
            seen = await self._look(message.file, session, SYNC_SECONDS)
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

    async def _look(self, file: str, asking: LinkSession | None, bound_seconds: float) -> tuple[Snapshot, bool]:
        """Read the file and hear every link but the asking one, whose reports are all in already.

        Returns:
            The snapshot, true at the moment of the return, and whether every link answered in time. A file that keeps
            changing gives the last snapshot with a problem instead of content.
        """
        self._drain()
        path = Path(file)
        snapshot = take_snapshot(path)
        heard = True
        until = asyncio.get_running_loop().time() + bound_seconds
        for _ in range(_TRIES):
            others = [s for s in self._links.open_sessions() if s is not asking]
            if not others:
                return snapshot, True
            left = max(0.0, until - asyncio.get_running_loop().time())
            heard = all(await asyncio.gather(*(s.sync(left) for s in others)))
            self._drain()
            if _now(path) == snapshot.fingerprint:
                return snapshot, heard
            snapshot = take_snapshot(path)
        return replace(snapshot, content=None, problem="it kept changing while it was looked at"), heard

    def _carry_out(self, decision: de.Decision) -> None:
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
                self._check_lineage(decision)
            case de.RecallChain() | de.KeepChains() | de.KeepRecording():
                self._remember(decision)
            case de.ReadFile(settle=True):
                self._settled(decision.file)
            case de.ReadFile():
                self._drain()
                snapshot = take_snapshot(Path(decision.file))
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
        snapshot, heard = await self._look(file, None, PATIENT_SECONDS)
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

    def _settled(self, file: str) -> None:
        """Look at a file when all reports about it are in. One look at a time; a request meanwhile causes one more."""
        if file in self._looks:
            self._again.add(file)
            return
        task = asyncio.create_task(self._settled_look(file))
        self._looks[file] = task
        task.add_done_callback(lambda _done: self._look_done(file))

    async def _settled_look(self, file: str) -> None:
        snapshot, heard = await self._look(file, None, PATIENT_SECONDS)
        if heard and not snapshot.problem:
            over = self._endings.held | self._left_open()
            windows = tuple(w.window_id for w in self._custodian.windows if w.file == file and w.window_id in over)
            self.handle(ev.SnapshotTaken(file=file, snapshot=snapshot, at_ns=self._now_ns(), over=windows))

    def _left_open(self) -> set[str]:
        """The windows of links that are gone."""
        linked = {session.name for session in self._links.open_sessions()}
        return {w.window_id for w in self._custodian.windows if w.gateway.link not in linked}

    def _look_done(self, file: str) -> None:
        task = self._looks.pop(file, None)
        if task is not None and not task.cancelled() and task.exception() is not None:
            log.error("look_failed", file=file, exc_info=task.exception())
        if file in self._again:
            self._again.discard(file)
            if task is None or not task.cancelled():
                self._settled(file)

    def _check_lineage(self, decision: de.CheckLineage) -> None:
        """The file is read now, as the run has left it. To understand a long one takes longer than others can wait."""
        try:
            lines = read_lines(Path(decision.file))
        except OSError as error:
            log.warning("history_unreadable", file=decision.file, error=str(error))
            self._lineage(decision, (), f"the history can't be read: {error.strerror or error}")
            return
        if self._stopped or sum(map(len, lines)) <= LONG_BYTES:
            self._lineage(decision, _missing(lines, decision.records))
            return
        task = asyncio.create_task(self._check_long(decision, lines))
        self._histories.add(task)
        task.add_done_callback(self._history_done)

    async def _check_long(self, decision: de.CheckLineage, lines: list[bytes]) -> None:
        self._lineage(decision, await asyncio.to_thread(_missing, lines, decision.records))

    def _history_done(self, task: asyncio.Task[None]) -> None:
        self._histories.discard(task)
        self._finished(task)

    def _lineage(self, decision: de.CheckLineage, missing: tuple[str, ...], problem: str = "") -> None:
        self.handle(ev.LineageChecked(window=decision.window, missing=missing, problem=problem, at_ns=self._now_ns()))

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


def _missing(lines: list[bytes], wanted: tuple[str, ...]) -> tuple[str, ...]:
    return off_path(parse_records(lines)[0], wanted)


def _now(path: Path) -> Fingerprint | None:
    with contextlib.suppress(OSError):
        return fingerprint_of(path)
    return None

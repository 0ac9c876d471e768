"""Feeds the core and carries out what it decides: one event at a time, all decisions of one before the next.

docs/driving-the-core.md is the contract that this keeps. Everything runs in one thread.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from sidecar.core import decisions as de
from sidecar.core import events as ev
from sidecar.core.custody.kept import AnyChain
from sidecar.core.engine import Engine
from sidecar.core.errors import SidecarError
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.rows import RowSnapshot, RowVersion, is_of_rows, place_of
from sidecar.core.facts.value import replace
from sidecar.core.facts.version import Reading
from sidecar.core.facts.window_name import as_told
from sidecar.core.outcomes import IncidentChanged
from sidecar.core.questions import Question
from sidecar.core.replay.recorder import Recorder
from sidecar.core.reports import Diagnostic
from sidecar.core.windows.decide import UNHEARD
from sidecar.driver.commits import Commits
from sidecar.driver.journal import Journal
from sidecar.driver.lineage import LineageCheck
from sidecar.driver.ports import Chains, Links, Listener, Records
from sidecar.driver.questions import Questions
from sidecar.driver.reads import SyncedReads
from sidecar.driver.tasks import Tasks
from sidecar.driver.timeline import timeline_note
from sidecar.driver.transcripts import TranscriptReader, without_contents
from sidecar.driver.window_ends import WindowEnds
from sidecar.words import sentence

_UNHEARD: Final = sentence(UNHEARD)

_WITHOUT_DECISIONS: Final = (ev.CommandWithheld, ev.TimePassed)
"""Something is to be done about these even where the core decides nothing."""

log = structlog.get_logger("sidecar.driver")


class Driver:
    """The one who drives the `Engine`."""

    def __init__(  # noqa: PLR0917 - a hub is made of its ports
        self,
        engine: Engine,
        records: Records,
        chains: Chains,
        listener: Listener,
        links: Links,
        drain: Callable[[], None],
        now_ns: Callable[[], int],
    ) -> None:
        self._engine = engine
        self._chains = chains
        self._listener = listener
        self._links = links
        self._now_ns = now_ns
        self._recorder = Recorder(engine)
        self.journal = Journal(records)
        self._transcripts = TranscriptReader()
        self._reads = SyncedReads(links, drain, self._looked, self._transcripts, engine)
        self._lineage = LineageCheck(self.handle, now_ns, self._transcripts)
        self._tasks = Tasks()
        self._ends = WindowEnds(self.handle, self._tasks.spawn)
        self._questions = Questions(self.handle, engine, links, self._reads, self._ends, self._tasks, listener, now_ns)
        self._waiting: deque[ev.Event] = deque()
        self._brought: list[ev.Event] = []
        """Heard while the decisions of one event are carried out; told right after them."""
        self._busy = False

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
            self._handle(event)
        finally:
            self._busy = False
            if self._brought:
                self._waiting.extendleft(reversed(self._brought))
                self._brought.clear()

    def _handle(self, event: ev.Event) -> None:
        self._listener.event(event)
        decisions = self._recorder.handle(event)
        outcomes = tuple(self._engine.outcomes)
        for outcome in outcomes:
            self._listener.outcome(outcome)
        if decisions or isinstance(event, _WITHOUT_DECISIONS):
            with self._listener.within(event):
                self._decided(event, decisions)
        for outcome in outcomes:
            if isinstance(outcome, IncidentChanged):
                self._listener.recorded(outcome.incident)

    def _decided(self, event: ev.Event, decisions: Sequence[de.Decision]) -> None:
        for decision in decisions:
            if isinstance(decision, de.Withdraw):
                self._send(decision)
        records = [decision for decision in decisions if isinstance(decision, de.Record)]
        if isinstance(event, ev.CommandWithheld):
            # The disk has just failed, and a gateway waits for its no.
            self.journal.postpone(records)
            recorded = False
        else:
            recorded = not records or self.journal.commit(records)
        for decision in decisions:
            if recorded or not _needs_record(decision):
                self._carry_out(decision)
            elif isinstance(decision, de.Approve | de.AnswerWait):
                self._withhold(decision)
        if isinstance(event, ev.TimePassed):
            self._settle()

    def _withhold(self, command: de.Approve | de.AnswerWait) -> None:
        """The intent is not on disk, so nothing is done (rule 6), and the core is told."""
        at_ns = self._now_ns()
        self.handle(ev.CommandWithheld(link=command.link, window=command.window, ask=command.ask, at_ns=at_ns))

    def _settle(self) -> None:
        """Put on disk what is not, a part at a time: others have their turn in between."""
        if self.journal.settle():
            asyncio.get_running_loop().call_soon(self._settle)

    def is_fenced(self, file: str) -> bool:
        """A window is open on this file."""
        return self._engine.is_fenced(file)

    def fenced_databases(self) -> set[str]:
        """The databases with a transcript that a window is open on."""
        return {place_of(window.file) for window in self._engine.windows if is_of_rows(window.file)}

    def commits(self, database: str) -> Commits:
        """What is known of the commits to a database, and what it costs to look at them."""
        return Commits(
            state=self._transcripts.state(database),
            told=self._engine.database_locks.commits(database),
            reading_seconds=self._transcripts.reading_seconds(database),
        )

    def note(self, report: Diagnostic, link: str) -> None:
        """Add a line to the timelines of the windows of its run. Most reports come while no window is open."""
        if not self._engine.windows:
            return
        noted = timeline_note(report, link)
        if noted is not None:
            self.handle(noted)

    def look_again(self, moved: ev.FingerprintChanged) -> None:
        """More is known of a change that the watch has told already."""
        if self._engine.is_fenced(moved.file):
            self.handle(moved)

    async def asked(self, question: Question) -> None:
        """A gateway waits for an answer, or its turn was stopped."""
        await self._questions.asked(question)

    def closed(self, event: ev.FenceClosed) -> None:
        """A run is done with its window. What was said of the window before comes first."""
        self._questions.over(event.window)
        window = self._engine.window(event.window)
        if window is not None and is_of_rows(window.file):
            # No version tells that an older row is another, and the watch may come later.
            self._reads.settle(window.file)
        self._ends.closed(event, self._reads.at({window.file} if window is not None else set()))

    def lost(self, event: ev.LinkLost) -> None:
        """A link is gone. What it said of its windows before comes first."""
        left = [w for w in self._engine.windows if w.gateway.link == event.link]
        self._ends.lost(event, [w.window_id for w in left], self._reads.at({w.file for w in left}))

    async def stop(self) -> None:
        """End what is under way, but for histories: a recovery without a look at its history has no outcome."""
        await self._lineage.stop()
        while self.journal.settle():
            pass
        await self._reads.stop()
        await self._tasks.stop()
        self._transcripts.close()

    def _carry_out(self, decision: de.Decision) -> None:
        match decision:
            case de.Approve() | de.Refuse() | de.AnswerWait() | de.GrantPatience() | de.EndPatience():
                self._send(decision)
            case de.CheckLineage():
                self._lineage.check(decision)
            case de.ReportIllegalStep():
                log.error("illegal_step", window=decision.window, detail=sentence(decision.reason))
            case de.RecallChain():
                self._recall(decision.file)
            case de.ReadFile(settle=True):
                self._reads.settle(decision.file)
            case de.ReadFile():
                snapshot = self._reads.now(decision.file)
                at_ns = self._now_ns()
                self.handle(ev.SnapshotTaken(file=decision.file, snapshot=snapshot, at_ns=at_ns, settled=False))
            case de.Withdraw() | de.SaveIncident() | de.KeepChains() | de.KeepRecording():
                pass  # done already, ahead of the rest

    async def chain(self, file: str) -> AnyChain:
        """Read a transcript and hold it against its chain of custody; changes neither."""
        if file not in self._engine.sessions:
            self._recall(file)
        reading, heard = await self._reads.patient(file)
        if not heard:
            reading = without_contents(reading, _UNHEARD)
        if isinstance(reading, RowSnapshot):
            return self._engine.rows.chain(file, reading, self._now_ns())
        return self._engine.files.chain(file, reading, self._now_ns())

    def holds(self, transcript: str) -> bool:
        """The transcript is in a database and has rows."""
        version = self._transcripts.version(transcript)
        return isinstance(version, RowVersion) and version.exists

    def _recall(self, file: str) -> None:
        """Names of writers are no ground for a verdict, so a store that does not answer stops nothing."""
        try:
            kept = self._chains.recall(file)
        except SidecarError as error:
            log.warning("chain_not_recalled", file=file, error=str(error))
            return
        if kept is not None:
            self.handle(ev.ChainRecalled(chain=kept, reason=Reason(ReasonCode.UNWATCHED), at_ns=self._now_ns()))

    def _send(self, command: de.Command) -> None:
        for link in self._links.open_sessions():
            if link.name == command.link:
                link.command(replace(command, window=as_told(command.window, link.name)))

    def _looked(self, file: str, snapshot: Reading) -> None:
        over = self._ends.held | self._left_open()
        windows = tuple(w.window_id for w in self._engine.windows if w.file == file and w.window_id in over)
        self.handle(ev.SnapshotTaken(file=file, snapshot=snapshot, at_ns=self._now_ns(), over=windows))

    def _left_open(self) -> set[str]:
        """The windows of links that are gone."""
        linked = {session.name for session in self._links.open_sessions()}
        return {w.window_id for w in self._engine.windows if w.gateway.link not in linked}


def _needs_record(decision: de.Decision) -> bool:
    """It must not be done unless the intent is on disk. A refusal does nothing."""
    return isinstance(decision, de.Approve | de.GrantPatience) or (
        isinstance(decision, de.AnswerWait) and decision.granted
    )

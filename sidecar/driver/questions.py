"""What gateways ask: the file is looked at, and the core is told what was asked and seen.

A gateway waits 250 ms for an answer. A question of one that has not waited, or is gone, is about the past: it is
dropped, for an answer would be about the next window.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sidecar.core import events as ev
from sidecar.core.engine import Engine
from sidecar.core.facts.version import Reading, Version
from sidecar.core.questions import CheckAsked, Question, TurnStopped, WaitAsked, seen
from sidecar.driver.ports import Links, Listener
from sidecar.driver.reads import SyncedReads
from sidecar.driver.tasks import Tasks
from sidecar.driver.transcripts import unread
from sidecar.driver.window_ends import Trip, WindowEnds
from sidecar.watch.identity import executable_of
from sidecar.watch.lockfile import SUFFIX, LockPayload, read_lock
from sidecar.watch.namespaces import Namespaces, Sight

SYNC_SECONDS: Final = 0.15
"""How long an answer to a gateway may wait for other links in all; the gateway waits 250 ms."""


@dataclass(eq=False)
class _Waiting:
    """A run waits for an answer about its window, whose fence was so when it asked."""

    window: str
    fence: Version | None
    gave_up: bool = False


@dataclass(eq=False, slots=True)
class Questions:
    """Looks at files for gateways that wait; ``_tell`` takes what was asked and seen."""

    _tell: Callable[[ev.Event], None]
    _engine: Engine
    _links: Links
    _reads: SyncedReads
    _ends: WindowEnds
    _tasks: Tasks
    _listener: Listener
    _now_ns: Callable[[], int]
    _waiting: set[_Waiting] = field(default_factory=set)
    _namespaces: Namespaces = field(default_factory=Namespaces)

    async def asked(self, question: Question) -> None:
        """A gateway waits, or its turn was stopped. With a single link there is nothing to wait for."""
        work = self._stop(question) if isinstance(question, TurnStopped) else self._answer(question)
        if not self._reads.others(question.link):
            await work
            return
        # Other links may have to speak first, and this one must stay able to answer them.
        task = self._tasks.spawn(work)
        if isinstance(question, TurnStopped):
            self._ends.tripped(Trip(task, self._stopped(question, None, heard=False)))

    def over(self, window: str) -> None:
        """The run is done with its window: it waits for no answer any more."""
        for waiting in self._waiting:
            waiting.gave_up = waiting.gave_up or waiting.window == window

    async def _answer(self, question: CheckAsked | WaitAsked) -> None:
        arrived = asyncio.get_running_loop().time()
        waiting = _Waiting(question.window, self._fence_of(question.window))
        self._waiting.add(waiting)
        try:
            snapshot, heard = await self._reads.look(question.file, question.link, SYNC_SECONDS)
        finally:
            self._waiting.discard(waiting)
        linked = any(link.name == question.link for link in self._links.open_sessions())
        if waiting.gave_up or not linked or self._fence_of(question.window) != waiting.fence:
            return
        found: dict[str, Any] = {"snapshot": snapshot, "unheard": not heard, "heard_ns": self._now_ns()}
        if isinstance(question, CheckAsked):
            self._tell(seen(ev.VerdictAsked, question, **found))
        else:
            held = read_lock(Path(question.file + SUFFIX))
            self._tell(seen(ev.LockTimedOut, question, **self._holder(held), **found))
        self._listener.answered(asyncio.get_running_loop().time() - arrived)

    def _holder(self, held: LockPayload | None) -> dict[str, Any]:
        """Who a lock file names. One who speaks for itself is not looked for: the gateway waits."""
        if held is None or self._engine.registry.named(held.pid):
            return {"holder_pid": held.pid if held else 0, "holder_exe": ""}
        found = self._namespaces.find(held.pid, held.start)
        exe = executable_of(found.pid) if found.pid else ""
        return {"holder_pid": held.pid, "holder_exe": exe, "holder_hidden": found.sight is Sight.HIDDEN}

    async def _stop(self, question: TurnStopped) -> None:
        """Judge what the gateway saw, if the file still is that.

        Two links whose turns are stopped at once must both stay able to say what they have done.
        """
        snapshot, heard = await self._reads.look(question.file, question.link, SYNC_SECONDS)
        self._tell(self._stopped(question, snapshot, heard=heard))

    def _stopped(self, question: TurnStopped, snapshot: Reading | None, *, heard: bool) -> ev.TurnTripped:
        if snapshot is None or snapshot.version != question.current:
            # Neither its bytes nor its kind and owner are what the gateway saw.
            window = self._engine.window(question.window)
            snapshot = unread(
                question.current,
                window.account.uid if window is not None else -1,
                "the link was lost while it was looked at"
                if snapshot is None
                else "it has changed since the turn was stopped",
            )
        return seen(ev.TurnTripped, question, snapshot=snapshot, unheard=not heard, heard_ns=self._now_ns())

    def _fence_of(self, name: str) -> Version | None:
        window = self._engine.window(name)
        return None if window is None else window.fence

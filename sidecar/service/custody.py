"""Answers who wrote which bytes of a session file, and has that kept over a restart."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar.core import events as ev
from sidecar.core.custody.files.chain import Chain
from sidecar.core.engine import Engine
from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.driver.driver import Driver
from sidecar.job import Job
from sidecar.store.chains import ChainStore
from sidecar.store.reader import session_hash
from sidecar.watch.watcher import Watcher

KEEP_SECONDS: Final = 10
"""How often chains that have changed are written to disk: what a killed sidecar forgets at most."""

WATCHED_SECONDS: Final = 60
"""How often it is noted that files are being watched, if nothing else is written."""


@dataclass(eq=False, slots=True)
class CustodyDesk:
    """Knows which file a person means, and has it looked at."""

    _engine: Engine
    _driver: Driver
    _chains: ChainStore
    _watcher: Watcher
    _now_ns: Callable[[], int]
    _noted_ns: int = 0

    @property
    def jobs(self) -> tuple[Job, ...]:
        """To keep what has changed."""
        return (Job("chains", KEEP_SECONDS, self.keep),)

    def files(self, session: str) -> tuple[str, ...]:
        """The session files that go by this name: a path, a name with or without its ending, a key or its hash."""
        known = self._engine.files.sessions
        names = {session, session_hash(session)}
        found = {file for file, key in known.items() if key in names}
        for file in {*known, *self._watcher.files}:
            path = Path(file)
            if names & {file, path.name, path.name.removesuffix(".jsonl")}:
                found.add(file)
        return tuple(sorted(found | set(self._chains.files(session))))

    async def chain(self, file: str) -> Chain:
        """The chain of custody of a file, held against what it is now."""
        return await self._driver.chain(file)

    async def keep(self) -> None:
        """Write down what has changed, and until when we have watched. Gateways are answered in between.

        Raises:
            StoreError: It could not be noted until when.
        """
        for _part in self._parts():
            await asyncio.sleep(0)
        self._note_watch()

    def _parts(self) -> Iterator[None]:
        """Keep some chains, and some more, until all are kept."""
        self._driver.handle(ev.TimePassed(at_ns=self._now_ns()))
        while self._engine.files.unsaved:
            yield
            self._driver.handle(ev.TimePassed(at_ns=self._now_ns()))

    def _note_watch(self) -> None:
        now_ns = self._now_ns()
        if now_ns - self._noted_ns >= WATCHED_SECONDS * NS_PER_SECOND:
            self._noted_ns = now_ns
            self._chains.watching(now_ns)

    def stop(self) -> None:
        """Put everything on disk, so that it outlives the restart."""
        self._noted_ns = 0
        for _part in self._parts():
            pass
        self._note_watch()

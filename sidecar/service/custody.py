"""Answers who wrote which part of a transcript, and has that kept over a restart."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from sidecar.core import events as ev
from sidecar.core.custody.kept import AnyChain
from sidecar.core.engine import Engine
from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.driver.driver import Driver
from sidecar.intake.databases import DatabaseIntake
from sidecar.job import Job
from sidecar.store.chains import ChainStore
from sidecar.store.reader import names_of, session_hash
from sidecar.watch.watcher import Watcher

KEEP_SECONDS: Final = 10
"""How often chains that have changed are written to disk: what a killed sidecar forgets at most."""

WATCHED_SECONDS: Final = 60
"""How often it is noted that files are being watched, if nothing else is written."""


@dataclass(eq=False, slots=True)
class CustodyDesk:
    """Knows which transcript a person means, and has it looked at."""

    _engine: Engine
    _driver: Driver
    _chains: ChainStore
    _watcher: Watcher
    _databases: DatabaseIntake
    _now_ns: Callable[[], int]
    _noted_ns: int = 0

    @property
    def jobs(self) -> tuple[Job, ...]:
        """To keep what has changed."""
        return (Job("chains", KEEP_SECONDS, self.keep),)

    def files(self, session: str) -> tuple[str, ...]:
        """The transcripts that go by this name.

        That is a path, a file's name with or without its ending, the id of a session in a database, with or without its
        path, a session key, or the hash of one.
        """
        known = self._engine.sessions
        names = {session, session_hash(session)}
        found = {file for file, key in known.items() if key in names}
        found |= {file for file in {*known, *self._watcher.files} if not names.isdisjoint(names_of(file))}
        found |= {name for name in self._in_databases(session) if self._driver.holds(name)}
        return tuple(sorted(found | set(self._chains.files(session))))

    def _in_databases(self, session: str) -> Iterator[str]:
        """What it would be called in each database that is watched."""
        for database in self._databases.watch.databases:
            yield session if session.startswith(f"{database}#") else f"{database}#{session}"

    async def chain(self, file: str) -> AnyChain:
        """The chain of custody of a transcript, held against what it is now."""
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
        while self._engine.unsaved:
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

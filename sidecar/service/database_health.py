"""Early warnings of OpenClaw's databases: by stat, inotify and /proc, and by two short queries of what OpenClaw says.

No database of an agent, and no ``-wal`` or ``-shm`` of one, is opened for it.
"""

import asyncio
import contextlib
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Final

import structlog
from inotify_simple import flags

from sidecar.core.facts.database import LockKind
from sidecar.job import Job
from sidecar.service.database_record import CONFIRM_SECONDS, STAY_NS, DatabaseRecord, is_confirmed
from sidecar.service.database_troubles import REMEDIES, Trouble, named, troubles
from sidecar.status import DatabaseStatus, Problem
from sidecar.watch.database.directory import DatabaseWatch
from sidecar.watch.database.lock_holders import Holders, LockTableReader
from sidecar.watch.database.open_files import OpenFiles, open_files
from sidecar.watch.database.place import QUARANTINE, SHARED, databases_of
from sidecar.watch.database.queries import lease_owners, quarantined
from sidecar.watch.identity import start_ticks
from sidecar.watch.namespaces import pids_of
from sidecar.watch.processes import is_helper_of

LOOK_SECONDS: Final = 10
"""From one look at sizes, room and locks to the next."""

SEARCH_SECONDS: Final = 30
"""From one search for databases, and for who has them open, to the next."""

_GONE: Final = flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO | flags.ONLYDIR

log = structlog.get_logger("sidecar.databases")


class DatabaseHealth:
    """Looks at the databases now and then, and at once when a file of one goes away.

    Attributes:
        jobs: To look, and to search.
    """

    def __init__(
        self,
        state_dir: Path,
        gateways: Callable[[], Collection[int]],
        now_ns: Callable[[], int],
        table: LockTableReader | None = None,
    ) -> None:
        """Know nothing before `search`. ``gateways`` are the pids of OpenClaw; ``now_ns`` is never set back."""
        self._state_dir = state_dir
        self._gateways = gateways
        self._now_ns = now_ns
        self._table = table or LockTableReader()
        self._databases: dict[str, DatabaseRecord] = {}
        self._quarantined: tuple[str, ...] = ()
        self._store: tuple[int, ...] = ()
        self._said: set[object] = set()
        self._confirming: asyncio.Task[None] | None = None
        self._again = False
        self._watch = DatabaseWatch(self._gone, mask=_GONE)
        self.jobs = (
            Job("databases", LOOK_SECONDS, self.look),
            Job("who has databases open", SEARCH_SECONDS, self.search),
        )

    async def start(self) -> None:
        """Hear of files that go away, and search for the first time."""
        self._watch.start()
        await self.search()

    def stop(self) -> None:
        """Hear of nothing any more."""
        self._watch.stop()
        if self._confirming is not None:
            self._confirming.cancel()

    def look(self) -> None:
        """At sizes, room, locks and quarantine."""
        now_ns = self._now_ns()
        held = self._table.look(self._databases)
        for database in self._databases.values():
            database.measure(now_ns)
            self._take_locks(database, held.get(database.path), now_ns)
        self._look_at_quarantine()

    async def search(self) -> None:
        """For databases, and in another thread for who has them open."""
        there = databases_of(self._state_dir)
        for path in there:
            self._watch.add(path)
        in_use = [path for path, database in self._databases.items() if database.openers or database.strays]
        for path in self._databases.keys() - {*there, *in_use}:
            del self._databases[path]
        for path in there:
            self._databases.setdefault(path, DatabaseRecord(path))
        self.look()
        if not self._databases:
            return
        openers = [pid for database in self._databases.values() for pid in database.openers]
        before = {path: frozenset(database.before) for path, database in self._databases.items()}
        self._take(await asyncio.to_thread(open_files, before, openers))

    def status(self) -> DatabaseStatus:
        """How they are now."""
        databases = self._databases.values()
        kinds = {(trouble.kind.value, trouble.database) for trouble in self._troubles()}
        return DatabaseStatus(
            count=len(databases),
            size_bytes=max((database.size for database in databases), default=0),
            wal_bytes=max((database.wal for database in databases), default=0),
            hidden=sum(database.hidden for database in databases),
            troubles=Counter(kind for kind, _ in kinds),
        )

    def problems(self) -> Iterable[Problem]:
        """What is wrong with them, or is about to be."""
        for trouble in self._troubles():
            yield Problem(code=f"database_{trouble.kind}", what=trouble.what, remedy=REMEDIES[trouble.kind])

    def _troubles(self) -> Iterable[Trouble]:
        return troubles(self._databases.values(), self._quarantined, self._now_ns())

    def _gone(self, _database: str) -> None:
        """A file was removed or renamed: look who still works on it, at once."""
        self._again = True
        if self._confirming is None or self._confirming.done():
            self._confirming = asyncio.ensure_future(self._confirm())

    async def _confirm(self) -> None:
        """Search until each file that is not at its path has been confirmed, or is closed."""
        while self._again:
            self._again = False
            await self.search()
            now_ns = self._now_ns()
            strays = (since_ns for database in self._databases.values() for since_ns in database.strays.values())
            if not all(is_confirmed(since_ns, now_ns) for since_ns in strays):
                self._again = True
                await asyncio.sleep(CONFIRM_SECONDS)

    def _take_locks(self, database: DatabaseRecord, holders: Holders | None, now_ns: int) -> None:
        # Of a gateway that can't be seen from here, no locks are, either.
        database.hidden = holders is not None and (holders.hidden or 0 in self._gateways())
        holders = holders or Holders()
        if database.hidden:
            detail = "not visible: whoever has it open, or some of them, are in another pid namespace"
            self._say(database.path, "database_openers_not_visible", database=database.path, detail=detail)
        database.openers = holders.pids.get(LockKind.OPEN, frozenset())
        marks = holders.pids.get(LockKind.READ_MARK, frozenset())
        database.marks = {pid: database.marks.get(pid, now_ns) for pid in marks}

    def _take(self, found: OpenFiles) -> None:
        now_ns = self._now_ns()
        for path, database in self._databases.items():
            database.openers |= found.pids.get(path, set())
            strays = {stray for stray in found.strays if stray.database == path}
            database.strays = {stray: database.strays.get(stray, now_ns) for stray in strays}
            for stray, _ in database.split(now_ns):
                file = f"{path}{stray.suffix}"
                self._say(stray, "database_split", file=file, pid=stray.pid, process=named(stray.pid))
            for pid in database.openers & found.unseen:
                detail = "which files it has open is not visible to this user: a split would not be seen"
                self._say(pid, "database_opener_not_visible", database=path, pid=pid, detail=detail)
            if not path.endswith(f"/{SHARED}"):  # OpenClaw's command line has that one open without a word
                self._take_strangers(database, now_ns)

    def _take_strangers(self, database: DatabaseRecord, now_ns: int) -> None:
        """Who has it open only for a moment is not asked about."""
        owners = set(self._gateways())
        there = {(pid, start) for pid in database.openers - owners if (start := start_ticks(pid)) is not None}
        strangers = {key: database.strangers.get(key, now_ns) for key in there}
        if any(now_ns - since_ns >= STAY_NS for since_ns in strangers.values()):
            try:
                leases = lease_owners(self._state_dir / SHARED)
            except sqlite3.Error:
                return  # once more at the next search
            owners |= {pid for pid, start in there if _leases(pid, start, leases)}
            own = {pid for pid, _ in there if pid in owners or is_helper_of(pid, owners)}
            strangers = {key: since_ns for key, since_ns in strangers.items() if key[0] not in own}
        database.strangers = strangers

    def _look_at_quarantine(self) -> None:
        """OpenClaw's list is read when it has changed."""
        path = self._state_dir / QUARANTINE
        state: tuple[int, ...] = ()
        with contextlib.suppress(OSError):
            found = path.stat()
            state = (found.st_ino, found.st_size, found.st_mtime_ns)
        if state == self._store:
            return
        try:
            self._quarantined = quarantined(path)
        except sqlite3.Error:
            return  # it is being written to: once more at the next look
        self._store = state

    def _say(self, key: object, event: str, **facts: object) -> None:
        """Once."""
        if key not in self._said:
            self._said.add(key)
            log.warning(event, **facts)


def _leases(pid: int, start: int, leases: Collection[tuple[int, int | None]]) -> bool:
    """It has a lease: that names it by its id in its own pid namespace. One without a start may be anybody's there."""
    ids = pids_of(pid)
    return bool(ids) and ((ids[-1], start) in leases or (len(ids) == 1 and (pid, None) in leases))

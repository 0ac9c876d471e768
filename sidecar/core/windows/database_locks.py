"""Who holds the databases of agents: by the reports of linked processes, and by what was seen from outside.

The one table of this: `status`, timelines and incidents ask it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from sidecar.core.events import DatabaseHeld, DatabaseLocked
from sidecar.core.facts.bounded import Bounded
from sidecar.core.facts.database import DatabaseHold, LockError, LockKind
from sidecar.core.facts.process import Process
from sidecar.core.facts.turn_loss import Held
from sidecar.core.facts.writer import Writer
from sidecar.core.outcomes import DatabaseLockEnded

MAX_DATABASES: Final = 256
MAX_RUNS: Final = 256
"""Runs of which is remembered who held the database that they did not get."""

MAX_HOLDS: Final = 64
"""Holds that are remembered of one database, those that are over among them."""


_MAY_WRITE: Final = (LockKind.WRITE, LockKind.OPEN)


@dataclass(slots=True)
class _Database:
    name: str
    holds: list[DatabaseHold] = field(default_factory=list)
    last: Writer | None = None
    hidden: bool = False
    commits: int = 0


class DatabaseLocks:
    """The holds of each database, oldest first. Bounded: the oldest are forgotten."""

    def __init__(self, linked: Callable[[Process], bool]) -> None:
        """``linked`` says whether a process speaks for itself; any other one is foreign."""
        self._linked = linked
        self._databases: Bounded[str, _Database] = Bounded(MAX_DATABASES)
        self._waited: Bounded[str, Held] = Bounded(MAX_RUNS)

    def locked(self, event: DatabaseLocked) -> DatabaseLockEnded:
        """A linked process' write transaction is over."""
        known = self._database(event.database)
        previous = known.last
        if event.held_ns:
            known.last = event.writer
            known.commits += event.error is None
        had_ns = event.at_ns - event.held_ns
        holder = self.holder(event.database, had_ns - event.wait_ns, had_ns)
        if event.error is LockError.BUSY and event.writer.run_id:
            self._waited.put(event.writer.run_id, Held(event.wait_ns, holder, self.is_hidden(event.database)))
        return DatabaseLockEnded(lock=event, previous=previous, holder=holder)

    def held(self, event: DatabaseHeld) -> bool:
        """A process was seen to hold a lock, or does not hold it any more. True where it is foreign."""
        holds, hold = self._database(event.database).holds, event.hold
        for index, before in enumerate(holds):
            if not before.until_ns and (before.process, before.kind) == (hold.process, hold.kind):
                holds[index] = hold
                break
        else:
            holds.append(hold)
            del holds[:-MAX_HOLDS]
        return self.is_foreign(hold)

    def hidden(self, database: str, *, hidden: bool) -> None:
        """Whether those who hold this database can't be seen from here."""
        self._database(database).hidden = hidden

    def commits(self, database: str) -> int:
        """How many transactions of linked processes were told to be over that may have written to this database."""
        known = self._databases.get(database)
        return known.commits if known is not None else 0

    def is_hidden(self, database: str) -> bool:
        """Those who hold this database can't be seen from here."""
        known = self._databases.get(database)
        return known is not None and known.hidden

    def holder(self, database: str, since_ns: int, until_ns: int) -> DatabaseHold | None:
        """Who was seen with the write lock between these times: the last foreign process, else the last linked one."""
        known = self._databases.get(database)
        holds = known.holds if known is not None else []
        seen = [h for h in holds if h.kind is LockKind.WRITE and h.overlaps(since_ns, until_ns)]
        return max(seen, key=lambda h: (self.is_foreign(h), h.since_ns), default=None)

    def lost(self, run_id: str) -> Held | None:
        """What is known of the database that a run did not get last; None where nothing was told."""
        return self._waited.get(run_id)

    def suspect(self, database: str, since_ns: int) -> DatabaseHold | None:
        """The last foreign process that may have written since then: one that was seen to, or had the database open."""
        known = self._databases.get(database)
        holds = known.holds if known is not None else []
        seen = [h for h in holds if h.kind in _MAY_WRITE and self.is_foreign(h) and not 0 < h.until_ns < since_ns]
        return max(seen, key=lambda h: (h.kind is LockKind.WRITE, h.since_ns), default=None)

    def foreign(self) -> Iterator[tuple[str, DatabaseHold]]:
        """The databases whose write lock a foreign process holds now."""
        for known in self._databases.values():
            for hold in known.holds:
                if hold.kind is LockKind.WRITE and not hold.until_ns and self.is_foreign(hold):
                    yield known.name, hold

    def is_foreign(self, hold: DatabaseHold) -> bool:
        """Its process has no link, and says nothing of itself."""
        return not self._linked(hold.process)

    def _database(self, database: str) -> _Database:
        known = self._databases.get(database) or _Database(database)
        self._databases.put(database, known)
        return known

"""Who is seen with locks of databases, as core events: a gateway that waits for one is blocked, and can't say so."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from sidecar.core import events as ev
from sidecar.core.engine import Engine
from sidecar.core.facts.database import DatabaseHold, LockKind
from sidecar.core.facts.process import Process
from sidecar.core.facts.rows import is_of_rows, parts_of
from sidecar.core.facts.units import NS_PER_MS, NS_PER_SECOND
from sidecar.core.facts.value import replace
from sidecar.status import Problem
from sidecar.watch.database.lock_holders import LockTableReader
from sidecar.watch.identity import identify
from sidecar.watch.openers import may_write
from sidecar.watch.processes import command_of

LOOK_SECONDS: Final = 0.25
"""From one look to the next while a run has a window in one of the databases."""

IDLE_SECONDS: Final = 1.0
"""The same while none has."""

MOMENT_NS: Final = 100 * NS_PER_MS
"""So long must a linked process be seen to write to be told: it is, by two looks."""

LONG_HOLD_NS: Final = 2 * NS_PER_SECOND
"""So long may a foreign process hold a database for writing before an operator is told."""

_TOLD: Final = (LockKind.WRITE, LockKind.OPEN)
"""A reader keeps nobody from writing."""


class DatabaseLockIntake:
    """Looks at the kernel's table of locks, and tells of who comes and goes."""

    def __init__(
        self,
        tell: Callable[[ev.Event], None],
        engine: Engine,
        databases: Callable[[], Iterable[str]],
        now_ns: Callable[[], int],
        table: LockTableReader | None = None,
        *,
        named: Callable[[Process], Process] = lambda process: process,
    ) -> None:
        """Look at nothing before `start`.

        Args:
            tell: Takes what is seen.
            engine: Is asked who is linked.
            databases: Those that linked gateways speak of.
            now_ns: The clock.
            table: The kernel's table of locks.
            named: Adds what is known of a process as a program that an agent started.
        """
        self._named = named
        self._tell = tell
        self._engine = engine
        self._databases = databases
        self._now_ns = now_ns
        self._table = table or LockTableReader()
        self._seen: dict[tuple[str, int, LockKind], DatabaseHold] = {}
        self._told: set[tuple[str, int, LockKind]] = set()
        self._hidden: set[str] = set()
        self._looked_ns = 0
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look now and then."""
        self._next = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look_again)

    def stop(self) -> None:
        """Look no more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def touched(self) -> None:
        """Somebody opens or changes a database: who has it open for writing then may have done it, and be gone soon."""
        if self._is_fenced():
            self.look(openers=True)

    def look(self, *, openers: bool = False) -> None:
        """Tell what has changed since the last look; ``openers``: those, too, that have one open for writing."""
        databases = tuple(self._databases())
        if not databases:
            return
        now_ns = self._now_ns()
        found = self._table.look(databases)
        linked = {gateway.visible_pid for gateway in self._engine.gateways}
        held = {
            (database, pid, kind)
            for database, holders in found.items()
            for kind in _TOLD
            for pid in holders.pids.get(kind, ())
            if kind is not LockKind.OPEN
            or (database, pid, kind) in self._seen
            or (openers and pid not in linked and may_write(pid, database))
        }
        for gone in self._seen.keys() - held:
            self._over(gone)
        for key in held:
            self._held(key, now_ns)
        self._looked_ns = now_ns
        # Nobody who lives in another namespace than ours is in the kernel's table as we see it.
        hidden = {database for database, holders in found.items() if holders.hidden or 0 in linked}
        for database in hidden ^ self._hidden:
            self._tell(ev.HoldersHidden(database=database, hidden=database in hidden, at_ns=now_ns))
        self._hidden = hidden

    def foreign_hold_seconds(self) -> float:
        """For how long the database has been held that a foreign process holds the longest; 0 when none does."""
        now_ns = self._now_ns()
        ages = (now_ns - hold.since_ns for _, hold in self._engine.database_locks.foreign())
        return max(ages, default=0) / NS_PER_SECOND

    def problems(self) -> Iterable[Problem]:
        """Who keeps a gateway from writing while a run has a window there."""
        now_ns = self._now_ns()
        fenced = {parts_of(w.file)[0] for w in self._engine.windows if is_of_rows(w.file)}
        for database, hold in self._engine.database_locks.foreign():
            held_ns = now_ns - hold.since_ns
            if database in fenced and held_ns > LONG_HOLD_NS:
                yield Problem(
                    code="database_held",
                    what=f"{hold.label()} has held {database} for writing for {held_ns / NS_PER_SECOND:.1f} s, and a"
                    " turn is under way there: the gateway stands still while it waits for it, and loses the turn after"
                    " 5 s",
                    remedy="end that process, or have it write in short transactions; a backup by SQLite's backup API"
                    " or VACUUM INTO holds no lock that a gateway waits for",
                )

    def _held(self, key: tuple[str, int, LockKind], now_ns: int) -> None:
        database, pid, kind = key
        hold = self._seen.get(key)
        if hold is None:
            hold = self._seen[key] = DatabaseHold(self._named(identify(pid)), command_of(pid), kind, now_ns)
        if key not in self._told and now_ns - hold.since_ns >= self._worth_ns(hold):
            self._told.add(key)
            self._tell(ev.DatabaseHeld(database=database, hold=hold, at_ns=now_ns))

    def _worth_ns(self, hold: DatabaseHold) -> int:
        """How long it must be seen to be told. A gateway's own transactions of some ms are met by chance."""
        return MOMENT_NS if self._engine.registry.is_linked(hold.process) else 0

    def _over(self, key: tuple[str, int, LockKind]) -> None:
        hold = replace(self._seen.pop(key), until_ns=self._looked_ns)
        if key in self._told:
            self._told.remove(key)
            self._tell(ev.DatabaseHeld(database=key[0], hold=hold, at_ns=self._now_ns()))

    def _look_again(self) -> None:
        pause = LOOK_SECONDS if self._is_fenced() else IDLE_SECONDS
        self._next = asyncio.get_running_loop().call_later(pause, self._look_again)
        self.look()

    def _is_fenced(self) -> bool:
        return any(is_of_rows(window.file) for window in self._engine.windows)

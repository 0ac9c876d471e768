"""Session lock files: how many there are, how old the oldest is, and which of them nobody will remove."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from sidecar.core.facts.gateway import Role
from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.core.windows.lock_table import LockTable
from sidecar.job import Job
from sidecar.link.open_links import OpenLinks
from sidecar.watch.namespaces import Found
from sidecar.watch.stale import LockFile, inspect_lock
from sidecar.watch.watcher import Watcher

SWEEP_SECONDS: Final = 30

log = structlog.get_logger("sidecar.locks")


@dataclass(eq=False, slots=True)
class StaleLocks:
    """Inspects the lock files that the watch knows, and asks the lock table who holds them.

    ``_find`` finds the process that a lock file names by its id in its own pid namespace, and its start.

    ``_report`` is called with each reason for which a lock is stale, once for each lock file.
    """

    _watcher: Watcher
    _locks: LockTable
    _links: OpenLinks
    _find: Callable[[int, int | None], Found]
    _now_ns: Callable[[], int]
    _report: Callable[[str], None]
    _said: set[tuple[tuple[int, int, int], str]] = field(default_factory=set)

    @property
    def jobs(self) -> tuple[Job, ...]:
        """To sweep."""
        return (Job("stale locks", SWEEP_SECONDS, self.sweep),)

    def held(self) -> tuple[int, float]:
        """The number of lock files, and the age of the oldest in seconds; 0 when there is none."""
        locks = self._inspected()
        return len(locks), max((lock.age_seconds for _, lock in locks), default=0.0)

    def sweep(self) -> None:
        """Report what is stale."""
        locks = self._inspected()
        present = {lock.key for _, lock in locks}
        self._said = {said for said in self._said if said[0] in present}
        for session, lock in locks:
            fresh = [
                r for r in lock.reasons if (lock.key, r) not in self._said and not self._known(r, lock.visible_pid)
            ]
            for reason in fresh:
                self._said.add((lock.key, reason))
                self._report(reason)
            if fresh:
                age = round(lock.age_seconds)
                log.warning("lock_stale", file=str(session), pid=lock.pid, reasons=list(lock.reasons), age_seconds=age)

    def _inspected(self) -> list[tuple[Path, LockFile]]:
        now_seconds = self._now_ns() / NS_PER_SECOND
        found = []
        for session in sorted(self._watcher.locked):
            lock = inspect_lock(session, now_seconds, self._find, partial(self._may_hold, session))
            if lock is not None:
                found.append((session, lock))
        return found

    def _known(self, reason: str, pid: int) -> bool:
        """The command line of a co-tenant does not say OpenClaw; it may hold the lock all the same: it is linked."""
        return reason == "non_openclaw_owner" and any(s.gateway.visible_pid == pid for s in self._links.open_sessions())

    def _may_hold(self, session: Path, pid: int, made_seconds: float) -> bool:
        """Nothing is concluded from a process that linked later, is not believed, or whose reports may be missing."""
        links = [s for s in self._links.open_sessions() if s.gateway.visible_pid == pid and s.role is Role.GATEWAY]
        if not links or any(s.gaps or s.lost or not s.gateway.believed for s in links):
            return True
        if any(s.hello is None or int(s.hello.at) / NS_PER_SECOND > made_seconds for s in links):
            return True
        reported = f"{session.parent.resolve()}/{session.name}"
        return self._locks.is_held(reported, {s.name for s in links})

"""Looks at the session locks: how long the oldest is held, and which of them nobody will give back."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from sidecar.core.gateway import Role
from sidecar.watch.stale import inspect_lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sidecar.service.roster import Roster
    from sidecar.watch.stale import LockFile
    from sidecar.watch.watcher import Watcher

_NS_PER_SECOND: Final = 1_000_000_000

log = structlog.get_logger("sidecar.locks")


class LockSweep:
    """The locks that lie in the sessions directories."""

    def __init__(
        self, watcher: Watcher, roster: Roster, now_ns: Callable[[], int], told: Callable[[str], None]
    ) -> None:
        """``told`` is called with each reason for which a lock is stale, once for each lock file."""
        self._watcher = watcher
        self._roster = roster
        self._now_ns = now_ns
        self._told = told
        self._said: set[tuple[tuple[int, int, int], str]] = set()
        self._holds: Counter[tuple[int, str]] = Counter()

    def taken(self, pid: int, file: str) -> None:
        """A linked process has a lock."""
        self._holds[pid, file] += 1

    def released(self, pid: int, file: str) -> None:
        """A linked process gave a lock back."""
        self._holds[pid, file] -= 1
        if self._holds[pid, file] <= 0:
            del self._holds[pid, file]

    def gone(self, pid: int) -> None:
        """A process is linked no more; what it holds will be told anew."""
        for key in [key for key in self._holds if key[0] == pid]:
            del self._holds[key]

    def held(self) -> tuple[int, float]:
        """How many locks are held now, and the age of the oldest in seconds; 0 when there is none."""
        locks = self._inspected()
        return len(locks), max((lock.age_seconds for _, lock in locks), default=0.0)

    def sweep(self) -> None:
        """Say what is stale."""
        locks = self._inspected()
        present = {lock.key for _, lock in locks}
        self._said = {said for said in self._said if said[0] in present}
        for session, lock in locks:
            fresh = [r for r in lock.reasons if (lock.key, r) not in self._said and not self._known(r, lock.pid)]
            for reason in fresh:
                self._said.add((lock.key, reason))
                self._told(reason)
            if fresh:
                age = round(lock.age_seconds)
                log.warning("lock_stale", file=str(session), pid=lock.pid, reasons=list(lock.reasons), age_seconds=age)

    def _inspected(self) -> list[tuple[Path, LockFile]]:
        now_seconds = self._now_ns() / _NS_PER_SECOND
        found = []
        for session in sorted(self._watcher.locked):
            lock = inspect_lock(session, now_seconds, partial(self._may_hold, str(session)))
            if lock is not None:
                found.append((session, lock))
        return found

    def _known(self, reason: str, pid: int) -> bool:
        """A co-tenant is no OpenClaw by its command line, and may hold the lock all the same: it is linked."""
        return reason == "non_openclaw_owner" and any(s.pid == pid for s in self._roster.open_sessions())

    def _may_hold(self, file: str, pid: int, made_seconds: float) -> bool:
        """Nothing is concluded from a process that was linked later, or whose reports may be missing."""
        if self._holds[pid, file]:
            return True
        links = [s for s in self._roster.open_sessions() if s.pid == pid and s.role is Role.GATEWAY]
        if not links or any(s.gaps or s.lost for s in links):
            return True
        return any(s.hello is None or int(s.hello.at) / _NS_PER_SECOND > made_seconds for s in links)

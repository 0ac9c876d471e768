"""What is done every now and then (APScheduler)."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Final

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from sidecar.service.custody import KEEP_SECONDS
from sidecar.service.turns import Turns
from sidecar.watch.processes import gateways_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from sidecar.service.lookout import Lookout
    from sidecar.service.roster import Roster
    from sidecar.watch.processes import GatewayProcess
    from sidecar.watch.watcher import Watcher

RECONCILE_SECONDS: Final = 60
"""How often fingerprints are compared with those last seen: a backstop for lost file events."""

PROCESSES_SECONDS: Final = 30
"""How often we look for gateways without the preload."""

SWEEP_SECONDS: Final = 30
"""How often we look for locks that nobody will give back."""

CLOCKS_SECONDS: Final = 5
"""How often we look whether the machine slept or its clock was set; it is looked at ahead of each answer, too."""

PAGES_SECONDS: Final = 60
"""How often pages that are due and that nobody delivers are taken up."""

RETENTION_HOURS: Final = 6
"""How often old incidents are removed."""


class Chores:
    """The scheduler and its jobs."""

    def __init__(  # noqa: PLR0917 - what is done now and then is done by these
        self,
        state_dir: Path,
        watcher: Watcher,
        lookout: Lookout,
        roster: Roster,
        retain: Callable[[], object],
        sweep: Callable[[], object],
        keep: Callable[[], object],
        read_orders: Callable[[], object],
        check_clocks: Callable[[], object],
        take_up_pages: Callable[[], object],
    ) -> None:
        """Nothing is scheduled yet."""
        self._state_dir = state_dir
        self._watcher = watcher
        self._lookout = lookout
        self._roster = roster
        self._retain = retain
        self._sweep = sweep
        self._keep = keep
        self._read_orders = read_orders
        self._check_clocks = check_clocks
        self._take_up_pages = take_up_pages
        self._scheduler = AsyncIOScheduler(timezone="UTC")

    def start(self) -> None:
        """Schedule the jobs; the search for gateways without the preload runs at once."""
        jobs = (
            (self.reconcile, {"seconds": RECONCILE_SECONDS}),
            (self._search, {"seconds": PROCESSES_SECONDS}),
            (self._retain, {"hours": RETENTION_HOURS}),
            (self._sweep, {"seconds": SWEEP_SECONDS}),
            (self._keep, {"seconds": KEEP_SECONDS}),
            (self._read_orders, {"seconds": RECONCILE_SECONDS}),
            (self._check_clocks, {"seconds": CLOCKS_SECONDS}),
            (self._take_up_pages, {"seconds": PAGES_SECONDS}),
        )
        for job, every in jobs:
            self._scheduler.add_job(_in_loop(job), "interval", coalesce=True, max_instances=1, **every)
        self._scheduler.start()
        self.find_gateways()

    def stop(self) -> None:
        """No further job."""
        self._scheduler.shutdown(wait=False)

    async def reconcile(self) -> None:
        """Look at every known file, whether or not the kernel said anything."""
        turns = Turns()
        for path in tuple(self._watcher.files):
            self._lookout.look(path)
            await turns.give()

    def find_gateways(self) -> None:
        """Note the gateways of this state directory that carry no preload."""
        self._note(gateways_of(self._state_dir))

    async def _search(self) -> None:
        """The same without the loop: where there are many processes it takes long."""
        self._note(await asyncio.to_thread(lambda: list(gateways_of(self._state_dir))))

    def _note(self, gateways: Iterable[GatewayProcess]) -> None:
        for found in gateways:
            self._roster.noticed(found.pid, found.exe, "it runs on this state directory")


def _in_loop(job: Callable[[], object]) -> Callable[[], object]:
    """A coroutine function, which the scheduler runs in our loop; plain ones go to a thread pool."""

    async def run_job() -> None:
        doing = job()
        if inspect.isawaitable(doing):
            await doing

    return run_job

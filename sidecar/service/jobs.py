"""Runs the jobs that the parts of the service have declared (APScheduler)."""

import inspect
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from sidecar.job import Job


class Jobs:
    """The scheduler of declared jobs."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self.declared = tuple(jobs)
        self._scheduler = AsyncIOScheduler(timezone="UTC")

    def start(self) -> None:
        """Schedule every job, first after one period from now. Jobs that fall on one moment share a wake-up."""
        began = datetime.now(UTC)
        for job in self.declared:
            self._scheduler.add_job(
                _in_loop(job.run),
                "interval",
                seconds=job.every_seconds,
                start_date=began + timedelta(seconds=job.every_seconds),
                name=job.name,
                coalesce=True,
                max_instances=1,
            )
        self._scheduler.start()

    def stop(self) -> None:
        """Start no further job."""
        self._scheduler.shutdown(wait=False)


def _in_loop(run: Callable[[], object]) -> Callable[[], object]:
    """A coroutine function, which the scheduler runs in our loop; plain ones go to a thread pool."""

    async def run_job() -> None:
        doing = run()
        if inspect.isawaitable(doing):
            await doing

    return run_job

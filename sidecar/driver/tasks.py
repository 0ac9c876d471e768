"""Background tasks: they run while the driver takes further events."""

import asyncio
from collections.abc import Coroutine

import structlog

log = structlog.get_logger("sidecar.driver")


class Tasks:
    """The tasks of one owner. An error in one is logged and ends no other."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Begin."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    async def finish(self) -> None:
        """Wait for all."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def stop(self) -> None:
        """Cancel all."""
        for task in self._tasks:
            task.cancel()
        await self.finish()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("work_failed", exc_info=task.exception())

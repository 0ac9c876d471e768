"""Questions whether the other end has said all that it has done."""

import asyncio
import itertools
from collections.abc import Callable

from sidecar.wire import messages as wire


class Syncs:
    """The questions of one link that have no answer yet."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[bool]] = {}
        self._ids = itertools.count(1)

    async def ask(self, send: Callable[[wire.Sync], bool], bound_seconds: float) -> bool:
        """Ask, and wait for the answer; False when there is none in time, or nobody to ask."""
        name = str(next(self._ids))
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[name] = waiting
        try:
            if not send(wire.Sync(sync=name)):
                return False
            return await asyncio.wait_for(waiting, bound_seconds)
        except TimeoutError:
            return False
        finally:
            self._waiting.pop(name, None)

    def answered(self, name: str) -> None:
        """The answer to one has come."""
        waiting = self._waiting.get(name)
        if waiting is not None and not waiting.done():
            waiting.set_result(True)

    def end(self, *, clean: bool) -> None:
        """The link is gone: no answer will come; after a goodbye none is needed."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result(clean)

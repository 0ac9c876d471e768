"""Removes incidents and custody reports that are older than 30 days."""

from collections.abc import Callable
from typing import Final

from sidecar.job import Job
from sidecar.service.yielding import TimeSlice
from sidecar.store.chains import ChainStore
from sidecar.store.incidents import IncidentStore

RETENTION_NS: Final = 30 * 24 * 3600 * 1_000_000_000
"""How long incidents and chains are kept."""

RETAIN_SECONDS: Final = 6 * 3600


class Retention:
    """Old incidents and chains."""

    def __init__(self, store: IncidentStore, chains: ChainStore, now_ns: Callable[[], int]) -> None:
        self._store = store
        self._chains = chains
        self._now_ns = now_ns
        self.jobs = (Job("retention", RETAIN_SECONDS, self.remove_old),)

    async def remove_old(self) -> None:
        """Remove them, a part at a time.

        Raises:
            StoreError: The store can't be written to.
        """
        slice_, before_ns = TimeSlice(), self._now_ns() - RETENTION_NS
        while self._store.forget_before(before_ns):
            await slice_.pause()
        self._chains.forget_before(before_ns)

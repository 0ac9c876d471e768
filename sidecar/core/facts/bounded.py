"""A table that never grows beyond a limit."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Bounded(Generic[K, V]):
    """Keeps the newest entries; the oldest one makes room when it is full."""

    def __init__(self, limit: int, evicted: Callable[[V], None] = lambda _: None) -> None:
        """Keep at most ``limit`` entries and hand every one that had to go to ``evicted``."""
        self._limit = limit
        self._evicted = evicted
        self._entries: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: K, value: V) -> None:
        """Add an entry, or replace the one of this key."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._limit:
            _, oldest = self._entries.popitem(last=False)
            self._evicted(oldest)

    def get(self, key: K) -> V | None:
        """The entry of this key."""
        return self._entries.get(key)

    def pop(self, key: K) -> V | None:
        """Take the entry of this key out."""
        return self._entries.pop(key, None)

    def values(self) -> list[V]:
        """All entries, oldest first."""
        return list(self._entries.values())

    def take(self, wanted: Callable[[V], bool] = lambda _: True) -> list[V]:
        """Take out all that are wanted, oldest first."""
        keys = [key for key, value in self._entries.items() if wanted(value)]
        return [self._entries.pop(key) for key in keys]

"""Simulated loss: what is dropped on purpose, to prove that nothing is concluded from what is missing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Drops:
    """Says of each item whether it is dropped; the same share of them always, in an order that repeats.

    Attributes:
        share: How many of them, from 0 (none) to 1 (all).
        dropped: How many were.
    """

    share: float = 0.0
    dropped: int = 0
    _state: int = 1

    def next(self) -> bool:
        """The next item is dropped."""
        if self.share <= 0:
            return False
        self._state = (self._state * 48_271) % 0x7FFF_FFFF  # Park and Miller's generator
        hit = self._state < self.share * 0x7FFF_FFFF
        self.dropped += hit
        return hit

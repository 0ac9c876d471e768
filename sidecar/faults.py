"""Simulated faults: what is lost on purpose, to prove that nothing is concluded from what is missing.

The one place where faults come from. The wiring makes it; whatever takes something in from outside asks it.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(slots=True)
class Faults:
    """Decides of each item whether it is lost: always the same share of them, in an order that repeats.

    Attributes:
        share: How many are lost, from 0 (none) to 1 (all).
        lost: How many were.
    """

    share: float = 0.0
    lost: int = 0
    _state: int = 1

    def lose_next(self) -> bool:
        """Whether the next item is lost."""
        if self.share <= 0:
            return False
        self._state = (self._state * 48_271) % 0x7FFF_FFFF  # Park and Miller's generator
        hit = self._state < self.share * 0x7FFF_FFFF
        self.lost += hit
        return hit


NO_FAULTS: Final = Faults()
"""Nothing is lost."""

"""Every state of the protocol, each once."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.model.world import Cast, Foreign, Model, Rules, World, WrongError, beginning

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Found:
    """What a search has found.

    Attributes:
        states: How many there are (so far, if a property was broken).
        steps: How many steps lead from one to another.
        ends: In how many nothing can happen any more.
        wrong: The property that does not hold; empty when all do.
        path: The steps that lead there.
    """

    states: int
    steps: int
    ends: int
    wrong: str = ""
    path: Sequence[str] = ()


def search(foreign: Foreign, cast: Cast, rules: Rules | None = None, limit: int = 10_000_000) -> Found:
    """Explore everything, or up to the first broken property."""
    model = Model(foreign, rules or Rules())
    first = beginning(model.minds, cast)
    parents: dict[int, tuple[int, str]] = {}
    known = {first.key(): 0}
    waiting: list[tuple[int, World]] = [(0, first)]
    steps = ends = 0
    while waiting and len(known) < limit:
        number, world = waiting.pop()
        if model.is_over(world):
            ends += 1
            continue
        moved = False
        try:
            for name, after in model.steps(world):
                moved = True
                steps += 1
                key = after.key()
                if key not in known:
                    known[key] = len(known)
                    parents[known[key]] = (number, name)
                    waiting.append((known[key], after))
        except WrongError as error:
            return Found(len(known), steps, ends, str(error), _path(parents, number))
        ends += not moved
    return Found(len(known), steps, ends)


def _path(parents: dict[int, tuple[int, str]], number: int) -> list[str]:
    names: list[str] = []
    while number in parents:
        number, name = parents[number]
        names.append(name)
    return names[::-1]


if __name__ == "__main__":
    for kind in Foreign:
        began = time.monotonic()
        found = search(kind, Cast(), limit=int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000)
        print(kind.name, found.states, found.steps, found.ends, found.wrong, f"{time.monotonic() - began:.1f} s")  # noqa: T201
        if found.wrong:
            print("  " + "\n  ".join(found.path))  # noqa: T201

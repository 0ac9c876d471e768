"""Every state of the protocol, each once."""

import sys
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from tests.model.gateway import Outcome
from tests.model.model import Model
from tests.model.world import Cast, Foreign, Rules, World, WrongError


@dataclass(frozen=True)
class Found:
    """What a search has found.

    Attributes:
        states: How many there are (so far, if a property was broken).
        steps: How many steps lead from one to another.
        ends: In how many nothing can happen any more, or nothing that matters.
        complete: Nothing is left to be explored.
        outcomes: What came of the checks of runs.
        wrong: The property that does not hold; empty when all do.
        path: The steps that lead there.
    """

    states: int
    steps: int
    ends: int
    complete: bool
    outcomes: frozenset[Outcome]
    wrong: str = ""
    path: Sequence[str] = ()


def search(
    foreign: Foreign,
    cast: Cast,
    rules: Rules | None = None,
    *,
    reduced: bool = True,
    checks: bool = False,
    limit: int = 10_000_000,
) -> Found:
    """Explore everything, or up to the first broken property. See `Model` for what is asked for."""
    model = Model(foreign, cast, rules, reduced=reduced, checks=checks)
    first = model.beginning()
    parents: list[tuple[int, str]] = [(0, "")]
    known: set[Hashable] = {model.key(first)}
    waiting: list[tuple[int, World]] = [(0, first)]
    steps = ends = 0
    wrong, path = "", []
    while waiting and len(known) < limit and not wrong:
        number, world = waiting.pop()
        if model.is_over(world):
            ends += 1
            continue
        moved = False
        try:
            for name, after in model.steps(world):
                moved = True
                steps += 1
                key = model.key(after)
                if key not in known:
                    waiting.append((len(parents), after))
                    known.add(key)
                    parents.append((number, name))
        except WrongError as error:
            wrong, path = str(error), _path(parents, number)
        ends += not moved
    return Found(len(known), steps, ends, not waiting and not wrong, frozenset(model.outcomes), wrong, path)


def _path(parents: list[tuple[int, str]], number: int) -> list[str]:
    names: list[str] = []
    while number:
        number, name = parents[number]
        names.append(name)
    return names[::-1]


if __name__ == "__main__":
    for kind in Foreign:
        began = time.monotonic()
        found = search(kind, Cast())
        print(f"{kind.name}: {found.states} states, {found.steps} steps, {time.monotonic() - began:.0f} s")  # noqa: T201 - a script of its own
        if not found.complete:
            sys.exit(f"{found.wrong}\n  " + "\n  ".join(found.path))

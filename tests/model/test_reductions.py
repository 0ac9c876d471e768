"""What the search leaves out makes no difference: held against a search that leaves out nothing, where that ends."""

from collections.abc import Hashable

import pytest

from tests.model.model import Model
from tests.model.search import search
from tests.model.world import Cast, Foreign, World, fields_of

CASTS = {
    "one run, a co-tenant without the lock": Cast(runs=1, locked=False),
    "one run, a co-tenant with the lock": Cast(runs=1, loose=False),
    "two runs, a co-tenant with the lock": Cast(loose=False),
    "one run, a coarse clock": Cast(runs=1, loose=False, coarse=True),
    "one run, a lost report": Cast(runs=1, loose=False, lossy=True),
}


@pytest.mark.parametrize("foreign", Foreign, ids=lambda f: f.name.lower())
@pytest.mark.parametrize("who", CASTS)
def test_the_same_comes_of_checks_whether_the_search_is_reduced_or_not(who: str, foreign: Foreign) -> None:
    reduced = search(foreign, CASTS[who])
    full = search(foreign, CASTS[who], reduced=False)

    assert reduced.wrong == full.wrong == ""
    assert reduced.complete
    assert full.complete
    assert reduced.states < full.states
    assert reduced.outcomes <= full.outcomes
    # What is not followed when the stranger has written: runs whose fence was set behind that.
    overwritten = {since for _what, since in full.outcomes - reduced.outcomes}
    assert not overwritten if foreign is Foreign.TOUCH else all(b"F" not in since for since in overwritten)


@pytest.mark.parametrize("foreign", Foreign, ids=lambda f: f.name.lower())
@pytest.mark.parametrize("who", CASTS)
def test_states_that_are_alike_have_next_states_that_are_alike(who: str, foreign: Foreign) -> None:
    """So it makes no difference from which of them the search goes on."""
    model = Model(foreign, CASTS[who])
    first = model.beginning()
    known: set[Hashable] = {fields_of(first)}
    waiting: list[World] = [first]
    after: dict[Hashable, frozenset[Hashable]] = {}
    while waiting:
        world = waiting.pop()
        made = [] if model.is_over(world) else [made for _name, made in model.steps(world)]
        following = frozenset(model.key(world) for world in made)
        assert after.setdefault(model.key(world), following) == following
        for world in made:
            if fields_of(world) not in known:
                known.add(fields_of(world))
                waiting.append(world)
    assert len(after) <= len(known)


def mirrored(world: World) -> World:
    """The two runs have changed places; nothing was heard of them yet."""
    made = world.copy()
    made.runs = world.runs[::-1]
    return made


def test_two_equal_runs_are_not_told_apart_and_different_ones_are() -> None:
    model = Model(Foreign.TOUCH, Cast())
    first = model.beginning()
    _, started = next(model.steps(first))
    assert started.runs[0] != started.runs[1]

    assert model.key(mirrored(first)) == model.key(first)
    assert model.key(mirrored(started)) != model.key(started), "the engine knows whose window it is"

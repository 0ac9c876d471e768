"""The protocol between preload and sidecar, checked in every interleaving around the real custodian.

Actors: up to two runs, a co-tenant that takes the lock, one that writes from within the gateway without it and takes
its time, and a stranger who acts once, at any point. Properties:

1. no fence is moved across a foreign byte;
2. a turn among co-tenants only, with whole evidence, is recovered (evidence is whole where the reports alone lead up to
   the fence: no call came in the midst of another or of a fence before; else the file must be read at the fence, and
   that may come too late, which costs the turn and nothing else);
3. nobody is accused where no stranger was.

What was reduced, and why nothing is lost by it: messages that have no effect outside of the custodian are heard at
once (only their order matters to it, and looks in between are tried); a look is one step (it concludes only if the file
did not change since the link spoke); which of two equal runs sets its fence first is not told apart; and a state in
which no property can be broken any more is not followed. Not in the model: a clock so coarse that two changes share a
time, removal of the file, a second process, and the 250 ms themselves (a run may stop waiting for writers at any time).
"""

from __future__ import annotations

import pytest

from tests.model.search import search
from tests.model.world import Cast, Foreign, Rules

CASTS = {
    "one run, both co-tenants": Cast(runs=1),
    "two runs, a co-tenant with the lock": Cast(loose=False),
}

BROKEN = {
    "the file is not looked at again around the move": (Rules(second_stat=False), Foreign.APPEND, "foreign byte"),
    "a pushed approval is taken for any step": (Rules(compare_pushed=False), Foreign.APPEND, "foreign byte"),
    "the core lets pass what it can't explain": (Rules(account_for_bytes=False), Foreign.OVERWRITE, "foreign byte"),
    "a look does not wait for reports": (Rules(hear_first=False), Foreign.TOUCH, "accused"),
    "the core answers for another file than the gateway saw": (Rules(exact_step=False), Foreign.TOUCH, "accused"),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("foreign", Foreign, ids=lambda f: f.name.lower())
@pytest.mark.parametrize("who", CASTS)
def test_no_interleaving_breaks_a_property(who: str, foreign: Foreign) -> None:
    found = search(foreign, CASTS[who])

    print(f"{who}, a stranger's {foreign.name.lower()}: {found.states} states, {found.steps} steps")  # noqa: T201
    assert found.wrong == "", "\n".join(found.path)
    assert found.ends > 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("broken", BROKEN)
def test_the_search_finds_what_a_broken_rule_leads_to(broken: str) -> None:
    rules, foreign, wrong = BROKEN[broken]
    found = search(foreign, Cast(runs=1, locked=False), rules)

    assert wrong in found.wrong
    assert found.path


def test_every_actor_can_end() -> None:
    """The search is not empty for want of steps: turns are recovered, and turns are lost."""
    found = search(Foreign.APPEND, Cast(runs=1, loose=False))
    assert found.wrong == ""
    assert found.states > 300
    assert found.ends > 10


@pytest.mark.timeout(300)
def test_everybody_at_once_as_far_as_the_time_allows() -> None:
    """Two runs and both co-tenants have more states than are searched here: this one is no proof."""
    found = search(Foreign.OVERWRITE, Cast(), limit=60_000)
    assert found.wrong == "", "\n".join(found.path)

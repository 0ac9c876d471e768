"""The protocol between preload and sidecar, checked in every interleaving around the real engine.

Actors: up to two runs, a co-tenant that takes the lock, one that writes from within the gateway without it and takes
its time, and a stranger who acts once, at any point. Properties:

1. no fence is moved across a foreign byte;
2. a turn among co-tenants only, with whole evidence, is recovered. Evidence is whole where it is known what the file
   held at the fence: either the file was read while it still was at the fence and no call was under way; or reports
   lead there without a gap from what was read or known before (`World.led`), and no call was under way at the fence.
   Else the turn may be lost, and nothing else;
3. nobody is accused where no stranger was.

What was reduced, and why nothing is lost by it: messages that have no effect outside of the engine are heard at
once (only their order matters to it, and looks in between are tried); a look is one step (it concludes only if the file
did not change since the link spoke); which of two equal runs sets its fence first is not told apart; a state in which
no property can be broken any more is not followed; and states that are alike are one (`canon`, with `test_reductions`).

Not in the model: removal or replacement of the file, a second process, a restart of the sidecar, a mapped write, a
change between the fingerprint ahead of a synchronous call and the call, and the 250 ms themselves (a run may stop
waiting for writers at any time; an answer always comes).
"""

import pytest

from tests.model.search import search
from tests.model.world import Cast, Foreign, Rules

CASTS = {
    "one run, both co-tenants": Cast(runs=1),
    "two runs, a co-tenant with the lock": Cast(loose=False),
    "two runs, a co-tenant with the lock, a coarse clock": Cast(loose=False, coarse=True),
    "one run, a co-tenant without the lock, a coarse clock": Cast(runs=1, locked=False, coarse=True),
    "two runs, a co-tenant with the lock, a lost report": Cast(loose=False, lossy=True),
    "one run, a co-tenant without the lock, a lost report": Cast(runs=1, locked=False, lossy=True),
}

SLOW = Cast(runs=1, locked=False)
QUICK_LOSSY = Cast(runs=1, loose=False, lossy=True)

BROKEN = {
    "the file is not looked at again around the move": (
        Rules(second_stat=False), Foreign.APPEND, SLOW, "foreign byte",
    ),
    "a pushed approval is taken for any step": (Rules(compare_pushed=False), Foreign.APPEND, SLOW, "foreign byte"),
    "the core lets pass what it can't explain": (
        Rules(account_for_bytes=False), Foreign.OVERWRITE, SLOW, "foreign byte",
    ),
    "only what has come since the fence is read": (Rules(whole_file=False), Foreign.OVERWRITE, SLOW, "foreign byte"),
    "a look does not wait for reports": (Rules(hear_first=False), Foreign.TOUCH, SLOW, "accused"),
    "the core answers for another file than the gateway saw": (
        Rules(exact_step=False), Foreign.TOUCH, SLOW, "accused",
    ),
    "a gap in the reports is not heeded": (Rules(heed_gaps=False), Foreign.TOUCH, QUICK_LOSSY, "accused"),
}  # fmt: skip


@pytest.mark.timeout(300)
@pytest.mark.parametrize("foreign", Foreign, ids=lambda f: f.name.lower())
@pytest.mark.parametrize("who", CASTS)
def test_no_interleaving_breaks_a_property(who: str, foreign: Foreign) -> None:
    found = search(foreign, CASTS[who])

    print(f"{who}, a stranger's {foreign.name.lower()}: {found.states} states, {found.steps} steps")  # noqa: T201 - shown by -s
    assert found.wrong == "", "\n".join(found.path)
    assert found.complete
    assert found.ends > 0


@pytest.mark.timeout(600)
@pytest.mark.parametrize("foreign", Foreign, ids=lambda f: f.name.lower())
def test_two_runs_two_cotenants_and_a_stranger_break_no_property_in_any_interleaving(foreign: Foreign) -> None:
    """All of it, up to where both runs have compared; `python -m tests.model.search` goes on to the end of both."""
    found = search(foreign, Cast(), checks=True)

    print(f"everybody, a stranger's {foreign.name.lower()}: {found.states} states, {found.steps} steps")  # noqa: T201 - shown by -s
    assert found.wrong == "", "\n".join(found.path)
    assert found.complete
    assert found.states > 100_000, "the search is not empty for want of steps"
    came = {what for what, _since in found.outcomes}
    assert {"moved", "lost: ", "lost: the file changed after the approval"} <= came


@pytest.mark.parametrize("reduced", [True, False], ids=["reduced", "in full"])
@pytest.mark.parametrize("broken", BROKEN)
def test_the_search_finds_what_a_broken_rule_leads_to(broken: str, *, reduced: bool) -> None:
    rules, foreign, cast, wrong = BROKEN[broken]
    found = search(foreign, cast, rules, reduced=reduced)

    assert wrong in found.wrong
    assert found.path
    assert not found.complete


def test_a_search_that_was_cut_short_says_so() -> None:
    assert not search(Foreign.APPEND, Cast(runs=1), limit=500).complete

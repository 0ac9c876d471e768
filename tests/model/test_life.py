"""The search walks the tables of a window's life: which entries are reached, and that no step is off them."""

from collections.abc import Iterator
from typing import Final

import pytest

from sidecar.core.windows import life
from sidecar.core.windows.life import APPROVAL, BEHIND, CUSTODY, LIFE, Approval, Custody, Life, State, Step, sides
from tests.model.search import search
from tests.model.world import Cast, Foreign

CASTS: Final = (
    Cast(runs=1),
    Cast(runs=1, loose=False, coarse=True),
    Cast(runs=1, locked=False, lossy=True),
)

BEYOND: Final = {
    # A stopped run does nothing more in this world, and its window is closed by the next message.
    *((Life.STOPPED, step) for step in LIFE[Life.STOPPED] if step is not Step.ENDED),
    # No records are named here, so no history is searched.
    (Life.OPEN, Step.ENDED_UNPROVEN),
    (Life.UNPROVEN, Step.HISTORY_READ),
    # Custody is lost once at most: one report is lost.
    (Custody.LOST, Step.CUSTODY_LOST),
    # A fence is named again, without having moved, by a gateway that has linked anew: there is one link.
    *(
        (side, step)
        for side in Approval
        for step in (Step.ESTABLISHED, Step.UNESTABLISHED)
        if side is not Approval.NONE
    ),
    # The preload obeys what was approved; that its word comes late takes a second link, or an approval withdrawn
    # after the run was over.
    (Approval.NONE, Step.ANSWERED),
}
"""Entries that the search does not come to: what leads there is not in its world."""


def entries() -> Iterator[tuple[life.Side, Step]]:
    for table in (LIFE, CUSTODY, APPROVAL, BEHIND):
        for side, row in table.items():
            yield from ((side, step) for step in row)


@pytest.mark.timeout(300)
def test_the_search_walks_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    reached: set[tuple[life.Side, Step]] = set()
    known = set(entries())
    after = life._after

    def walked(state: State, step: Step) -> State | life.Side:
        reached.update((side, step) for _table, side in sides(state) if (side, step) in known)
        return after(state, step)

    monkeypatch.setattr(life, "_after", walked)
    for cast in CASTS:
        for foreign in Foreign:
            found = search(foreign, cast)
            assert not found.wrong, "\n".join(found.path)
    never = {entry for entry in entries() if entry not in reached} - BEYOND
    assert sorted(never) == [], "no interleaving comes to these entries any more"
    assert sorted(reached & BEYOND) == [], "these are reached by now"

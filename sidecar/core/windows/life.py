"""The life of a window: one table for each of its sides says which step may follow in which state.

Theory of operation. Four small machines run side by side, and each sees only the steps that stand in its table:

- `Life`: is the run still in its window? A turn that was stopped stays in it until the run is done. A window whose
  recovery took in records of others is over only when these were found in the history.
- `Custody`: is it known what the transcript held at the fence, and all that was done to it since? Lost custody comes
  back with a new word of the fence only; a reading helps only where nothing was reported lost (rule 5).
- `Approval`: does an approval of exactly one step stand? It is counted in the budgets once for each fence.
- `Behind`: did a fence move across something that nobody had explained? That is judged once, when all reports are in.

A machine that sees a step and has no entry for it refuses it with `IllegalStepError`, before anything has changed.
This is where two sides meet: an approval is illegal while custody is not known (rule 1), and nothing is legal once the
window is over. What may come late by nature is an entry that leads nowhere: a second word that the turn was stopped,
or word of a command that was taken back meanwhile. The engine answers an illegal step with no and loses custody of the
window; it never stops.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Any, Final

from sidecar.core.errors import IllegalStepError
from sidecar.core.facts.value import Value


class Step(StrEnum):
    """What happens to a window."""

    FENCE_MOVED = "fence moved"
    """The run recorded another version than before as its fence."""
    ESTABLISHED = "established"
    """The run named its fence, and reports say what the transcript held there."""
    UNESTABLISHED = "unestablished"
    """The run named its fence, and what the transcript held there is to be read."""
    READ = "read"
    """The transcript was read, and still was as at the fence."""
    CUSTODY_LOST = "custody lost"
    LEFT_BEHIND = "left behind"
    """The fence moved across something that nobody had explained."""
    JUDGED = "judged"
    """What was left behind was judged, or can't be any more; there was nothing to tell."""
    TAKEN_IN = "taken in"
    """What was left behind is a stranger's, and a person is told."""
    APPROVED = "approved"
    WITHDRAWN = "withdrawn"
    ANSWERED = "answered"
    """The preload obeyed the approval, or refused it."""
    STOPPED = "stopped"
    """The gateway's own fence stopped the turn."""
    ENDED = "ended"
    """The run is done with its window, or its process is gone."""
    ENDED_UNPROVEN = "ended unproven"
    """Likewise, and the history must be searched for the records that recoveries took in."""
    HISTORY_READ = "history read"


class Life(StrEnum):
    """Whether the run is in its window."""

    OPEN = "open"
    STOPPED = "stopped"
    """Its turn is lost; word that the run is done follows."""
    UNPROVEN = "unproven"
    """The run is done; its history has not been read yet."""
    OVER = "over"


class Custody(StrEnum):
    """Whether the account of the transcript since the fence is whole."""

    KNOWN = "known"
    AWAITED = "awaited"
    """A reading of the transcript that still is as at the fence would establish it."""
    LOST = "lost"
    """Nothing is assumed until the run names its fence again."""


class Approval(StrEnum):
    """Whether a recovery from the present fence was approved."""

    NONE = "none"
    STANDING = "standing"
    """Approved, and neither seen applied nor taken back."""
    COUNTED = "counted"
    """None stands; one was approved at this fence, and is counted."""


class Behind(StrEnum):
    """What the fences of the window have left behind unexplained."""

    NOTHING = "nothing"
    UNJUDGED = "unjudged"
    TOLD = "told"
    """A stranger's bytes were taken in, and a person was told; once is enough."""


Side = Life | Custody | Approval | Behind
Table = Mapping[Any, Mapping[Step, Any]]

_IN_WINDOW: Final = frozenset(Step) - {Step.ENDED, Step.ENDED_UNPROVEN, Step.HISTORY_READ, Step.STOPPED}

_ENDS: Final = {Step.STOPPED: Life.STOPPED, Step.ENDED: Life.OVER, Step.ENDED_UNPROVEN: Life.UNPROVEN}

LIFE: Final[Mapping[Life, Mapping[Step, Life]]] = {
    Life.OPEN: {**dict.fromkeys(_IN_WINDOW, Life.OPEN), **_ENDS},
    Life.STOPPED: {**dict.fromkeys(_IN_WINDOW, Life.STOPPED), **_ENDS},
    Life.UNPROVEN: {Step.HISTORY_READ: Life.OVER},
    Life.OVER: {},
}

_WHATEVER: Final = {
    Step.ESTABLISHED: Custody.KNOWN,
    Step.UNESTABLISHED: Custody.AWAITED,
    Step.CUSTODY_LOST: Custody.LOST,
}
"""Where these steps lead, whatever was known of custody before."""

CUSTODY: Final[Mapping[Custody, Mapping[Step, Custody]]] = {
    Custody.KNOWN: {**_WHATEVER, Step.LEFT_BEHIND: Custody.KNOWN, Step.APPROVED: Custody.KNOWN},
    Custody.AWAITED: {**_WHATEVER, Step.READ: Custody.KNOWN},
    Custody.LOST: _WHATEVER,
}

APPROVAL: Final[Mapping[Approval, Mapping[Step, Approval]]] = {
    Approval.NONE: {
        Step.APPROVED: Approval.STANDING,
        **dict.fromkeys((Step.FENCE_MOVED, Step.ESTABLISHED, Step.UNESTABLISHED), Approval.NONE),
        **dict.fromkeys((Step.ANSWERED, Step.STOPPED), Approval.NONE),
    },
    Approval.STANDING: {
        Step.FENCE_MOVED: Approval.NONE,
        Step.APPROVED: Approval.STANDING,
        **dict.fromkeys((Step.ESTABLISHED, Step.UNESTABLISHED, Step.WITHDRAWN, Step.ANSWERED), Approval.COUNTED),
    },
    Approval.COUNTED: {
        Step.FENCE_MOVED: Approval.NONE,
        Step.APPROVED: Approval.STANDING,
        **dict.fromkeys((Step.ESTABLISHED, Step.UNESTABLISHED, Step.ANSWERED, Step.STOPPED), Approval.COUNTED),
    },
}

BEHIND: Final[Mapping[Behind, Mapping[Step, Behind]]] = {
    Behind.NOTHING: {Step.LEFT_BEHIND: Behind.UNJUDGED, Step.CUSTODY_LOST: Behind.NOTHING},
    Behind.UNJUDGED: {
        Step.CUSTODY_LOST: Behind.NOTHING,
        Step.JUDGED: Behind.NOTHING,
        Step.TAKEN_IN: Behind.TOLD,
    },
    Behind.TOLD: {Step.CUSTODY_LOST: Behind.TOLD},
}


class State(Value, frozen=True):
    """Where a window stands, on each side."""

    life: Life = Life.OPEN
    custody: Custody = Custody.LOST
    approval: Approval = Approval.NONE
    behind: Behind = Behind.NOTHING

    def after(self, step: Step, window: str) -> State:
        """The state that this step leads to.

        Raises:
            IllegalStepError: One of the tables has no such step in its state; the error names the window.
        """
        found = _after(self, step)
        if isinstance(found, State):
            return found
        raise IllegalStepError(window, found.value, step.value)


def sides(state: State) -> tuple[tuple[Table, Side], ...]:
    """Each table, and the state that is looked up in it."""
    return (LIFE, state.life), (CUSTODY, state.custody), (APPROVAL, state.approval), (BEHIND, state.behind)


@cache
def _after(state: State, step: Step) -> State | Side:
    """The next state, or the side that refuses."""
    following: list[Any] = []
    for table, side in sides(state):
        sees = any(step in row for row in table.values())
        if sees and step not in table[side]:
            return side
        following.append(table[side][step] if sees else side)
    return State(*following)

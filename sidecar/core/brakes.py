"""What stands between a verdict that allows a recovery and the command: mode, pause, storm, budgets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core.budget import Budget, Purse, Scope
from sidecar.core.hold import Held, Hold, Pause
from sidecar.core.policy import Mode
from sidecar.core.reasons import Reason, ReasonCode
from sidecar.core.storm import Storm

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.core.budget import Spent
    from sidecar.core.policy import Policy

_HOLDS: Final = {Scope.SESSION: Hold.SESSION_BUDGET, Scope.GATEWAY: Hold.GATEWAY_BUDGET}
_USED: Final = {Scope.SESSION: ReasonCode.SESSION_BUDGET_USED, Scope.GATEWAY: ReasonCode.GATEWAY_BUDGET_USED}


class Brakes:
    """Decides whether a recovery that is allowed is made now.

    Attributes:
        mode: recover or observe.
        pause: What an operator asked for; None when nothing.
        storm: Whether there is one.
        budget: What was spent.
    """

    def __init__(self, mode: Mode, spent: Iterable[Spent] = ()) -> None:
        """Nothing holds but the mode; ``spent`` are the recoveries of an earlier life."""
        self.mode = mode
        self.pause: Pause | None = None
        self.storm = Storm()
        self.budget = Budget(spent)

    def held(self, policy: Policy, file: str, at_ns: int, *, paid: bool = False) -> Held | None:
        """What holds back a recovery of this file now; None when nothing does.

        Args:
            policy: The one in force.
            file: The session file.
            at_ns: The time of the event that asks.
            paid: This fence has been counted already, so no budget is asked.
        """
        if self.mode is not Mode.RECOVER:
            return Held(Hold.OBSERVE, Reason(ReasonCode.OBSERVING))
        if self.pause is not None and self.pause.active(at_ns):
            paused = Reason.of(ReasonCode.PAUSED, until_ns=self.pause.until_ns, note=self.pause.reason)
            return Held(Hold.PAUSE, paused)
        if policy.storm is not None and self.storm.active(at_ns):
            return Held(Hold.STORM, self.storm.reason(policy.storm))
        if paid:
            return None
        for purse in self.budget.purses(policy.limits, file, at_ns):
            if purse.left == 0:
                return Held(_HOLDS[purse.scope], _exhausted(purse), purse)
        return None


def _exhausted(purse: Purse) -> Reason:
    return Reason.of(
        _USED[purse.scope],
        used=purse.used,
        limit=purse.limit,
        period_ns=purse.period_ns,
        free_at_ns=purse.free_at_ns,
    )

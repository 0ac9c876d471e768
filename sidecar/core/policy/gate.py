"""What stands between a verdict that allows a recovery and the command: mode, pause, storm, budgets."""

from collections.abc import Iterable
from typing import Final

from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.policy.blocked import Block, BlockReason, Pause
from sidecar.core.policy.budget import Budget, BudgetUse, Scope, Spent
from sidecar.core.policy.policy import Mode, Policy
from sidecar.core.policy.storm import Storm

_HOLDS: Final = {Scope.SESSION: BlockReason.SESSION_BUDGET, Scope.GATEWAY: BlockReason.GATEWAY_BUDGET}
_USED: Final = {Scope.SESSION: ReasonCode.SESSION_BUDGET_USED, Scope.GATEWAY: ReasonCode.GATEWAY_BUDGET_USED}


class RecoveryGate:
    """Decides whether a recovery that is allowed is made now."""

    def __init__(self, mode: Mode, spent: Iterable[Spent] = ()) -> None:
        """Nothing holds but the mode; ``spent`` are the recoveries of an earlier life."""
        self.mode = mode
        self.pause: Pause | None = None
        self.storm = Storm()
        self.budget = Budget(spent)

    def held(self, policy: Policy, file: str, at_ns: int, *, paid: bool = False) -> Block | None:
        """What holds back a recovery of this file now; None when nothing does. A ``paid`` fence asks for no budget."""
        if self.mode is not Mode.RECOVER:
            return Block(BlockReason.OBSERVE, Reason(ReasonCode.OBSERVING))
        if self.pause is not None and self.pause.active(at_ns):
            paused = Reason.of(ReasonCode.PAUSED, until_ns=self.pause.until_ns, note=self.pause.reason)
            return Block(BlockReason.PAUSE, paused)
        if policy.storm is not None and self.storm.active(at_ns):
            return Block(BlockReason.STORM, self.storm.reason(policy.storm))
        if paid:
            return None
        for budget_use in self.budget.budget_uses(policy.limits, file, at_ns):
            if budget_use.left == 0:
                return Block(_HOLDS[budget_use.scope], _exhausted(budget_use), budget_use)
        return None


def _exhausted(budget_use: BudgetUse) -> Reason:
    return Reason.of(
        _USED[budget_use.scope],
        used=budget_use.used,
        limit=budget_use.limit,
        period_ns=budget_use.period_ns,
        free_at_ns=budget_use.free_at_ns,
    )

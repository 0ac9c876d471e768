"""Why a recovery that the verdict allows is held back all the same."""

from enum import StrEnum

from sidecar.core.facts.reasons import Reason
from sidecar.core.facts.value import Value
from sidecar.core.policy.budget import BudgetUse


class BlockReason(StrEnum):
    """What holds it back."""

    NONE = "none"
    """Nothing."""
    OBSERVE = "observe"
    """The mode gives no commands."""
    PAUSE = "pause"
    """An operator asked for a pause."""
    STORM = "storm"
    """Many sessions changed at once."""
    SESSION_BUDGET = "session_budget"
    """This session has had its recoveries."""
    GATEWAY_BUDGET = "gateway_budget"
    """The gateway has had its recoveries."""
    POLICY = "policy"
    """A rule of the policy does not allow it."""


class Block(Value, frozen=True):
    """A recovery is held back."""

    hold: BlockReason
    reason: Reason
    budget_use: BudgetUse | None = None


class Pause(Value, frozen=True):
    """An operator wants no recoveries for a while; verdicts and telemetry go on."""

    reason: str
    since_ns: int
    until_ns: int

    def active(self, at_ns: int) -> bool:
        """It is in force. One that was asked for by a clock ahead of ours is, too."""
        return at_ns < self.until_ns

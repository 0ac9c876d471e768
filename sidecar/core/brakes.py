"""What stands between a verdict that allows a recovery and the command: mode, pause, storm, budgets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sidecar.core.budget import Budget, Purse, Scope
from sidecar.core.hold import Held, Hold, Pause
from sidecar.core.policy import Mode
from sidecar.core.storm import Storm

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.core.budget import Spent
    from sidecar.core.policy import Policy

_NS_PER_SECOND: Final = 1_000_000_000
_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_HOLDS: Final = {Scope.SESSION: Hold.SESSION_BUDGET, Scope.GATEWAY: Hold.GATEWAY_BUDGET}
_OWNERS: Final = {Scope.SESSION: "this session", Scope.GATEWAY: "this gateway"}


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

    def met(self, policy: Policy, file: str, at_ns: int) -> bool:
        """A session met a change that is not its run's own. True when a storm begins with it."""
        return policy.storm is not None and self.storm.met(policy.storm, file, at_ns)

    def held(self, policy: Policy, file: str, at_ns: int, *, paid: bool = False) -> Held | None:
        """What holds back a recovery of this file now; None when nothing does.

        Args:
            policy: The one in force.
            file: The session file.
            at_ns: The time of the event that asks.
            paid: This fence has been counted already, so no budget is asked.
        """
        if self.mode is not Mode.RECOVER:
            return Held(Hold.OBSERVE, f"the mode is {self.mode.value}")
        if self.pause is not None and self.pause.active(at_ns):
            return Held(Hold.PAUSE, f"recovery is paused until {utc(self.pause.until_ns)}: {self.pause.reason}")
        if policy.storm is not None and self.storm.active(at_ns):
            limit = policy.storm
            return Held(
                Hold.STORM,
                f"{limit.sessions} or more sessions changed within {span(limit.within_ns)}; recovery is stopped until"
                f" {utc(self.storm.until_ns)}",
            )
        if paid:
            return None
        for purse in self.budget.purses(policy.limits, file, at_ns):
            if purse.left == 0:
                return Held(_HOLDS[purse.scope], _exhausted(purse), purse)
        return None


def _exhausted(purse: Purse) -> str:
    free = f"; the next may come at {utc(purse.free_at_ns)}" if purse.free_at_ns else ""
    return (
        f"the budget of {_OWNERS[purse.scope]} is used up: {purse.used} of {purse.limit} recoveries in"
        f" {span(purse.period_ns)}{free}"
    )


def span(length_ns: int) -> str:
    """A length of time for people, in the largest units that give a whole number."""
    seconds = length_ns // _NS_PER_SECOND
    for unit, name in _UNITS:
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds // unit} {name}"
    return f"{length_ns / _NS_PER_SECOND:g} s"


def utc(at_ns: int) -> str:
    """A time for people, to the second."""
    return datetime.fromtimestamp(at_ns // _NS_PER_SECOND, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

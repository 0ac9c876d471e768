"""How many recoveries there may be in a time: for one session, and for the gateway.

A recovery is counted when it is approved, once for each fence, whatever becomes of it. Times come with the calls. One
that lies ahead (a clock was set back) counts until it has passed.
"""

from bisect import bisect_right, insort
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from sidecar.core.facts.value import Value

MAX_RECOVERIES: Final = 100_000
"""The largest number that a budget may have, and how many past recoveries are kept in mind."""

MAX_PERIOD_NS: Final = 31 * 86_400 * 1_000_000_000
"""The longest time that a budget may be for."""

_MANY: Final = 4096
"""From so many session files on, those that are long past are forgotten."""


class Scope(StrEnum):
    """What a budget is for."""

    SESSION = "session"
    """Each session file has its own."""
    GATEWAY = "gateway"
    """All that this sidecar watches."""


class Limit(Value, frozen=True):
    """So many in so long.

    Attributes:
        recoveries: How many; 0 for none at all.
        period_ns: In any period of this length.
    """

    recoveries: int
    period_ns: int


class Limits(Value, frozen=True):
    """The budgets of a policy; None where there is none."""

    session: Limit | None = None
    gateway: Limit | None = None


class Spent(Value, frozen=True):
    """A recovery that was approved."""

    at_ns: int
    file: str


class BudgetUse(Value, frozen=True):
    """A budget at one moment. ``free_at_ns`` is 0 when there is room for the next now, or never will be."""

    scope: Scope
    limit: int
    period_ns: int
    used: int
    free_at_ns: int = 0

    @property
    def left(self) -> int:
        """How many there may still be."""
        return max(0, self.limit - self.used)


class Budget:
    """Keeps count of the recoveries."""

    def __init__(self, spent: Iterable[Spent] = ()) -> None:
        self._all: list[int] = []
        self._by_session: dict[str, list[int]] = {}
        for item in sorted(spent, key=lambda s: s.at_ns):
            self.spend(item.file, item.at_ns)

    def spend(self, file: str, at_ns: int) -> None:
        """Count one."""
        _insert(self._all, at_ns)
        _insert(self._by_session.setdefault(file, []), at_ns)
        if len(self._by_session) > _MANY:
            self._by_session = {f: times for f, times in self._by_session.items() if times[-1] > at_ns - MAX_PERIOD_NS}

    def budget_uses(self, limits: Limits, file: str, at_ns: int) -> tuple[BudgetUse, ...]:
        """The budgets that a recovery of this file would be counted in, the narrower one first."""
        found: list[BudgetUse] = []
        if limits.session is not None:
            found.append(_budget_use(Scope.SESSION, limits.session, self._by_session.get(file, []), at_ns))
        if limits.gateway is not None:
            found.append(_budget_use(Scope.GATEWAY, limits.gateway, self._all, at_ns))
        return tuple(found)

    def least(self, limits: Limits, at_ns: int) -> tuple[BudgetUse, ...]:
        """The gateway's budget, and that of the session with the least left."""
        found: list[BudgetUse] = []
        if limits.session is not None:
            each = (_budget_use(Scope.SESSION, limits.session, times, at_ns) for times in self._by_session.values())
            unused = BudgetUse(Scope.SESSION, limits.session.recoveries, limits.session.period_ns, 0)
            found.append(min(each, key=lambda budget_use: budget_use.left, default=unused))
        if limits.gateway is not None:
            found.append(_budget_use(Scope.GATEWAY, limits.gateway, self._all, at_ns))
        return tuple(found)


def _insert(times: list[int], at_ns: int) -> None:
    """Keep the times in order; most come at the end."""
    insort(times, at_ns)
    del times[:-MAX_RECOVERIES]


def _budget_use(scope: Scope, limit: Limit, times: list[int], at_ns: int) -> BudgetUse:
    used = min(limit.recoveries, len(times) - bisect_right(times, at_ns - limit.period_ns))
    full = used == limit.recoveries and used > 0
    free_at_ns = times[-limit.recoveries] + limit.period_ns if full else 0
    return BudgetUse(scope, limit.recoveries, limit.period_ns, used, free_at_ns)

"""A storm: many sessions change at once, which is not a co-tenant's normal work.

A storm begins when so many session files met a change in their windows within a time. It lasts until so long after the
last moment at which that was true. While it lasts nothing is recovered, and one person is told, once.
"""

from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.value import Value


class StormLimit(Value, frozen=True):
    """What counts as a storm.

    Attributes:
        sessions: So many sessions,
        within_ns: in so long,
        cooldown_ns: stop recovery until so long after.
    """

    sessions: int
    within_ns: int
    cooldown_ns: int


class Storm:
    """Watches for one. The last one ends, or ended, at ``until_ns``; 0 when there was none."""

    def __init__(self) -> None:
        self._met: dict[str, int] = {}
        self.until_ns = 0
        self._told = True

    def met(self, limit: StormLimit, file: str, at_ns: int) -> bool:
        """A session met a change that was not its own run's.

        Returns:
            A storm begins with it.
        """
        self._met[file] = max(at_ns, self._met.get(file, 0))
        self._met = {f: last for f, last in self._met.items() if last > at_ns - limit.within_ns}
        if len(self._met) < limit.sessions:
            return False
        begins = not self.active(at_ns)
        self.until_ns = max(self.until_ns, at_ns + limit.cooldown_ns)
        if begins:
            self._told = False
        return begins

    def reason(self, limit: StormLimit) -> Reason:
        """Why recovery is stopped, in the codes of the core."""
        return Reason.of(ReasonCode.STORM, sessions=limit.sessions, within_ns=limit.within_ns, until_ns=self.until_ns)

    def active(self, at_ns: int) -> bool:
        """Recovery is stopped."""
        return at_ns < self.until_ns

    def tell(self) -> bool:
        """Whether nobody has been told of this storm; from now on somebody has."""
        told, self._told = self._told, True
        return not told

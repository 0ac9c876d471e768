"""Whether runs may wait longer for a database than their gateway does: said ahead, for it can't ask while it waits."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sidecar.core.decisions import Decision, EndPatience, GrantPatience, SaveIncident
from sidecar.core.facts.database import DatabaseHold
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.verdict.incident import Outcome
from sidecar.core.verdict.judge import Judgement, Verdict
from sidecar.core.windows.decide import Decider
from sidecar.core.windows.life import Life
from sidecar.core.windows.registry import Registry
from sidecar.core.windows.window import Window

_HARMLESS: Final = frozenset({Verdict.UNCHANGED, Verdict.OWN, Verdict.CO_TENANT})
"""A turn that met anything else goes its stock way."""


@dataclass(eq=False, slots=True)
class DatabasePatience:
    """Grants patience where the policy has it, and takes it back."""

    _registry: Registry
    _decider: Decider

    def held(self, hold: DatabaseHold, windows: Iterable[Window], at_ns: int, *, foreign: bool) -> list[Decision]:
        """A process holds a database for writing. Runs with these windows there may wait for one that is known."""
        patience = self._decider.policy.patience
        if patience is None or (foreign and not patience.waits_for(hold.process)):
            return []
        reason = Reason.of(ReasonCode.DATABASE_HOLDER_KNOWN, holder=hold.label())
        decisions: list[Decision] = []
        for window in windows:
            if not self._may_wait(window, at_ns):
                continue
            unchanged = Judgement(
                Verdict.UNCHANGED, Grade.NONE, reason, may_recover=True, policy=self._decider.policy.digest
            )
            self._decider.observe(window, unchanged, window.fence, at_ns)
            intent = self._decider.conclude(window, Outcome.APPROVED, reason)
            grant = GrantPatience(link=window.gateway.link, window=window.window_id, tries=patience.tries)
            decisions += [SaveIncident(incident=intent), grant]
            window.patient = True
        return decisions

    def withdraw(self, windows: Iterable[Window]) -> list[Decision]:
        """These runs wait no longer than their gateway does: the holder is gone, or the rules are others."""
        decisions: list[Decision] = []
        for window in windows:
            if window.patient:
                window.patient = False
                decisions.append(EndPatience(link=window.gateway.link, window=window.window_id))
        return decisions

    def _may_wait(self, window: Window, at_ns: int) -> bool:
        incident = window.incident
        if window.state.life is Life.STOPPED or window.account.broken is not None or not window.account.known:
            return False
        if incident is not None and incident.verdict not in _HARMLESS:
            return False
        # No fence is moved, so no budget is asked.
        return self._decider.gate.held(self._decider.policy, window.file, at_ns, paid=True) is None

"""Questions that a gateway stopped waiting for: the answer is not obeyed, and that is nobody's error in the gateway.

A gateway waits 250 ms. It says so when it stops waiting, ahead of all that it then does without an answer, and once
more when the answer comes after all.
"""

from dataclasses import dataclass
from typing import Final

from sidecar.core.decisions import Decision
from sidecar.core.events import AnswerLate, SidecarHalted
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.units import NS_PER_MS, NS_PER_SECOND
from sidecar.core.verdict.incident import Outcome
from sidecar.core.windows.decide import Decider, saved, withdraw
from sidecar.core.windows.lost_turns import LostTurns
from sidecar.core.windows.registry import Registry
from sidecar.core.windows.window import LateAnswer, Window

CAUSE_NS: Final = NS_PER_SECOND
"""A halt that ended so short a time before the sidecar heard that nobody waits is the cause of it."""


@dataclass(eq=False, slots=True)
class LateAnswers:
    """Says of a recovery whose command nobody waited for that it was late.

    Attributes:
        _lost_turns: The windows whose turn was lost.
        _halted: When the sidecar itself did not run last; None while it has run all the time.
    """

    _registry: Registry
    _decider: Decider
    _lost_turns: LostTurns
    _halted: SidecarHalted | None = None

    def halted(self, event: SidecarHalted) -> list[Decision]:
        """The sidecar itself did not run: a line in the timeline of every window."""
        self._halted = event
        self._decider.note("sidecar not running", "", event.at_ns, _halt(event))
        return []

    def late(self, event: AnswerLate) -> list[Decision]:
        """The gateway stopped waiting, or the answer came after that."""
        window = self._registry.windows.get(event.window) or self._lost_turns.window(event.window)
        if window is None:
            return []
        if window.late is not None and window.late.ask == event.ask:
            return self._came(window, window.late, event)
        waited = f"{event.waited_ns / NS_PER_MS:.0f} ms"
        reason = Reason.of(ReasonCode.ANSWERED_TOO_LATE, self._why(event), waited_ns=event.waited_ns)
        window.late = LateAnswer(event.ask, event.waited_ns, reason)
        window.note(event.at_ns, "no answer in time", f"the gateway went on after {waited}")
        taken_back = withdraw(window)
        if window.incident is None or window.incident.recovery.outcome is not Outcome.APPROVED:
            return taken_back
        return [*taken_back, *self.told(window, window.late)]

    def told(self, window: Window, late: LateAnswer) -> list[Decision]:
        """The verdict allowed a recovery, and its command comes too late."""
        return saved(self._decider.conclude(window, Outcome.LATE, late.reason))

    def _came(self, window: Window, late: LateAnswer, event: AnswerLate) -> list[Decision]:
        after = Reason.of(ReasonCode.ANSWER_CAME_AFTER, after_ns=event.waited_ns - late.waited_ns)
        window.note(event.at_ns, "answer came late", reason=after)
        if window.incident is None or window.incident.recovery.outcome is not Outcome.LATE:
            return []
        window.late = LateAnswer(late.ask, late.waited_ns, late.reason.also(after))
        return self.told(window, window.late)

    def _why(self, event: AnswerLate) -> Reason:
        halted = self._halted
        if halted is None or event.heard_ns - halted.at_ns > CAUSE_NS:
            return Reason(ReasonCode.SIDECAR_SLOW)
        return _halt(halted)


def _halt(halted: SidecarHalted) -> Reason:
    since_ns, until_ns = halted.since_ns, halted.at_ns
    return Reason.of(ReasonCode.SIDECAR_HALTED, since_ns=since_ns, until_ns=until_ns, halted_ns=until_ns - since_ns)

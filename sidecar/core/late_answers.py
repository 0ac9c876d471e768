"""Questions that a gateway stopped waiting for: the answer is not obeyed, and that is nobody's error in the gateway.

A gateway waits 250 ms. It says so when it stops waiting, ahead of all that it then does without an answer, and once
more when the answer comes after all.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sidecar.core.court import saved, withdraw
from sidecar.core.incident import NS_PER_SECOND, Outcome
from sidecar.core.window import LateAnswer

if TYPE_CHECKING:
    from sidecar.core.aftermath import Aftermath
    from sidecar.core.court import Court
    from sidecar.core.decisions import Decision
    from sidecar.core.events import AnswerLate, SidecarHalted
    from sidecar.core.registry import Registry
    from sidecar.core.window import Window

CAUSE_NS: Final = NS_PER_SECOND
"""A halt that ended so short a time before the sidecar heard that nobody waits is the cause of it."""

_NS_PER_MS: Final = 1_000_000


class LateAnswers:
    """Says of a recovery whose command nobody waited for that it was late."""

    def __init__(self, registry: Registry, court: Court, aftermath: Aftermath) -> None:
        """The sidecar has run all the time. ``aftermath`` has the windows whose turn was lost."""
        self._registry = registry
        self._court = court
        self._aftermath = aftermath
        self._halted: SidecarHalted | None = None

    def halted(self, event: SidecarHalted) -> list[Decision]:
        """The sidecar itself did not run: a line in the timeline of every window."""
        self._halted = event
        self._court.note("sidecar not running", _span(event), event.at_ns)
        return []

    def late(self, event: AnswerLate) -> list[Decision]:
        """The gateway stopped waiting, or the answer came after that."""
        window = self._registry.windows.get(event.window) or self._aftermath.window(event.window)
        if window is None:
            return []
        if window.late is not None and window.late.ask == event.ask:
            return self._came(window, window.late, event)
        waited = f"{event.waited_ns / _NS_PER_MS:.0f} ms"
        window.late = LateAnswer(event.ask, event.waited_ns, f"the gateway waited {waited} for it; {self._why(event)}")
        window.note(event.at_ns, "no answer in time", f"the gateway went on after {waited}")
        taken_back = withdraw(window)
        if window.incident is None or window.incident.recovery.outcome is not Outcome.APPROVED:
            return taken_back
        return [*taken_back, *self.told(window, window.late)]

    def told(self, window: Window, late: LateAnswer) -> list[Decision]:
        """The verdict allowed a recovery, and its command comes too late."""
        reason = f"the answer came too late: {late.reason}"
        return saved(window.amend(window.recovery(Outcome.LATE, self._court.mode, reason)))

    def _came(self, window: Window, late: LateAnswer, event: AnswerLate) -> list[Decision]:
        after = f"{(event.waited_ns - late.waited_ns) / _NS_PER_MS:.0f} ms after the gateway had stopped waiting"
        window.note(event.at_ns, "answer came late", after)
        if window.incident is None or window.incident.recovery.outcome is not Outcome.LATE:
            return []
        window.late = LateAnswer(late.ask, late.waited_ns, f"{late.reason}; it came {after}")
        return self.told(window, window.late)

    def _why(self, event: AnswerLate) -> str:
        halted = self._halted
        if halted is None or event.heard_ns - halted.at_ns > CAUSE_NS:
            return "the sidecar was too slow"
        return f"the sidecar was not running {_span(halted)}"


def _span(halted: SidecarHalted) -> str:
    seconds = (halted.at_ns - halted.since_ns) / NS_PER_SECOND
    return f"for {seconds:.1f} s, from {_clock(halted.since_ns)} to {_clock(halted.at_ns)} UTC"


def _clock(at_ns: int) -> str:
    """A time of the day, to the millisecond."""
    return datetime.fromtimestamp(at_ns / NS_PER_SECOND, tz=UTC).strftime("%H:%M:%S.%f")[:-3]

"""Session stalls, by the gateway's classification.

The gateway repeats itself while a session stalls (every half minute, or ever more rarely, by the kind of the stall).
One episode is counted once: from the first such event to the next change of the session's state, or to the end of the
gateway. A stalled session that goes on within the same state says nothing any more: its episode ends a while after the
last word of it.
"""

from dataclasses import dataclass
from typing import Final

from sidecar.core.facts.bounded import Bounded
from sidecar.core.reports import Diagnostic
from sidecar.telemetry.metrics.instrument import counter, gauge, values
from sidecar.telemetry.metrics.meters import Meters
from sidecar.telemetry.names.labels import Stall
from sidecar.telemetry.names.names import Label

STALLS = counter(
    "session.stalls",
    "{episode}",
    "Times that a session did not go on, each episode once, by what the gateway called it.",
    {Label.STATE: values(Stall)},
)
SESSIONS_STALLED = gauge(
    "sessions.stalled", "{session}", "Sessions that do not go on now.", {Label.STATE: values(Stall)}
)

MAX_EPISODES: Final = 1_024

QUIET_NS: Final = 150 * 1_000_000_000
"""A stalled session is heard of every 30 s; after five times that, it goes on."""

_STATES: Final = {f"session.{stall.value}": stall for stall in Stall}
_ENDS: Final = frozenset({"session.state", "session.recovery.completed"})


@dataclass(slots=True)
class _Episode:
    link: str
    state: Stall
    last_ns: int


class Stalls:
    """Tells episodes apart."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._open: Bounded[tuple[str, str], _Episode] = Bounded(MAX_EPISODES)

    def diagnostic(self, message: Diagnostic, link: str) -> None:
        """Take in an event of the gateway's diagnostics bus."""
        key = (link, message.session)
        stall = _STATES.get(message.event)
        if stall is None:
            if message.event in _ENDS:
                self._open.pop(key)
            return
        at_ns = message.at_ns
        known = self._open.get(key)
        if known is None or known.state is not stall or _is_over(known, at_ns):
            self._meters.add(STALLS, labels={Label.STATE: stall.value})
        self._open.put(key, _Episode(link, stall, at_ns))

    def link_lost(self, link: str) -> None:
        """Nothing more will be heard of the sessions of this gateway."""
        self._open.take(lambda episode: episode.link == link)

    def readings(self, now_ns: int) -> list[tuple[float, dict[Label, str]]]:
        """How many sessions do not go on now, by state."""
        counts = dict.fromkeys(Stall, 0)
        for episode in self._open.values():
            if not _is_over(episode, now_ns):
                counts[episode.state] += 1
        return [(count, {Label.STATE: state.value}) for state, count in counts.items()]


def _is_over(episode: _Episode, now_ns: int) -> bool:
    return episode.state is Stall.STALLED and now_ns - episode.last_ns > QUIET_NS

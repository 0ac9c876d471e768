"""Passes each event and outcome to the metric family that counts it."""

from typing import Final

from sidecar.telemetry.metrics import custody, databases, gateways, locks, recoveries, windows
from sidecar.telemetry.metrics.agents import Agents
from sidecar.telemetry.metrics.counting import Counting, Handlers
from sidecar.telemetry.metrics.meters import Meters
from sidecar.telemetry.names.runs import RunTraces

_HANDLERS: Final[Handlers] = {
    **locks.HANDLERS,
    **databases.HANDLERS,
    **windows.HANDLERS,
    **recoveries.HANDLERS,
    **gateways.HANDLERS,
    **custody.HANDLERS,
}


class Counters:
    """All families that count facts."""

    def __init__(self, meters: Meters, runs: RunTraces) -> None:
        self._into = Counting(meters, runs, Agents())

    def take(self, fact: object) -> None:
        """Count an event or outcome of the core, a report, or a model call that is over."""
        handler = _HANDLERS.get(type(fact))
        if handler is not None:
            handler(self._into, fact)

"""Passes each event and outcome to the metric families that count it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sidecar.telemetry.metrics.agents import Agents
from sidecar.telemetry.metrics.custody import CustodyCounts
from sidecar.telemetry.metrics.gateways import GatewayCounts
from sidecar.telemetry.metrics.locks import LockCounts
from sidecar.telemetry.metrics.recoveries import RecoveryCounts
from sidecar.telemetry.metrics.windows import WindowCounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.telemetry.metrics.meters import Meters
    from sidecar.telemetry.names.runs import RunTraces


class Counters:
    """All families that count facts."""

    def __init__(self, meters: Meters, runs: RunTraces) -> None:
        """Count into ``meters``; ``runs`` tells which trace is an example of a measurement."""
        agents = Agents()
        self._handlers: dict[type, Callable[[Any], None]] = {}
        for family in (LockCounts, WindowCounts, RecoveryCounts, GatewayCounts, CustodyCounts):
            self._handlers |= family(meters, runs, agents).handlers()

    def take(self, fact: object) -> None:
        """Count an event or outcome of the core, a report, or a model call that is over."""
        handler = self._handlers.get(type(fact))
        if handler is not None:
            handler(fact)

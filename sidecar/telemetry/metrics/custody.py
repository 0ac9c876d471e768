"""Custody: how often it is lost, and for how long."""

from collections.abc import Callable
from typing import Final

from sidecar.core.facts.loss import Loss
from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.core.outcomes import CustodyLost
from sidecar.telemetry.metrics.counting import Guarded, by, guarded
from sidecar.telemetry.metrics.instrument import counter, values
from sidecar.telemetry.metrics.meters import Meters
from sidecar.telemetry.names.names import Label

CUSTODY_LOSSES = counter(
    "custody.losses", "{loss}", "Times that custody became unknown, by class of reason.", {Label.REASON: values(Loss)}
)
CUSTODY_UNKNOWN = counter(
    "custody.unknown", "s", "Time that custody of a fenced file was unknown, added up over the files."
)


HANDLERS: Final = by(CustodyLost, CUSTODY_LOSSES, Label.REASON, lambda lost: lost.loss.value)


class LossCounts(Guarded):
    """Counts losses that touch no file."""

    @guarded
    def spared(self, loss: Loss) -> None:
        """Events were lost, and no file is touched by it. It counts all the same."""
        self._meters.add(CUSTODY_LOSSES, labels={Label.REASON: loss.value})


class CustodyTime:
    """Adds up. Custody changes with events only, so what is unknown at an event was unknown since the last one."""

    def __init__(self, meters: Meters, unknown: Callable[[], int], clock: Callable[[], int]) -> None:
        """``unknown`` says how many files are of unknown custody now; ``clock`` is in nanoseconds, never set back."""
        self._meters = meters
        self._unknown = unknown
        self._clock = clock
        self._last_ns = clock()

    def tick(self) -> None:
        """To be called ahead of each event, and now and then without one."""
        now_ns = self._clock()
        files = self._unknown()
        if files:
            self._meters.add(CUSTODY_UNKNOWN, files * (now_ns - self._last_ns) / NS_PER_SECOND)
        self._last_ns = now_ns

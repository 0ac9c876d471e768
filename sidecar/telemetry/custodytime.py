"""How long custody of a fenced file was unknown, added up over the files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.telemetry.names import Metric

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.telemetry.series import Meters

_NS_PER_SECOND: Final = 1_000_000_000


class CustodyTime:
    """Adds up. Custody changes with events only, so what is unknown at an event was unknown since the last one."""

    def __init__(self, meters: Meters, unknown: Callable[[], int], clock: Callable[[], int]) -> None:
        """Count into ``meters``.

        Args:
            meters: Where the time goes.
            unknown: How many fenced files are of unknown custody now.
            clock: Nanoseconds, never set back.
        """
        self._meters = meters
        self._unknown = unknown
        self._clock = clock
        self._last_ns = clock()

    def tick(self) -> None:
        """To be called ahead of each event, and now and then without one."""
        now_ns = self._clock()
        files = self._unknown()
        if files:
            self._meters.add(Metric.CUSTODY_UNKNOWN, files * (now_ns - self._last_ns) / _NS_PER_SECOND)
        self._last_ns = now_ns

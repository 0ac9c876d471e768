"""Takeovers that a gateway reported: two lines of its log and a trip of its fence are one event."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from sidecar.telemetry.labels import TakeoverSource
from sidecar.telemetry.names import Label, Metric
from sidecar.telemetry.table import OpenTable

if TYPE_CHECKING:
    from sidecar.telemetry.series import Meters

MAX_REMEMBERED: Final = 4_096

SAME_NS: Final = 60 * 1_000_000_000
"""A line of the log names no run: so long after another word of the same file, it is about the same takeover."""


class Takeovers:
    """Counts each once."""

    def __init__(self, meters: Meters) -> None:
        """None was reported; they are counted in ``meters``."""
        self._meters = meters
        self._runs: OpenTable[tuple[str, str], int] = OpenTable(MAX_REMEMBERED)
        self._unclaimed: OpenTable[str, int] = OpenTable(MAX_REMEMBERED)
        """Files of which only the log spoke: the fence's word for it may still come."""
        self._last: OpenTable[str, int] = OpenTable(MAX_REMEMBERED)

    def tripped(self, run: str, file: str, at_ns: int) -> None:
        """The preload saw the gateway's fence stop a run; ``run`` is its id, or the window's where it has none."""
        name = PurePath(file).name
        if self._runs.get((run, name)) is not None:
            return
        self._runs.put((run, name), at_ns)
        self._last.put(name, at_ns)
        logged = self._unclaimed.pop(name)
        if logged is None or abs(at_ns - logged) > SAME_NS:
            self._meters.add(Metric.TAKEOVERS, labels={Label.SOURCE: TakeoverSource.FENCE.value})

    def logged(self, file: str, at_ns: int) -> None:
        """The gateway's log spoke of a takeover of this file."""
        name = PurePath(file).name
        last = self._last.get(name)
        self._last.put(name, at_ns)
        if last is None or abs(at_ns - last) > SAME_NS:
            self._unclaimed.put(name, at_ns)
            self._meters.add(Metric.TAKEOVERS, labels={Label.SOURCE: TakeoverSource.LOG.value})

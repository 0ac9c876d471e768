"""Gauges, read from the sidecar's status at the moment of a collection."""

from __future__ import annotations

import platform
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

from sidecar import __version__
from sidecar.core.policy import Mode
from sidecar.telemetry.labels import NONE
from sidecar.telemetry.names import Label, Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sidecar.status import GatewayStatus, Status

_NS_PER_SECOND: Final = 1_000_000_000
_FRESH_SECONDS: Final = 0.1
"""One collection reads a dozen gauges: they share one status."""

_BUILD: Final = {Label.VERSION: __version__, Label.PYTHON: platform.python_version()}

Reading = tuple[float, "Mapping[Label, str]"]


class StatusSource(Protocol):
    """Whoever knows how the sidecar is."""

    def status(self) -> Status:
        """How it is now.

        Called from the thread that answers a scrape and, with an OTLP backend, from the exporter's: it must be
        quick and safe in any thread. When it raises, the gauges are missing from that collection.
        """
        ...


class StatusGauges:
    """Implements `sidecar.telemetry.series.Gauges`."""

    def __init__(self, source: StatusSource, failed: Callable[[], None]) -> None:
        """Read ``source``; ``failed`` is called when it raises."""
        self._source = source
        self._failed = failed
        self._known: Mapping[Metric, Iterable[Reading]] = {}
        self._read_at = -_FRESH_SECONDS

    def read(self) -> Mapping[Metric, Iterable[Reading]]:
        """The gauges, at most a moment old."""
        now = monotonic()
        if now - self._read_at >= _FRESH_SECONDS:
            try:
                self._known = _readings(self._source.status())
            except Exception:  # noqa: BLE001 - a status that can't be had must not cost the counters
                self._known = {Metric.BUILD_INFO: [(1, _BUILD)]}
                self._failed()
            self._read_at = now
        return self._known


def _readings(status: Status) -> Mapping[Metric, Iterable[Reading]]:
    return {
        Metric.LINKS: [(sum(gateway.threads for gateway in status.gateways if gateway.linked), {})],
        Metric.GATEWAYS: _gateways(status.gateways),
        Metric.WINDOWS_OPEN: [(status.windows, {})],
        Metric.READY: [(int(status.ready), {})],
        Metric.MODE: [(int(status.mode == mode), {Label.MODE: mode.value}) for mode in Mode],
        Metric.PROBLEMS: [(len(status.problems), {})],
        Metric.PAGES_PENDING: [(status.pages.pending, {})],
        Metric.WATCH_FILES: [(status.watch.files, {})],
        Metric.WATCH_DIRECTORIES: [(status.watch.directories, {})],
        Metric.START_TIME: [(status.started_at_ns / _NS_PER_SECOND, {})],
        Metric.BUILD_INFO: [(1, _BUILD)],
    }


def _gateways(gateways: Iterable[GatewayStatus]) -> list[Reading]:
    counts: dict[tuple[str, str], int] = {("pending", "true"): 0, (NONE, "false"): 0}
    for gateway in gateways:
        key = (gateway.adapter or NONE, str(gateway.linked).lower())
        counts[key] = counts.get(key, 0) + 1
    return [(n, {Label.ADAPTER: adapter, Label.LINKED: linked}) for (adapter, linked), n in counts.items()]

"""Gauges, read from the sidecar's status at the moment of a collection."""

from __future__ import annotations

import platform
from asyncio import AbstractEventLoop, get_running_loop
from concurrent.futures import Future
from math import inf
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

from sidecar import __version__
from sidecar.core.policy import Mode
from sidecar.telemetry.labels import NONE, PolicySource, Queue
from sidecar.telemetry.names import Label, Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sidecar.status import GatewayStatus, Status

_NS_PER_SECOND: Final = 1_000_000_000
_FRESH_SECONDS: Final = 0.1
"""One collection reads a dozen gauges: they share one status."""

_WAIT_SECONDS: Final = 1.0
"""How long a collection in another thread waits for the service's."""

_BUILD: Final = {Label.VERSION: __version__, Label.PYTHON: platform.python_version()}

Reading = tuple[float, "Mapping[Label, str]"]


class StatusSource(Protocol):
    """Whoever knows how the sidecar is."""

    def status(self) -> Status:
        """How it is now.

        Must be quick. Called in the thread that bound the source, if that runs an event loop, whatever thread collects;
        else in the thread that collects. When it raises, that collection shows what was known before.
        """
        ...


class StatusGauges:
    """Implements `sidecar.telemetry.series.Gauges`."""

    def __init__(
        self,
        source: StatusSource,
        failed: Callable[[Exception], None],
        more: Callable[[], Mapping[Metric, Iterable[Reading]]] = dict,
    ) -> None:
        """Read ``source``, and ``more`` in the same thread; ``failed`` is called when one of them raises."""
        self._source = source
        self._more = more
        self._failed = failed
        self._known: Mapping[Metric, Iterable[Reading]] = {Metric.BUILD_INFO: [(1, _BUILD)]}
        self._fresh_until = monotonic()
        self._owner = get_ident()
        self._loop = _running_loop()

    def read(self) -> Mapping[Metric, Iterable[Reading]]:
        """The gauges, at most a moment old."""
        if monotonic() >= self._fresh_until:
            try:
                self._known = self._ask()
            except Exception as error:  # noqa: BLE001 - a status that can't be had must not cost the counters
                self._failed(error)
            self._fresh_until = max(self._fresh_until, monotonic() + _FRESH_SECONDS)
        return self._known

    def freeze(self) -> None:
        """Keep what is known: the sidecar stops, and what the status rests on may be closed."""
        self._fresh_until = inf

    def _now(self) -> Mapping[Metric, Iterable[Reading]]:
        return {**_readings(self._source.status()), **self._more()}

    def _ask(self) -> Mapping[Metric, Iterable[Reading]]:
        """The status may rest on things of the service's thread, such as a database connection."""
        if self._loop is None or get_ident() == self._owner:
            return self._now()
        answer: Future[Mapping[Metric, Iterable[Reading]]] = Future()

        def ask() -> None:
            try:
                answer.set_result(self._now())
            except Exception as error:  # noqa: BLE001 - raised where it was asked
                answer.set_exception(error)

        self._loop.call_soon_threadsafe(ask)
        return answer.result(_WAIT_SECONDS)


def _running_loop() -> AbstractEventLoop | None:
    try:
        return get_running_loop()
    except RuntimeError:
        return None


def _readings(status: Status) -> Mapping[Metric, Iterable[Reading]]:
    return {
        Metric.LINKS: [(sum(gateway.threads for gateway in status.gateways if gateway.linked), {})],
        Metric.GATEWAYS: _gateways(status.gateways),
        Metric.PRELOAD_MISMATCHES: [(sum(not gateway.preload_fits for gateway in status.gateways), {})],
        Metric.LOCKS_HELD: [(status.watch.locks, {})],
        Metric.LOCK_HELD_AGE: [(status.watch.oldest_lock_seconds, {})],
        Metric.CUSTODY_UNKNOWN_FILES: [(status.custody_unknown, {})],
        Metric.QUEUE_BYTES: [
            (sum(gateway.backlog_bytes for gateway in status.gateways), {Label.QUEUE: Queue.LINK.value}),
            (status.watch.backlog_bytes, {Label.QUEUE: Queue.WATCH.value}),
        ],
        Metric.WINDOWS_OPEN: [(status.windows, {})],
        Metric.READY: [(int(status.ready), {})],
        Metric.MODE: [(int(status.mode == mode), {Label.MODE: mode.value}) for mode in Mode],
        Metric.PROBLEMS: [(len(status.problems), {})],
        Metric.PAGES_PENDING: [(status.pages.pending, {})],
        Metric.WATCH_FILES: [(status.watch.files, {})],
        Metric.WATCH_DIRECTORIES: [(status.watch.directories, {})],
        Metric.POLICY_INFO: [
            (int(bool(status.policy.file) == (source is PolicySource.FILE)), {Label.SOURCE: source.value})
            for source in PolicySource
        ],
        Metric.POLICY_RULES: [(status.policy.rules, {})],
        Metric.POLICY_GOOD: [(int(status.policy.good), {})],
        Metric.POLICY_LOAD_TIME: [(status.policy.loaded_at_ns / _NS_PER_SECOND, {})],
        Metric.BUDGET_LIMIT: [(budget.limit, {Label.SCOPE: budget.scope}) for budget in status.budgets],
        Metric.BUDGET_REMAINING: [(budget.left, {Label.SCOPE: budget.scope}) for budget in status.budgets],
        Metric.PAUSED: [(int(status.pause is not None), {})],
        Metric.STORM: [(int(status.storm_until_ns > 0), {})],
        Metric.START_TIME: [(status.started_at_ns / _NS_PER_SECOND, {})],
        Metric.BUILD_INFO: [(1, _BUILD)],
    }


def _gateways(gateways: Iterable[GatewayStatus]) -> list[Reading]:
    counts: dict[tuple[str, str], int] = {("pending", "true"): 0, (NONE, "false"): 0}
    for gateway in gateways:
        key = (gateway.adapter or NONE, str(gateway.linked).lower())
        counts[key] = counts.get(key, 0) + 1
    return [(n, {Label.ADAPTER: adapter, Label.LINKED: linked}) for (adapter, linked), n in counts.items()]

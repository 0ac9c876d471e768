"""Gauges, read from the sidecar's status at the moment of a collection."""

import platform
from asyncio import AbstractEventLoop, get_running_loop, run_coroutine_threadsafe
from collections.abc import Callable, Iterable, Mapping
from math import inf
from threading import get_ident
from time import monotonic
from typing import Final

from sidecar import __version__
from sidecar.core.facts.gateway import Adapter
from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.core.policy.budget import Scope
from sidecar.core.policy.policy import Mode
from sidecar.status import GatewayStatus, Status
from sidecar.telemetry.metrics.instrument import Instrument, gauge, values
from sidecar.telemetry.names.labels import NONE, DatabaseTrouble, Queue
from sidecar.telemetry.names.names import Label

_FRESH_SECONDS: Final = 0.1
"""One collection reads a dozen gauges: they share one status."""

_WAIT_SECONDS: Final = 1.0
"""How long a collection in another thread waits for the service's."""

_BUILD: Final = {Label.VERSION: __version__, Label.PYTHON: platform.python_version()}

Reading = tuple[float, "Mapping[Label, str]"]

_OF_STATUS: Final[dict[Instrument, Callable[[Status], Iterable[Reading]]]] = {}
"""How each gauge is read."""


def _read(
    name: str,
    unit: str,
    help_: str,
    read: Callable[[Status], Iterable[Reading]],
    labels: Mapping[Label, frozenset[str] | None] | None = None,
) -> Instrument:
    made = gauge(name, unit, help_, labels)
    _OF_STATUS[made] = read
    return made


def _one(name: str, unit: str, help_: str, value: Callable[[Status], float]) -> Instrument:
    return _read(name, unit, help_, lambda status: [(value(status), {})])


LOCKS_HELD = _one("locks.held", "{lock}", "Session locks held now, by anyone.", lambda s: s.watch.locks)
LOCK_HELD_AGE = _one(
    "lock.held.age",
    "s",
    "Age of the oldest session lock held now; 0 when none is.",
    lambda s: s.watch.oldest_lock_seconds,
)
DATABASE_FOREIGN_HELD_AGE = _one(
    "database.foreign.held.age",
    "s",
    "For how long a process without a link has been seen to hold an agent's database for writing; 0 when none does.",
    lambda s: s.foreign_hold_seconds,
)
DATABASE_SIZE = _read(
    "database.size",
    "By",
    "Size of the greatest database of OpenClaw, and of the longest write-ahead log.",
    lambda s: [(s.databases.size_bytes, {Label.PART: "database"}), (s.databases.wal_bytes, {Label.PART: "wal"})],
    {Label.PART: frozenset({"database", "wal"})},
)
DATABASE_TROUBLES = _read(
    "database.troubles",
    "{database}",
    "Databases of OpenClaw in trouble now, by what it is.",
    lambda s: [(s.databases.troubles.get(trouble, 0), {Label.TROUBLE: trouble.value}) for trouble in DatabaseTrouble],
    {Label.TROUBLE: values(DatabaseTrouble)},
)
CUSTODY_UNKNOWN_FILES = _one(
    "custody.unknown.files", "{file}", "Fenced files of which custody is unknown now.", lambda s: s.custody_unknown
)
LINKS = _one("links", "{link}", "Links open.", lambda s: sum(g.threads for g in s.gateways if g.linked))
GATEWAYS = _read(
    "gateways",
    "{gateway}",
    "OpenClaw processes seen, by the adapter for their fence and whether they are linked.",
    lambda s: _gateways(s.gateways),
    {Label.ADAPTER: values(Adapter, NONE), Label.LINKED: frozenset({"true", "false"})},
)
UNVERIFIED = _one(
    "gateways.unverified",
    "{gateway}",
    "Linked processes that are not verified: nothing rests on what they say.",
    lambda s: sum(g.linked and not g.verified for g in s.gateways),
)
PRELOAD_MISMATCHES = _one(
    "preload.mismatches",
    "{gateway}",
    "Linked processes whose preload is not of this sidecar's version.",
    lambda s: sum(not g.preload_fits for g in s.gateways),
)
WINDOWS_OPEN = _one("windows.open", "{window}", "Fences set now.", lambda s: s.windows)
READY = _one("ready", "1", "1 when socket, watch and store are in place.", lambda s: s.ready)
MODE = _read(
    "mode",
    "1",
    "1 for the mode in force.",
    lambda s: [(s.mode == mode, {Label.MODE: mode.value}) for mode in Mode],
    {Label.MODE: values(Mode)},
)
PROBLEMS = _one("problems", "{problem}", "Problems that an operator should mend.", lambda s: len(s.problems))
PAGES_PENDING = _one("pages.pending", "{page}", "Notifications that wait for an attempt.", lambda s: s.pages.pending)
QUEUE_BYTES = _read(
    "queue",
    "By",
    "What waits to be read or taken.",
    lambda s: [
        (sum(gateway.backlog_bytes for gateway in s.gateways), {Label.QUEUE: Queue.LINK.value}),
        (s.watch.backlog_bytes, {Label.QUEUE: Queue.WATCH.value}),
    ],
    {Label.QUEUE: values((Queue.LINK, Queue.WATCH))},
)
WATCH_FILES = _one("watch.files", "{file}", "Session files known.", lambda s: s.watch.files)
WATCH_DIRECTORIES = _one(
    "watch.directories", "{directory}", "Sessions directories watched.", lambda s: s.watch.directories
)
POLICY_INFO = _read(
    "policy.info",
    "1",
    "1 for where the policy in force comes from.",
    lambda s: [(bool(s.policy.file) == (source == "file"), {Label.SOURCE: source}) for source in ("built_in", "file")],
    {Label.SOURCE: frozenset({"built_in", "file"})},
)
POLICY_RULES = _one("policy.rules", "{rule}", "Rules of the policy in force.", lambda s: s.policy.rules)
POLICY_GOOD = _one(
    "policy.reload.successful",
    "1",
    "1 when the policy file as it was read last is in force, 0 when it was refused.",
    lambda s: s.policy.good,
)
POLICY_LOAD_TIME = _one(
    "policy.load.time",
    "s",
    "When the policy in force was taken, seconds since the epoch.",
    lambda s: s.policy.loaded_at_ns / NS_PER_SECOND,
)
BUDGET_LIMIT = _read(
    "recovery.budget.limit",
    "{recovery}",
    "Recoveries that the policy allows in a period; nothing where it has no budget.",
    lambda s: [(budget.limit, {Label.SCOPE: budget.scope}) for budget in s.budgets],
    {Label.SCOPE: values(Scope)},
)
BUDGET_REMAINING = _read(
    "recovery.budget.remaining",
    "{recovery}",
    "Recoveries left now, for the session with the fewest and for the gateway; nothing where there is no budget.",
    lambda s: [(budget.left, {Label.SCOPE: budget.scope}) for budget in s.budgets],
    {Label.SCOPE: values(Scope)},
)
PAUSED = _one("paused", "1", "1 while an operator has paused recovery.", lambda s: s.pause is not None)
STORM = _one(
    "storm", "1", "1 while recovery is stopped because many sessions changed at once.", lambda s: s.storm_until_ns > 0
)
RECORDS_CHANGED = _one(
    "records.changed",
    "{record}",
    "Findings of the last look at the chain of records, and since: what somebody else has changed in the store.",
    lambda s: s.records.changed,
)
RECORDS_VERIFIED_TIME = _one(
    "records.verified.time",
    "s",
    "When the records were last held against their chain, seconds since the epoch; 0 before the first time.",
    lambda s: s.records.verified_at_ns / NS_PER_SECOND,
)
START_TIME = _one(
    "start.time", "s", "When the sidecar started, seconds since the epoch.", lambda s: s.started_at_ns / NS_PER_SECOND
)
BUILD_INFO = _read(
    "build.info",
    "1",
    "1; the labels tell what runs.",
    lambda _: [(1, _BUILD)],
    {Label.VERSION: None, Label.PYTHON: None},
)


class StatusGauges:
    """All gauges."""

    def __init__(
        self,
        status: Callable[[], Status],
        failed: Callable[[Exception], None],
        more: Callable[[], Mapping[Instrument, Iterable[Reading]]] = dict,
    ) -> None:
        """Nothing is read yet.

        Args:
            status: How the sidecar is now. Must be quick. Called in this thread, if that runs an event loop, whatever
                thread collects; else in the thread that collects. When it raises, that collection has no gauges but
                `BUILD_INFO`: a value that nobody has looked at is not shown as if it were of now.
            failed: Called with what was raised.
            more: Further gauges, read in the same thread.
        """
        self._status = status
        self._more = more
        self._failed = failed
        self._known: Mapping[Instrument, Iterable[Reading]] = {BUILD_INFO: [(1, _BUILD)]}
        self._fresh_until = monotonic()
        self._owner = get_ident()
        self._loop = _running_loop()

    def read(self) -> Mapping[Instrument, Iterable[Reading]]:
        """The gauges, at most a moment old."""
        if monotonic() >= self._fresh_until:
            try:
                self._known = self._ask()
            except Exception as error:  # noqa: BLE001 - a status that can't be had must not cost the counters
                self._failed(error)
                self._known = {BUILD_INFO: [(1, _BUILD)]}
            self._fresh_until = max(self._fresh_until, monotonic() + _FRESH_SECONDS)
        return self._known

    def freeze(self) -> None:
        """Keep what is known: the sidecar stops, and what the status rests on may be closed."""
        self._fresh_until = inf

    def _now(self) -> Mapping[Instrument, Iterable[Reading]]:
        status = self._status()
        return {
            **{
                metric: [(float(value), labels) for value, labels in read(status)]
                for metric, read in _OF_STATUS.items()
            },
            **self._more(),
        }

    def _ask(self) -> Mapping[Instrument, Iterable[Reading]]:
        """The status may rest on things of the service's thread, such as a database connection."""
        if self._loop is None or get_ident() == self._owner:
            return self._now()

        async def now() -> Mapping[Instrument, Iterable[Reading]]:
            return self._now()

        return run_coroutine_threadsafe(now(), self._loop).result(_WAIT_SECONDS)


def _running_loop() -> AbstractEventLoop | None:
    try:
        return get_running_loop()
    except RuntimeError:
        return None


def _gateways(gateways: Iterable[GatewayStatus]) -> list[Reading]:
    counts: dict[tuple[str, str], int] = {("pending", "true"): 0, (NONE, "false"): 0}
    for gateway in gateways:
        key = (gateway.adapter or NONE, str(gateway.linked).lower())
        counts[key] = counts.get(key, 0) + 1
    return [(n, {Label.ADAPTER: adapter, Label.LINKED: linked}) for (adapter, linked), n in counts.items()]

"""The sidecar's own work: its loop, its policy file, its pages, its log."""

from sidecar.telemetry.metrics.counting import Guarded, guarded
from sidecar.telemetry.metrics.instrument import LATENCY_BUCKETS, counter, histogram, values
from sidecar.telemetry.names.labels import PageOutcome, PolicyLoad
from sidecar.telemetry.names.names import Label

LOOP_DELAY = histogram(
    "loop.delay",
    "How late the sidecar came to what was due, looked at ten times a second, or twice with no gateway linked.",
    LATENCY_BUCKETS,
)
NOT_RUNNING = counter(
    "not_running", "s", "Time that the sidecar itself did not run: stopped, given no processor, or held up by a disk."
)
WATCH_OVERFLOWS = counter("watch.overflows", "{overflow}", "Overflows of the kernel's queue of file events.")
POLICY_LOADS = counter(
    "policy.loads",
    "{load}",
    "Times that a policy file was read, by what became of it.",
    {Label.OUTCOME: values(PolicyLoad)},
)
PAGES = counter("pages", "{page}", "Notifications, by outcome.", {Label.OUTCOME: values(PageOutcome)})
LOG_LINES = counter(
    "log.lines",
    "{line}",
    "Log lines, by level.",
    {Label.LEVEL: frozenset({"debug", "info", "warning", "error", "critical"})},
)


class ServiceCounts(Guarded):
    """Counts what the service tells."""

    @guarded
    def delayed(self, seconds: float) -> None:
        """The service came so late to something that was due."""
        self._meters.record(LOOP_DELAY, seconds)

    @guarded
    def halted(self, seconds: float) -> None:
        """The sidecar did not run for so long."""
        self._meters.add(NOT_RUNNING, seconds)

    @guarded
    def overflow(self) -> None:
        """The kernel's queue of file events overflowed."""
        self._meters.add(WATCH_OVERFLOWS)

    @guarded
    def policy_read(self, *, taken: bool) -> None:
        """A policy file was read."""
        outcome = PolicyLoad.LOADED if taken else PolicyLoad.REFUSED
        self._meters.add(POLICY_LOADS, labels={Label.OUTCOME: outcome.value})

    @guarded
    def page(self, outcome: PageOutcome | str) -> None:
        """A notification was tried; a word that `PageOutcome` does not have counts as ``other``."""
        self._meters.add(PAGES, labels={Label.OUTCOME: outcome})

    @guarded
    def logged(self, level: str, count: int = 1) -> None:
        """Log lines were written."""
        self._meters.add(LOG_LINES, count, {Label.LEVEL: level})

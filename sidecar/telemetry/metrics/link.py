"""What comes in from preloads and elsewhere."""

from sidecar.telemetry.metrics.counting import Guarded, guarded
from sidecar.telemetry.metrics.instrument import counter, values
from sidecar.telemetry.names.labels import Rejection
from sidecar.telemetry.names.names import Label

REPORTS = counter("reports", "{report}", "Messages received from preloads.")
REPORT_GAPS = counter("report.gaps", "{gap}", "Gaps in the sequence of a link's messages.")
REPORTS_LOST = counter("reports.lost", "{report}", "Messages that preloads had to drop.")
REJECTED = counter("input.rejected", "{input}", "Input not taken, by reason.", {Label.REASON: values(Rejection)})


class InputCounts(Guarded):
    """Counts messages."""

    @guarded
    def report(self, count: int = 1) -> None:
        """Messages came from a preload."""
        self._meters.add(REPORTS, count)

    @guarded
    def gap(self, count: int = 1) -> None:
        """A link's messages are not in sequence."""
        self._meters.add(REPORT_GAPS, count)

    @guarded
    def lost(self, count: int) -> None:
        """A preload had to drop messages."""
        self._meters.add(REPORTS_LOST, count)

    @guarded
    def rejected(self, reason: Rejection | str) -> None:
        """Input was not taken; a word that `Rejection` does not have counts as ``other``."""
        self._meters.add(REJECTED, labels={Label.REASON: reason})

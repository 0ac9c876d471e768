"""The time in which custody is unknown is added up over the files."""

from sidecar.telemetry.metrics.custody import CUSTODY_UNKNOWN, CustodyTime
from tests.telemetry.conftest import Bench
from tests.telemetry.facts import SECOND


def test_it_adds_up_between_events(bench: Bench) -> None:
    now, files = [0], [0]
    time = CustodyTime(bench.telemetry._meters, lambda: files[0], lambda: now[0])
    for at, unknown in ((5, 0), (6, 2), (9, 1), (10, 0), (20, 0)):
        now[0] = at * SECOND
        time.tick()
        files[0] = unknown
    assert bench.value(CUSTODY_UNKNOWN) == 2 * 3 + 1 * 1


def test_it_starts_at_0(bench: Bench) -> None:
    assert [point.value for point in bench.points(CUSTODY_UNKNOWN)] == [0]  # type: ignore[union-attr] # a gauge

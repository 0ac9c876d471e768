"""Takeovers that a gateway reported, and what its log says of them: once each."""

from opentelemetry.sdk.metrics.export import HistogramDataPoint

from sidecar.core import events as ev
from sidecar.core.facts.value import replace
from sidecar.core.reports import Diagnostic
from sidecar.telemetry.metrics.gateways import GATEWAY_LOG, TURN_LOST_WAIT
from sidecar.telemetry.metrics.recoveries import TAKEOVERS
from tests.telemetry import facts
from tests.telemetry.conftest import Bench
from tests.telemetry.facts import FILE, GATEWAY, RUN, SECOND, T0

OTHER_FILE = FILE.replace("0a1b", "2c3d")


def lane(at_ns: int, session: str = "5e55", file: str = FILE) -> Diagnostic:
    more: dict[str, str | float] = {"session": session, "reason": "takeover", "file": file, "duration_ms": 9028.0}
    return facts.diagnostic("log.lane_task_error", at_ns, run="", **more)


def log(bench: Bench, report: Diagnostic) -> None:
    """A line of the gateway's log, as the service takes it in."""
    bench.telemetry.diagnostic(report, GATEWAY)
    event = ev.GatewayLogged(
        file=report.file,
        run_id=report.run,
        session=report.session,
        what="lane task error",
        waited_ns=0,
        at_ns=report.at_ns,
        takeover=report.reason == "takeover",
    )
    bench.tell(event)


def test_a_trip_the_end_of_its_window_and_two_lanes_are_one_takeover(bench: Bench) -> None:
    bench.tell(facts.fence(T0), facts.tripped(T0 + SECOND), facts.closed(T0 + SECOND, takeover=True))
    log(bench, lane(T0 + 2 * SECOND, session=""))
    log(bench, lane(T0 + 2 * SECOND))
    assert bench.value(TAKEOVERS, source="fence") == 1
    assert bench.value(TAKEOVERS, source="log") == 0
    assert bench.value(GATEWAY_LOG, event="lane_task_error") == 2


def test_a_takeover_that_only_the_log_tells_counts_once(bench: Bench) -> None:
    log(bench, lane(T0, session=""))
    log(bench, lane(T0 + 1))
    assert bench.value(TAKEOVERS, source="log") == 1


def test_the_log_may_speak_first(bench: Bench) -> None:
    log(bench, lane(T0))
    bench.tell(facts.tripped(T0 + 1))
    assert bench.value(TAKEOVERS) == 1


def test_each_run_and_each_file_counts(bench: Bench) -> None:
    bench.tell(
        facts.tripped(T0), facts.tripped(T0 + 1), facts.tripped(T0 + 2, run=replace(RUN, run_id="run-2"), window="w2")
    )
    log(bench, lane(T0 + 3, file=OTHER_FILE))
    assert bench.value(TAKEOVERS, source="fence") == 2
    assert bench.value(TAKEOVERS, source="log") == 1


def test_the_same_file_may_be_taken_over_again(bench: Bench) -> None:
    log(bench, lane(T0))
    log(bench, lane(T0 + 61 * SECOND))
    assert bench.value(TAKEOVERS, source="log") == 2


def test_how_long_the_user_waited_is_measured_once(bench: Bench) -> None:
    log(bench, lane(T0, session=""))
    log(bench, lane(T0))
    (waited,) = bench.points(TURN_LOST_WAIT)
    assert isinstance(waited, HistogramDataPoint)
    assert (waited.count, waited.sum) == (1, 9.028)


def test_another_error_of_a_lane_is_no_takeover(bench: Bench) -> None:
    more: dict[str, str | float] = {"session": "5e55", "reason": "error", "duration_ms": 12.0}
    log(bench, facts.diagnostic("log.lane_task_error", T0, **more))
    assert bench.value(TAKEOVERS) == 0
    assert bench.points(TURN_LOST_WAIT) == []

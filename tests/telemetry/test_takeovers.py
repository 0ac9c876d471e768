"""Takeovers that a gateway reported, and what its log says of them: once each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics.export import HistogramDataPoint

from sidecar.telemetry.names import Metric
from tests.telemetry import facts
from tests.telemetry.facts import FILE, GATEWAY, RUN, SECOND, T0

if TYPE_CHECKING:
    from sidecar.core.reports import Diagnostic
    from tests.telemetry.conftest import Bench

OTHER_FILE = FILE.replace("0a1b", "2c3d")


def lane(at_ns: int, session: str = "5e55", file: str = FILE) -> Diagnostic:
    more: dict[str, str | float] = {"session": session, "reason": "takeover", "file": file, "duration_ms": 9028.0}
    return facts.diagnostic("log.lane_task_error", at_ns, run="", **more)


def test_a_trip_the_end_of_its_window_and_two_lanes_are_one_takeover(bench: Bench) -> None:
    bench.tell(facts.fence(T0), facts.tripped(T0 + SECOND), facts.closed(T0 + SECOND, takeover=True))
    bench.telemetry.diagnostic(lane(T0 + 2 * SECOND, session=""), GATEWAY)
    bench.telemetry.diagnostic(lane(T0 + 2 * SECOND), GATEWAY)
    assert bench.value(Metric.TAKEOVERS, source="fence") == 1
    assert bench.value(Metric.TAKEOVERS, source="log") == 0
    assert bench.value(Metric.GATEWAY_LOG, event="lane_task_error") == 2


def test_a_takeover_that_only_the_log_tells_counts_once(bench: Bench) -> None:
    bench.telemetry.diagnostic(lane(T0, session=""), GATEWAY)
    bench.telemetry.diagnostic(lane(T0 + 1), GATEWAY)
    assert bench.value(Metric.TAKEOVERS, source="log") == 1


def test_the_log_may_speak_first(bench: Bench) -> None:
    bench.telemetry.diagnostic(lane(T0), GATEWAY)
    bench.tell(facts.tripped(T0 + 1))
    assert bench.value(Metric.TAKEOVERS) == 1


def test_each_run_and_each_file_counts(bench: Bench) -> None:
    bench.tell(facts.tripped(T0), facts.tripped(T0 + 1), facts.tripped(T0 + 2, run=replace(RUN, run_id="run-2")))
    bench.telemetry.diagnostic(lane(T0 + 3, file=OTHER_FILE), GATEWAY)
    assert bench.value(Metric.TAKEOVERS, source="fence") == 2
    assert bench.value(Metric.TAKEOVERS, source="log") == 1


def test_the_same_file_may_be_taken_over_again(bench: Bench) -> None:
    bench.telemetry.diagnostic(lane(T0), GATEWAY)
    bench.telemetry.diagnostic(lane(T0 + 61 * SECOND), GATEWAY)
    assert bench.value(Metric.TAKEOVERS, source="log") == 2


def test_how_long_the_user_waited_is_measured_once(bench: Bench) -> None:
    bench.telemetry.diagnostic(lane(T0, session=""), GATEWAY)
    bench.telemetry.diagnostic(lane(T0), GATEWAY)
    (waited,) = bench.points(Metric.TURN_LOST_WAIT)
    assert isinstance(waited, HistogramDataPoint)
    assert (waited.count, waited.sum) == (1, 9.028)


def test_another_error_of_a_lane_is_no_takeover(bench: Bench) -> None:
    more: dict[str, str | float] = {"session": "5e55", "reason": "error", "duration_ms": 12.0}
    bench.telemetry.diagnostic(facts.diagnostic("log.lane_task_error", T0, **more), GATEWAY)
    assert bench.value(Metric.TAKEOVERS) == 0
    assert bench.points(Metric.TURN_LOST_WAIT) == []

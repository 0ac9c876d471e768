"""Telemetry does not hurt the service."""

from collections.abc import Callable

import pytest
from prometheus_client import Metric

from sidecar.telemetry import Telemetry, open_pipeline
from tests.telemetry import facts
from tests.telemetry.conftest import Bench
from tests.telemetry.facts import GATEWAY, T0

CALLS: list[Callable[[Telemetry], None]] = [
    lambda t: t.event(facts.taken(T0)),
    lambda t: t.outcome(facts.changed(facts.incident())),
    lambda t: t.recorded(facts.incident()),
    lambda t: t.diagnostic(facts.diagnostic("model.call.error", T0), GATEWAY),
    lambda t: t.lock_failed(facts.lock_failed(T0)),
    lambda t: t.rejected("too_large"),
    lambda t: t.answered(0.1),
    lambda t: t.delayed(0.1),
    lambda t: t.report(1),
    lambda t: t.gap(1),
    lambda t: t.lost(1),
    lambda t: t.overflow(),
    lambda t: t.page("sent"),
    lambda t: t.logged("info"),
    lambda t: t.shutdown(),
]


class Broken:
    """Fails whatever is asked of it."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)


@pytest.mark.parametrize("call", CALLS)
def test_an_error_inside_never_reaches_the_service(call: Callable[[Telemetry], None]) -> None:
    telemetry = Telemetry(open_pipeline())
    for part in ("_counters", "_meters", "_pipeline", "_tracer", "_runs", "_calls"):
        setattr(telemetry, part, Broken())
    call(telemetry)
    assert telemetry.last_error.startswith("RuntimeError at test_guard.py:")


def test_an_error_inside_is_counted_and_shown() -> None:
    telemetry = Telemetry(open_pipeline())
    telemetry.event(None)  # type: ignore[arg-type] # on purpose
    assert telemetry.last_error == ""
    telemetry.diagnostic(None, GATEWAY)  # type: ignore[arg-type] # on purpose
    body, _ = telemetry.render_metrics()
    assert b"openclaw_sidecar_telemetry_errors_total 1.0" in body
    assert telemetry.last_error.startswith("AttributeError at facade.py:")
    telemetry.shutdown()


def test_a_scrape_that_fails_is_empty_and_counted() -> None:
    telemetry = Telemetry(open_pipeline())
    telemetry._scrape = BrokenScrape()  # type: ignore[assignment] # on purpose
    assert telemetry.render_metrics()[0] == b""
    assert telemetry.last_error.startswith("RuntimeError")
    telemetry.shutdown()


class BrokenScrape:
    def collect(self) -> list[Metric]:
        raise RuntimeError


def test_wild_numbers_cost_no_other_span(bench: Bench) -> None:
    telemetry = bench.telemetry
    telemetry.diagnostic(facts.diagnostic("model.call.completed", 10**19, duration_ms=1e300), GATEWAY)
    bench.tell(facts.taken(5, wait_ns=10**20), facts.released(10**20, held_ns=10**21))
    telemetry.shutdown()
    for span in bench.spans():
        assert span.start_time is not None
        assert span.end_time is not None
        assert 0 <= span.start_time <= span.end_time < 1 << 63
    assert len(bench.spans()) == 2

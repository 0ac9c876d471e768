"""Gauges come from the sidecar's status."""

import asyncio
import threading
from dataclasses import dataclass, field, replace

import pytest

from sidecar import __version__
from sidecar.status import (
    BudgetStatus,
    GatewayStatus,
    PageStatus,
    PauseStatus,
    PolicyStatus,
    Problem,
    Status,
    WatchStatus,
)
from sidecar.telemetry import Telemetry, open_pipeline
from sidecar.telemetry.metrics import gauges
from sidecar.telemetry.metrics.counting import ERRORS
from sidecar.telemetry.metrics.export import QUEUE_ITEMS
from tests.telemetry.conftest import Bench

STATUS = Status(
    version="0",
    pid=1,
    mode="observe",
    started_at_ns=1_790_000_000_500_000_000,
    ready=True,
    state_dir="/s",
    data_dir="/d",
    socket="/x",
    http="127.0.0.1:1",
    metrics="127.0.0.1:2",
    gateways=(
        GatewayStatus(pid=1, linked=True, adapter="swap", threads=2, backlog_bytes=30, verified=True),
        GatewayStatus(pid=2, linked=True, adapter="swap", threads=1, preload="0", preload_fits=False, backlog_bytes=3),
        GatewayStatus(pid=3, linked=False),
        GatewayStatus(pid=4, linked=True, adapter="teleport", threads=1),
    ),
    windows=3,
    custody_unknown=2,
    watch=WatchStatus(directories=2, files=9, backlog_bytes=64, locks=5, oldest_lock_seconds=301.5),
    pages=PageStatus(pending=4),
    policy=PolicyStatus(file="/p.toml", digest="0a1b", rules=2, loaded_at_ns=1_790_000_001_000_000_000, good=False),
    budgets=(
        BudgetStatus(scope="session", limit=5, period_seconds=3600, left=1),
        BudgetStatus(scope="gateway", limit=50, period_seconds=3600, left=46),
    ),
    pause=PauseStatus(reason="upgrade", since_ns=1, until_ns=2),
    problems=(Problem(code="preload_missing", what="w", remedy="r"),),
)


@dataclass
class Source:
    value: Status = STATUS
    asked: list[int] = field(default_factory=list)

    def status(self) -> Status:
        self.asked.append(threading.get_ident())
        return self.value


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "_FRESH_SECONDS", 0.0)


def test_the_gauges_show_the_status(bench: Bench) -> None:
    bench.telemetry.bind_status(Source().status)
    assert bench.value(gauges.LINKS) == 4
    assert bench.value(gauges.UNVERIFIED) == 2
    assert bench.value(gauges.WINDOWS_OPEN) == 3
    assert bench.value(gauges.READY) == 1
    assert bench.value(gauges.MODE, mode="observe") == 1
    assert bench.value(gauges.MODE, mode="recover") == 0
    assert bench.value(gauges.PROBLEMS) == 1
    assert bench.value(gauges.PAGES_PENDING) == 4
    assert bench.value(gauges.WATCH_FILES) == 9
    assert bench.value(gauges.WATCH_DIRECTORIES) == 2
    assert bench.value(gauges.PRELOAD_MISMATCHES) == 1
    assert bench.value(gauges.CUSTODY_UNKNOWN_FILES) == 2
    assert bench.value(gauges.LOCKS_HELD) == 5
    assert bench.value(gauges.LOCK_HELD_AGE) == 301.5
    assert bench.value(gauges.QUEUE_BYTES, queue="link") == 33
    assert bench.value(gauges.QUEUE_BYTES, queue="watch") == 64
    assert bench.value(QUEUE_ITEMS) == 0
    assert bench.value(gauges.POLICY_INFO, source="file") == 1
    assert bench.value(gauges.POLICY_INFO, source="built_in") == 0
    assert bench.value(gauges.POLICY_RULES) == 2
    assert bench.value(gauges.POLICY_GOOD) == 0
    assert bench.value(gauges.POLICY_LOAD_TIME) == 1_790_000_001
    assert bench.value(gauges.BUDGET_LIMIT, scope="gateway") == 50
    assert bench.value(gauges.BUDGET_REMAINING, scope="session") == 1
    assert bench.value(gauges.BUDGET_REMAINING, scope="gateway") == 46
    assert bench.value(gauges.PAUSED) == 1
    assert bench.value(gauges.STORM) == 0
    assert bench.value(gauges.START_TIME) == 1_790_000_000.5
    assert bench.value(gauges.BUILD_INFO, version=__version__) == 1
    assert bench.value(gauges.GATEWAYS, adapter="swap", linked="true") == 2
    assert bench.value(gauges.GATEWAYS, adapter="none", linked="false") == 1
    assert bench.value(gauges.GATEWAYS, adapter="other", linked="true") == 1


def test_a_status_that_fails_drops_the_gauges_and_keeps_the_counters(bench: Bench) -> None:
    source = Source()
    bench.telemetry.bind_status(source.status)
    assert bench.value(gauges.WINDOWS_OPEN) == 3
    source.value = None  # type: ignore[assignment] # on purpose
    assert bench.points(gauges.WINDOWS_OPEN) == [], "a value that nobody has read is shown as if it were of now"
    assert bench.value(gauges.BUILD_INFO) == 1
    assert bench.value(ERRORS) > 0
    assert bench.telemetry.last_error.startswith("AttributeError")
    source.value = replace(STATUS, windows=4)
    assert bench.value(gauges.WINDOWS_OPEN) == 4
    bench.telemetry._last_error = ""


def test_one_collection_asks_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "_FRESH_SECONDS", 60.0)
    source = Source()
    bench.telemetry.bind_status(source.status)
    bench.telemetry.render_metrics()
    assert len(source.asked) == 1


def test_the_status_is_asked_in_the_thread_of_the_service() -> None:
    async def serve() -> tuple[bytes, int, list[int]]:
        telemetry, source = Telemetry(open_pipeline()), Source()
        telemetry.bind_status(source.status)
        body, _ = await asyncio.to_thread(telemetry.render_metrics)
        telemetry.shutdown()
        return body, threading.get_ident(), source.asked

    body, service, asked = asyncio.run(serve())
    assert b"openclaw_sidecar_windows_open 3.0" in body
    assert asked
    assert set(asked) == {service}


def test_after_shutdown_the_status_is_not_asked_any_more(bench: Bench) -> None:
    source = Source()
    bench.telemetry.bind_status(source.status)
    assert bench.value(gauges.WINDOWS_OPEN) == 3
    bench.telemetry.shutdown()
    source.value = replace(STATUS, windows=7)
    count = len(source.asked)
    assert bench.telemetry._gauges is not None
    bench.telemetry._gauges.read()
    assert len(source.asked) == count

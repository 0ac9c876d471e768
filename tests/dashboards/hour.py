"""The scripted hour: a real sidecar, scraped by a real Prometheus, lives through it in well under a minute."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sidecar.demo.companion import Companion, believing
from sidecar.demo.pager import PageReceiver
from tests.alerts.shipped import quick_rules
from tests.dashboards.gateway import ScriptedGateway, Turn
from tests.dashboards.traceql import Seen
from tests.e2e.foreign import ForeignVerb
from tests.servers.prometheus import Prometheus
from tests.telemetry.receivers import Received, http_backend

SCRAPE_SECONDS: Final = 0.5
SCRAPES: Final = 6
"""How many scrapes there must be of a state, for rates of it."""
QUEUE: Final = Path("/proc/sys/fs/inotify/max_queued_events")
"""How many file events the kernel keeps for one reader."""

POLICY: Final = """
version = 1
[budget.session]
recoveries = 30
per = "1h"
[budget.gateway]
recoveries = 200
per = "1h"
"""
CALM: Final = (
    Turn("main"),
    Turn("main", cotenants=("inject",), pushed=True),
    Turn("support", agent="support", model=8, provider="openai", cotenants=("channel",)),
    Turn("heartbeat", kind="heartbeat", model=3, provider="ollama"),
    Turn("digest", kind="cron", model=40, cotenants=("mirror",)),
    Turn("main", cotenants=("heartbeat", "cron"), pushed=True),
)
"""Ten minutes of daily life, with co-tenants."""


@dataclass
class Hour:
    """What there is after it.

    Attributes:
        prometheus: It scraped the sidecar, and evaluated the rules.
        begin: Unix time of the first scrape.
        calm: Unix time at which the healthy, idle start ended.
        end: Unix time of the last scrape.
        backend: What came over OTLP.
        answered: Of each turn, whether it was.
    """

    prometheus: Prometheus
    begin: float
    calm: float = 0.0
    end: float = 0.0
    backend: Received = field(default_factory=Received)
    answered: list[bool] = field(default_factory=list)


@contextmanager
def lived(work_dir: Path, socket_dir: Path) -> Iterator[Hour]:
    """Live through the hour; the Prometheus runs until the context ends."""
    with ExitStack() as stack, asyncio.Runner() as runner:
        backend = stack.enter_context(http_backend())
        hour = runner.run(_live(stack, work_dir, socket_dir / "s", backend))
        yield hour


async def _live(stack: ExitStack, work_dir: Path, socket: Path, backend: Received) -> Hour:
    state_dir = work_dir / "state"
    (state_dir / "agents" / "main" / "sessions").mkdir(parents=True)
    async with AsyncExitStack() as running:
        pager = await running.enter_async_context(PageReceiver())
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": backend.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
            "OTEL_BSP_SCHEDULE_DELAY": "500",
        }
        policy = work_dir / "policy.toml"
        policy.write_text(POLICY + believing(Path(sys.executable)))
        options = ("--notify", pager.url, "--policy", str(policy))
        sidecar = Companion(state_dir, work_dir / "work", socket, options, env)
        await running.enter_async_context(sidecar)
        prometheus = stack.enter_context(Prometheus(work_dir / "prometheus", _config(sidecar, work_dir)))
        await asyncio.to_thread(prometheus.wait_for, 'up{job="openclaw-sidecar"} == 1')
        hour = Hour(prometheus, begin=time.time(), backend=backend)
        gateway = ScriptedGateway(state_dir, socket)
        await running.enter_async_context(gateway.linked())
        await _scraped(prometheus)
        hour.calm = time.time()
        pager.refuse_next(1)
        await _script(hour, gateway, sidecar)
        await asyncio.sleep(1.5)  # spans and metrics are exported every half second and every second
        hour.end = time.time()
    return hour


async def _script(hour: Hour, gateway: ScriptedGateway, sidecar: Companion) -> None:
    async def take(*turns: Turn) -> None:
        for turn in turns:
            hour.answered.append(await gateway.take(turn))
            await asyncio.sleep(0.1)  # so that an hour has a length on Prometheus's clock

    await take(*CALM)
    # A foreign process appends, twice; a backup tool touches the file, which is no harm.
    await take(Turn("main", foreign=ForeignVerb.APPEND), Turn("main", foreign=ForeignVerb.TOUCH))
    await take(Turn("support", agent="support", foreign=ForeignVerb.APPEND, cotenants=("channel",)))
    # The model stalls: long_running, then stalled, then stuck; the call ends in a time-out.
    gateway.stall("main", "long_running")
    await _scraped(hour.prometheus, 2)
    gateway.stall("main", "stalled")
    gateway.stall("support", "stuck")
    with _old_lock(gateway.file(Turn("digest"))):
        await _scraped(hour.prometheus, 2)
    await take(Turn("main", model=600, error="timeout"))
    gateway.stall("main", "state")
    gateway.stall("support", "state")
    gateway.no_lock(Turn("main"), 60)
    await take(*CALM)
    # The kernel's queue of file events overflows while a turn waits; later the preload drops reports.
    await asyncio.gather(take(Turn("main", cotenants=("inject",))), _overflow(sidecar, gateway))
    await _scraped(hour.prometheus, 2)
    gateway.drop(3)
    await _scraped(hour.prometheus, 1)
    await take(*CALM)
    await _scraped(hour.prometheus)


async def _overflow(sidecar: Companion, gateway: ScriptedGateway) -> None:
    """More happens beside session files than the kernel keeps, while the sidecar does not get to read it."""
    directory = gateway.file(Turn("main")).parent
    os.kill(sidecar.pid, signal.SIGSTOP)
    try:
        await asyncio.to_thread(_burst, directory)
    finally:
        os.kill(sidecar.pid, signal.SIGCONT)


def _burst(directory: Path) -> None:
    paths = [directory / f"burst-{number}.tmp" for number in range(2)]
    with paths[0].open("wb", buffering=0) as one, paths[1].open("wb", buffering=0) as other:
        for _ in range(int(QUEUE.read_text())):  # equal neighbours would be merged
            one.write(b"\n")
            other.write(b"\n")
    for path in paths:
        path.unlink()


@contextmanager
def _old_lock(session: Path) -> Iterator[None]:
    """The session's lock as it looks when it has been held for nearly seven minutes."""
    lock = session.with_name(session.name + ".lock")
    made = datetime.now(UTC) - timedelta(seconds=400)
    lock.write_text(json.dumps({"pid": os.getpid(), "createdAt": made.isoformat()}) + "\n")
    try:
        yield
    finally:
        lock.unlink()


async def _scraped(prometheus: Prometheus, scrapes: int = SCRAPES) -> None:
    """Wait until Prometheus has scraped so often from now on."""
    begin = time.time()
    query = f'count_over_time(up{{job="openclaw-sidecar"}}[1h]) and timestamp(up{{job="openclaw-sidecar"}}) > {begin}'
    found = await asyncio.to_thread(prometheus.wait_for, query)
    target = int(found[0]["value"][1]) + scrapes - 1
    await asyncio.to_thread(prometheus.wait_for, f'count_over_time(up{{job="openclaw-sidecar"}}[1h]) >= {target}')


def _config(sidecar: Companion, work_dir: Path) -> dict[str, Any]:
    target = {"targets": [sidecar.metrics_url.removeprefix("http://")], "labels": {"instance": "support-bot"}}
    return {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "1s"},
        "rule_files": [str(quick_rules(work_dir / "rules"))],
        "scrape_configs": [{"job_name": "openclaw-sidecar", "static_configs": [target]}],
    }


def spans_of(backend: Received) -> list[Seen]:
    """All spans that came over OTLP."""
    return [
        Seen(span, next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name"))
        for request in backend.traces
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]

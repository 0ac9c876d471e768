"""Metrics of a real sidecar, read back from a real collector, over both protocols of OTLP."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.demo.companion import Companion
from tests.servers.backend import Collector, Jaeger

pytestmark = pytest.mark.timeout(1200)  # where the servers are not built yet, this builds them


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    with Jaeger(tmp_path / "jaeger") as jaeger, Collector(tmp_path / "collector", jaeger.otlp) as running:
        yield running


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_metrics_of_a_sidecar_are_read_back(collector: Collector, tmp_path: Path, protocol: str) -> None:
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.grpc if protocol == "grpc" else collector.http,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
    }

    async def run(socket: Path) -> None:
        (tmp_path / "state").mkdir()
        async with Companion(tmp_path / "state", tmp_path / "sidecar", socket, env=env), asyncio.timeout(30):
            while "openclaw_sidecar_ready" not in await asyncio.to_thread(collector.metrics):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.05)

    with tempfile.TemporaryDirectory(prefix="ocs-") as short:
        asyncio.run(run(Path(short) / "sidecar.sock"))

"""A real OTLP backend: an OpenTelemetry Collector, and the Jaeger and the Prometheus page behind it.

Debian packages neither; `tests.servers.gobuild` builds both from their published modules.
"""

import json
import os
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.servers.gobuild import GoBuildError, program
from tests.servers.process import HOST, Server, free_port

_POLL_SECONDS: Final = 0.1
_RUNNING: Final = "Everything is ready. Begin running and processing data."


def built(name: str) -> Path:
    """Path of ``collector`` or ``jaeger``; skips the test, with the way to get it, where it can't be built.

    Raises:
        GoBuildError: It can't be built and this is CI.
    """
    try:
        return program(name)
    except GoBuildError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


class Jaeger(Server):
    """Jaeger with its store in memory: takes spans over OTLP, gives traces back over HTTP."""

    _READY = "/api/services"

    def __init__(self, work_dir: Path) -> None:
        super().__init__("jaeger", work_dir)
        self._program = built("jaeger")
        self._query, self._otlp = free_port(), free_port()

    @property
    def otlp(self) -> str:
        """Host and port where it takes OTLP over gRPC."""
        return f"{HOST}:{self._otlp}"

    def trace(self, trace_id: str) -> list[dict[str, Any]]:
        """The spans of a trace, as Jaeger's API shows them; none when it does not know the trace.

        Each has ``spanID``, ``operationName``, ``references`` and ``tags``.
        """
        try:
            found = self.get(f"/api/traces/{trace_id}")["data"]
        except RuntimeError as error:
            if "trace not found" in str(error):
                return []
            raise
        return [span for trace in found for span in trace["spans"]]

    def traces(self, service: str, operation: str = "") -> list[dict[str, Any]]:
        """The traces that hold a span of a service (and operation)."""
        asked = {"service": service, "limit": "1000"} | ({"operation": operation} if operation else {})
        found: list[dict[str, Any]] = self.get(f"/api/traces?{urllib.parse.urlencode(asked)}")["data"]
        return found

    def wait_trace(
        self, trace_id: str, complete: Callable[[list[dict[str, Any]]], bool], timeout_seconds: float = 30.0
    ) -> list[dict[str, Any]]:
        """Wait until the spans of a trace satisfy a condition, and return them.

        Raises:
            TimeoutError: They do not in time; names what is there.
        """
        until = time.monotonic() + timeout_seconds
        while True:
            spans = self.trace(trace_id)
            if complete(spans):
                return spans
            if time.monotonic() > until:
                names = sorted(span["operationName"] for span in spans)
                raise TimeoutError(f"trace {trace_id} is not complete after {timeout_seconds:g} s: {names}")
            time.sleep(_POLL_SECONDS)

    def _named_port(self, log: str) -> int:
        return self._query if "Starting HTTP server" in log or "Query server started" in log else 0

    def _command(self, address: str) -> Sequence[str]:
        del address
        nowhere = f"{HOST}:0"
        return (
            str(self._program),
            f"--query.http-server.host-port={HOST}:{self._query}",
            f"--collector.otlp.grpc.host-port={self.otlp}",
            f"--query.grpc-server.host-port={nowhere}",
            f"--admin.http.host-port={nowhere}",
            f"--collector.otlp.http.host-port={nowhere}",
            f"--collector.grpc-server.host-port={nowhere}",
            f"--collector.http-server.host-port={nowhere}",
        )


class Collector(Server):
    """The OpenTelemetry Collector: OTLP in; traces to a Jaeger, metrics to a page for Prometheus, logs to a file.

    Args:
        work_dir: Gets configuration and log.
        jaeger: Host and port of a Jaeger's OTLP.
    """

    def __init__(self, work_dir: Path, jaeger: str) -> None:
        super().__init__("collector", work_dir)
        self._program = built("collector")
        self._jaeger = jaeger
        self._grpc, self._http, self._page = free_port(), free_port(), free_port()

    @property
    def grpc(self) -> str:
        """The endpoint for OTLP over gRPC."""
        return f"http://{HOST}:{self._grpc}"

    @property
    def http(self) -> str:
        """The endpoint for OTLP over HTTP."""
        return f"http://{HOST}:{self._http}"

    @property
    def metrics_address(self) -> str:
        """Host and port to scrape for the metrics that came over OTLP."""
        return f"{HOST}:{self._page}"

    def metrics(self) -> str:
        """The metrics that came over OTLP, as Prometheus would scrape them."""
        with urllib.request.urlopen(f"http://{self.metrics_address}/metrics", timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    def logs(self) -> list[dict[str, Any]]:
        """The log records that came over OTLP, one ``resourceLogs`` batch an entry."""
        path = self.work_dir / "logs.json"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def start(self) -> None:
        """Write the configuration and start."""
        self.work_dir.mkdir(parents=True, exist_ok=True)
        (self.work_dir / "collector.yml").write_text(json.dumps(self._config(), indent=2))  # all JSON is YAML
        super().start()

    def _config(self) -> dict[str, Any]:
        protocols = {"grpc": {"endpoint": f"{HOST}:{self._grpc}"}, "http": {"endpoint": f"{HOST}:{self._http}"}}
        pipelines = {"traces": "otlp", "metrics": "prometheus", "logs": "file"}
        return {
            "receivers": {"otlp": {"protocols": protocols}},
            "exporters": {
                "otlp": {"endpoint": self._jaeger, "tls": {"insecure": True}},
                "prometheus": {"endpoint": self.metrics_address, "resource_to_telemetry_conversion": {"enabled": True}},
                "file": {"path": str(self.work_dir / "logs.json"), "flush_interval": "100ms"},
            },
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {name: {"receivers": ["otlp"], "exporters": [to]} for name, to in pipelines.items()},
            },
        }

    def _named_port(self, log: str) -> int:
        return self._http if _RUNNING in log else 0

    def _ready(self) -> bool:
        return True  # it has said so

    def _command(self, address: str) -> Sequence[str]:
        del address
        return (str(self._program), f"--config=file:{self.work_dir / 'collector.yml'}")

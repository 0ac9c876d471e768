import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from sidecar.status import GatewayStatus, Problem, Status
from sidecar.store.incidents import IncidentStore
from sidecar.web.app import create_app
from sidecar.web.server import WebServer
from tests.store.samples import NOON, Clock


@dataclass
class Service:
    """Stands in for the service: a status that a test sets."""

    now: Status = field(
        default_factory=lambda: Status(
            version="0.1.0",
            pid=1,
            mode="recover",
            started_at_ns=NOON,
            ready=True,
            state_dir="/state",
            data_dir="/data",
            socket="/state/s",
            http="127.0.0.1:1",
            gateways=(GatewayStatus(pid=7, linked=True, version="2026.5.18", adapter="swap"),),
            incidents={"co_tenant": 2},
        )
    )

    def status(self) -> Status:
        return self.now

    def ail(self, **other: Any) -> None:  # noqa: ANN401 - any field
        problem = Problem(code="preload_missing", what="gateway 7 has no preload", remedy="openclaw-sidecar hook")
        self.now = replace(self.now, problems=(problem,), **other)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - any JSON value
        return json.loads(self.body)


class Api:
    """The real server in a thread of its own."""

    def __init__(self, service: Service, store: IncidentStore, clock: Clock) -> None:
        def metrics(accept: str) -> tuple[bytes, str]:
            return b"# accept " + accept.encode() + b"\nup 1\n", "text/plain; version=0.0.4; charset=utf-8"

        self.address = ""
        self._server = WebServer(create_app(service.status, store, metrics, clock), "127.0.0.1", 0)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.address = asyncio.run_coroutine_threadsafe(self._server.start(), self._loop).result(20)

    def __call__(self, path: str, method: str = "GET", **headers: str) -> Answer:
        connection = http.client.HTTPConnection(self.address, timeout=20)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[IncidentStore]:
    with IncidentStore(tmp_path / "sidecar.db", clock) as opened:
        yield opened


@pytest.fixture
def api(service: Service, store: IncidentStore, clock: Clock) -> Iterator[Api]:
    served = Api(service, store, clock)
    yield served
    served.close()

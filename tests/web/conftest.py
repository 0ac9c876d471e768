import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from starlette.types import ASGIApp

from sidecar.status import GatewayStatus, Problem, Status
from sidecar.store.incidents import IncidentStore
from sidecar.web.app import create_app
from sidecar.web.probes import create_probes
from sidecar.web.server import WebServer
from tests.store.conftest import clock, path, store
from tests.store.samples import NOON, Clock

__all__ = ["clock", "path", "store"]


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
            metrics="127.0.0.1:2",
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


def serving(app: ASGIApp) -> AbstractContextManager[str]:
    """The real server in a thread of its own; its address."""
    return running(WebServer(app, "127.0.0.1", 0))


@contextmanager
def running(server: WebServer) -> Iterator[str]:
    """This server in a thread of its own; its address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(server.start(), loop).result(20)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


@dataclass(frozen=True)
class Api:
    """Asks the server at an address."""

    address: str

    def __call__(self, path: str, method: str = "GET", **headers: str) -> Answer:
        connection = http.client.HTTPConnection(self.address, timeout=20)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def api(service: Service, store: IncidentStore, clock: Clock) -> Iterator[Api]:
    with serving(create_app(service.status, store, clock)) as address:
        yield Api(address)


@pytest.fixture
def probes(service: Service) -> Iterator[Api]:
    def metrics(accept: str) -> tuple[bytes, str]:
        return b"# accept " + accept.encode() + b"\nup 1\n", "text/plain; version=0.0.4; charset=utf-8"

    with serving(create_probes(service.status, metrics)) as address:
        yield Api(address)

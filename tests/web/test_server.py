import asyncio
import http.client
import signal
import socket
from collections.abc import Awaitable, Callable

import pytest
from fastapi import FastAPI

from sidecar.web.errors import HttpBindError, HttpPortTakenError, HttpTokenError
from sidecar.web.server import WebServer


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await work()

    asyncio.run(main())


def app() -> FastAPI:
    made = FastAPI()

    @made.get("/")
    async def hello() -> str:
        return "hello"

    return made


def get(address: str) -> bytes:
    connection = http.client.HTTPConnection(address, timeout=20)
    connection.request("GET", "/")
    body = connection.getresponse().read()
    connection.close()
    return body


@pytest.mark.parametrize(("host", "starts"), [("127.0.0.1", "127.0.0.1:"), ("::1", "[::1]:"), ("localhost", "")])
def test_the_port_that_was_taken_is_told_and_answers(host: str, starts: str) -> None:
    async def work() -> None:
        server = WebServer(app(), host, 0)
        address = await server.start()
        assert address.startswith(starts)
        assert not address.endswith(":0")
        assert await asyncio.to_thread(get, address) == b'"hello"'
        await server.stop()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.to_thread(get, address)

    run(work)


def test_stopping_waits_for_no_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.web.server.TICK_SECONDS", 3600.0)

    async def work() -> None:
        server = WebServer(app(), "127.0.0.1", 0)
        address = await server.start()
        await asyncio.to_thread(get, address)
        async with asyncio.timeout(60):
            await server.stop()

    run(work)


def test_the_date_of_answers_moves_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.web.server.TICK_SECONDS", 0.01)

    def date(address: str) -> str:
        connection = http.client.HTTPConnection(address, timeout=20)
        connection.request("GET", "/")
        found = connection.getresponse().headers["date"]
        connection.close()
        return str(found)

    async def work() -> None:
        server = WebServer(app(), "127.0.0.1", 0)
        address = await server.start()
        first = await asyncio.to_thread(date, address)
        async with asyncio.timeout(60):
            while await asyncio.to_thread(date, address) == first:
                pass
        await server.stop()

    run(work)


def test_signals_are_left_to_the_service() -> None:
    async def work() -> None:
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        server = WebServer(app(), "127.0.0.1", 0)
        address = await server.start()
        await asyncio.to_thread(get, address)
        assert {number: signal.getsignal(number) for number in before} == before
        await server.stop()

    run(work)


def test_a_port_in_use_is_refused_with_the_way_out() -> None:
    async def work() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(HttpPortTakenError, match=rf"127\.0\.0\.1:{port}: is in use.*--http"):
                await WebServer(app(), "127.0.0.1", port).start()

    run(work)


def test_a_port_can_be_taken_again_at_once() -> None:
    async def work() -> None:
        first = WebServer(app(), "127.0.0.1", 0)
        address = await first.start()
        await asyncio.to_thread(get, address)
        await first.stop()
        second = WebServer(app(), "127.0.0.1", int(address.rpartition(":")[2]))
        assert await second.start() == address
        await second.stop()

    run(work)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "x" * 70])
def test_an_address_that_is_not_this_machines_is_refused(host: str) -> None:
    async def work() -> None:
        with pytest.raises(HttpBindError, match="give another --http"):
            await WebServer(app(), host, 0).start()

    run(work)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_going_beyond_loopback_can_be_refused(host: str) -> None:
    def refuse(address: str) -> None:
        raise HttpTokenError(address, "it has no token")

    async def work() -> None:
        with pytest.raises(HttpTokenError, match=r"not on loopback.*`openclaw-sidecar api token`.*--metrics"):
            await WebServer(app(), host, 0, beyond_loopback=refuse).start()
        server = WebServer(app(), "localhost", 0, beyond_loopback=refuse)
        await server.start()
        await server.stop()

    run(work)


def test_stopping_twice_or_without_a_start_is_harmless() -> None:
    async def work() -> None:
        server = WebServer(app(), "127.0.0.1", 0)
        await server.stop()
        await server.start()
        await server.stop()
        await server.stop()

    run(work)

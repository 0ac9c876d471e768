"""What others can do with the two ports: a page in the operator's browser, and whoever reaches them."""

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sidecar.config.settings import Settings
from sidecar.config.token import TokenKind, make_token
from sidecar.service.listeners import api_listener, probes_listener
from sidecar.store.incidents import IncidentStore
from sidecar.web.app import create_app
from sidecar.web.connection import BoundedConnection, Bounds
from sidecar.web.errors import HttpTokenError
from sidecar.web.guard import MAX_BODY_BYTES, MAX_HEADER_BYTES, MAX_HEADERS
from sidecar.web.probes import create_probes
from sidecar.web.server import WebServer
from tests.store.conftest import clock, path, store
from tests.web.conftest import Answer, Service, running
from tests.web.test_hooks import BEGIN, TOKEN, Desk

__all__ = ["clock", "path", "store"]

FOREVER = 3600.0


@dataclass(frozen=True)
class Port:
    """One listener as somebody finds it who reaches it."""

    address: str

    def ask(self, target: str = "/v1/status", method: str = "GET", body: str = "", **headers: str) -> Answer:
        """One request, with these headers and no others but its length."""
        host, port = self.address.rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in ({"host": self.address} | headers).items():
                connection.putheader(name, value)
            if body:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body.encode())
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        """A connection that says nothing by itself."""
        host, port = self.address.rsplit(":", 1)
        return socket.create_connection((host, int(port)), timeout=60)


@dataclass
class Sidecar:
    """Has both listeners."""

    settings: Settings
    store: IncidentStore
    told: list[str] = field(default_factory=list)
    desk: Desk = field(default_factory=Desk)

    def api(self) -> WebServer:
        app = create_app(Service().status, self.store, hooks=self.desk)
        return api_listener(app, self.settings, self.told.append)

    def probes(self) -> WebServer:
        app = create_probes(Service().status, lambda _: (b"up 1\n", "text/plain"))
        return probes_listener(app, self.settings, self.told.append)


def settings(tmp_path: Path, host: str = "127.0.0.1", names: tuple[str, ...] = ()) -> Settings:
    return Settings(
        state_dir=tmp_path,
        data_dir=tmp_path / "secrets",
        socket=tmp_path / "s",
        http_host=host,
        http_port=0,
        http_names=names,
        metrics_host=host,
        metrics_port=0,
    )


@pytest.fixture
def sidecar(tmp_path: Path, store: IncidentStore) -> Sidecar:
    return Sidecar(settings(tmp_path), store)


@pytest.fixture
def api(sidecar: Sidecar) -> Iterator[Port]:
    with running(sidecar.api()) as address:
        yield Port(address)


@pytest.fixture
def probes(sidecar: Sidecar) -> Iterator[Port]:
    with running(sidecar.probes()) as address:
        yield Port(address)


def bounded(monkeypatch: pytest.MonkeyPatch, **bounds: float) -> None:
    every = {"request_seconds": FOREVER, "answer_seconds": FOREVER} | bounds
    monkeypatch.setattr(BoundedConnection, "bounds", Bounds(**every))  # type: ignore[arg-type] # a count is whole


def read_all(connection: socket.socket) -> bytes:
    """Everything until the other side ends it, in whatever way."""
    told = b""
    try:
        while data := connection.recv(1 << 16):
            told += data
    except ConnectionError:
        pass
    return told


# A page in the operator's browser


@pytest.mark.parametrize(
    "host",
    ["evil.example:9465", "evil.example", "127.0.0.1.evil.example", "0.0.0.0:9465", "10.0.0.7", "", "a b", "[x]"],
)
def test_a_page_whose_name_was_rebound_to_loopback_gets_nothing_from_either_port(
    api: Port, probes: Port, sidecar: Sidecar, host: str
) -> None:
    for port, target in ((api, "/v1/status"), (api, "/openapi.json"), (probes, "/metrics"), (probes, "/readyz")):
        assert port.ask(target, host=host).status == 421
    assert len(sidecar.told) == 4


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "LOCALHOST.:9465", "[::1]:9465", "127.8.9.1"])
def test_loopback_is_asked_by_any_of_its_names(api: Port, probes: Port, host: str) -> None:
    assert (api.ask(host=host).status, probes.ask("/metrics", host=host).status) == (200, 200)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1", "file://", "", "http://[::1]"])
def test_a_page_of_another_site_gets_nothing_and_announces_nothing(
    api: Port, probes: Port, sidecar: Sidecar, origin: str
) -> None:
    assert api.ask(origin=origin).status == 403
    assert probes.ask("/metrics", origin=origin).status == 403
    hook = json.dumps(BEGIN)
    allowed = f"Bearer {TOKEN}"
    assert api.ask("/v1/hooks", "POST", hook, origin=origin, authorization=allowed).status == 403
    assert sidecar.desk.told == []


def test_no_answer_lets_a_browser_give_it_to_another_site(api: Port, probes: Port) -> None:
    asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    for answer in (api.ask(), api.ask(method="OPTIONS", **asked), probes.ask("/metrics"), api.ask(host="evil.example")):
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_form_that_a_page_sends_without_being_asked_announces_nothing(api: Port, sidecar: Sidecar, kind: str) -> None:
    answer = api.ask("/v1/hooks", "POST", json.dumps(BEGIN), **{"content-type": kind})
    assert (answer.status, sidecar.desk.told) == (401, [])


def test_a_name_of_the_configuration_is_taken(tmp_path: Path, store: IncidentStore) -> None:
    with running(Sidecar(settings(tmp_path, names=("sidecar.example",)), store).api()) as address:
        assert Port(address).ask(host="Sidecar.example:443", origin="https://sidecar.example:443").status == 200
        assert Port(address).ask(host="evil.sidecar.example").status == 421


# Beyond loopback


def test_beyond_loopback_the_api_opens_with_a_token_only(tmp_path: Path, store: IncidentStore) -> None:
    open_to_all = Sidecar(settings(tmp_path, "0.0.0.0"), store)
    with pytest.raises(HttpTokenError, match=r"there is no .*api\.token"), running(open_to_all.api()):
        pass
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "api.token").write_text("letmein\n")
    with pytest.raises(HttpTokenError, match="7 characters"), running(open_to_all.api()):
        pass


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_where_there_is_a_token_nothing_is_read_without_it(tmp_path: Path, store: IncidentStore, host: str) -> None:
    sidecar = Sidecar(settings(tmp_path, host), store)
    token = make_token(sidecar.settings.api_token_file, TokenKind.API)
    with running(sidecar.api()) as address:
        api = Port(address.replace("0.0.0.0", "127.0.0.1"))
        for target in ("/v1/status", "/v1/incidents", "/openapi.json", "/nothing", "/v1/hooks/", "/v1/hooks/../status"):
            answer = api.ask(target)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        wrong = [token[:-1], token + "x", token.swapcase(), "", "\xff", TOKEN, f"{token} {token}"]
        for said in [*(f"Bearer {one}" for one in wrong), f"Basic {token}", token]:
            assert api.ask(authorization=said).status == 401
        assert api.ask(authorization=f"Bearer {token}").status == 200
        # The two tokens are good for different things.
        hook = json.dumps(BEGIN)
        assert api.ask("/v1/hooks", "POST", hook, authorization=f"Bearer {token}").status == 401
        assert api.ask("/v1/hooks", "POST", hook, authorization=f"Bearer {TOKEN}").status == 200
        # A new one ends the old one at once.
        other = make_token(sidecar.settings.api_token_file, TokenKind.API)
        assert (api.ask(authorization=f"Bearer {token}").status, api.ask(authorization=f"Bearer {other}").status) == (
            401,
            200,
        )


def test_beyond_loopback_a_token_that_goes_away_closes_the_api(tmp_path: Path, store: IncidentStore) -> None:
    sidecar = Sidecar(settings(tmp_path, "0.0.0.0"), store)
    token = make_token(sidecar.settings.api_token_file, TokenKind.API)
    with running(sidecar.api()) as address:
        api = Port(address.replace("0.0.0.0", "127.0.0.1"))
        sidecar.settings.api_token_file.unlink()
        assert (api.ask(authorization=f"Bearer {token}").status, api.ask().status) == (403, 403)


def test_beyond_loopback_a_rebound_name_is_refused_by_the_api_and_scrapers_come_under_any(
    tmp_path: Path, store: IncidentStore
) -> None:
    sidecar = Sidecar(settings(tmp_path, "0.0.0.0"), store)
    token = make_token(sidecar.settings.api_token_file, TokenKind.API)
    with running(sidecar.api()) as at_api, running(sidecar.probes()) as at_probes:
        api, probes = (Port(at.replace("0.0.0.0", "127.0.0.1")) for at in (at_api, at_probes))
        allowed = f"Bearer {token}"
        assert api.ask(host="evil.example", authorization=allowed).status == 421
        assert api.ask(host="10.0.0.7:9465", authorization=allowed).status == 200
        assert probes.ask("/metrics", host="gw-1:9464").status == 200
        assert probes.ask("/metrics", host="gw-1:9464", origin="https://evil.example").status == 403


# Whoever reaches a port


def half_a_request(connection: socket.socket) -> None:
    connection.sendall(b"GET /v1/status HTTP/1.1\r\nhost: 127.0.0.1\r\nx-a:")


def half_a_body(connection: socket.socket) -> None:
    connection.sendall(b"POST /v1/hooks HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 9\r\n\r\n{")


def endless_body(connection: socket.socket) -> None:
    connection.sendall(b"GET /v1/status HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")


def trickle(connection: socket.socket) -> None:
    for _ in range(2000):
        connection.sendall(b"G")
        time.sleep(0.01)


def nothing(_connection: socket.socket) -> None:
    pass


@pytest.mark.parametrize("slow", [nothing, half_a_request, half_a_body, endless_body])
def test_who_does_not_say_a_whole_request_in_time_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, api: Port, slow: Callable[[socket.socket], None]
) -> None:
    bounded(monkeypatch, request_seconds=0.2)
    with api.connect() as connection:
        slow(connection)
        read_all(connection)
    # Each byte comes in time, and the whole does not.
    with api.connect() as connection, pytest.raises(ConnectionError):
        trickle(connection)


def test_who_does_not_read_an_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    bounded(monkeypatch, answer_seconds=0.2)

    async def large(_scope: object, _receive: object, send: Callable[..., object]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[misc] # ASGI
        await send({"type": "http.response.body", "body": bytes(1 << 26)})  # type: ignore[misc] # ASGI

    server = WebServer(large, "127.0.0.1", 0)
    with running(server) as address, Port(address).connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        while server.connections:
            time.sleep(0.01)
        assert len(read_all(connection)) < 1 << 26


def test_a_port_full_of_silent_connections_still_answers(monkeypatch: pytest.MonkeyPatch, api: Port) -> None:
    bounded(monkeypatch, connections=8)
    with ExitStack() as stack:
        silent = [stack.enter_context(api.connect()) for _ in range(30)]
        for _ in range(3):
            assert api.ask().status == 200
        assert read_all(silent[0]) == b""  # the first of them made room


@pytest.mark.parametrize(
    "headers",
    [
        {f"x-{n}": "a" for n in range(MAX_HEADERS)},
        {"x": "a" * (MAX_HEADER_BYTES - 20)},
    ],
)
def test_too_many_or_too_large_headers_are_refused(api: Port, headers: dict[str, str]) -> None:
    assert api.ask(**headers).status in {400, 431}


def test_headers_without_an_end_are_refused(api: Port) -> None:
    with api.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nx: " + bytes(MAX_HEADER_BYTES).replace(b"\0", b"a"))
        connection.sendall(b"a")
        assert read_all(connection).startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))


def test_a_giant_body_is_refused_unread(api: Port, sidecar: Sidecar) -> None:
    announced = {"content-length": str(1 << 40), "authorization": f"Bearer {TOKEN}"}
    for target in ("/v1/hooks", "/v1/status"):
        answer = api.ask(target, "POST", **announced)
        assert (answer.status, answer.headers["connection"]) == (413, "close")
    with api.connect() as connection:
        start = f"POST /v1/hooks HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {TOKEN}\r\n"
        connection.sendall(f"{start}transfer-encoding: chunked\r\n\r\n".encode())
        connection.sendall(f"{MAX_BODY_BYTES + 1:x}\r\n".encode() + bytes(MAX_BODY_BYTES + 1))
        assert connection.recv(12) == b"HTTP/1.1 413"
    assert sidecar.desk.told == []


@pytest.mark.parametrize("smuggled", [b"content-length: 1\r\ncontent-length: 2", b"host: a\r\nhost: 127.0.0.1"])
def test_a_request_with_two_meanings_is_refused(api: Port, smuggled: bytes) -> None:
    with api.connect() as connection:
        connection.sendall(b"GET /v1/status HTTP/1.1\r\n" + smuggled + b"\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("nonsense", [b"GET /v1/status HTTP/1.1\r\na b: c\r\n\r\n", b"\x16\x03\x01\x00\r\n\r\n"])
def test_what_is_no_http_is_answered_as_any_other_error_is(api: Port, nonsense: bytes) -> None:
    with api.connect() as connection:
        connection.sendall(nonsense)
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    said = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    assert head.startswith(b"HTTP/1.1 400")
    assert (said[b"content-type"], said[b"x-content-type-options"]) == (b"application/problem+json", b"nosniff")
    assert json.loads(body)["status"] == 400

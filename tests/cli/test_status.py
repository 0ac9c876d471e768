import json
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from sidecar.status import GatewayStatus, Problem, Status
from sidecar.web.answers import status_json
from tests.cli.conftest import Command
from tests.store.samples import NOON

PROBLEM = Problem(code="preload_missing", what="gateway 7 has no preload", remedy="openclaw-sidecar hook")


def sidecar_status(*problems: Problem) -> Status:
    return Status(
        version="0.1.0",
        pid=os.getpid(),
        mode="recover",
        started_at_ns=NOON,
        ready=True,
        state_dir="/state\x1b",
        data_dir="/data",
        socket="/state/s",
        http="127.0.0.1:1",
        metrics="127.0.0.1:2",
        gateways=(
            GatewayStatus(pid=7, linked=True, version="2026.5.18", adapter="swap"),
            GatewayStatus(pid=8, linked=False, reason="it took a session lock"),
            GatewayStatus(pid=1, linked=True, own_pid=1, visible=False),
            GatewayStatus(pid=4711, linked=True, own_pid=12),
        ),
        incidents={"external": 1, "co_tenant": 2},
        problems=problems,
    )


class FakeApi:
    """Answers as the API does, without the API's weight."""

    def __init__(self) -> None:
        self.status = 200
        self.body: bytes = b""
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                assert self.path == "/v1/status"
                self.send_response(api.status)
                self.end_headers()
                self.wfile.write(api.body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def says(self, status: Status) -> None:
        self.body = json.dumps(status_json(status)).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def api(data_dir: Path) -> Iterator[FakeApi]:
    fake = FakeApi()
    register(data_dir, f"127.0.0.1:{fake.port}")
    fake.says(sidecar_status())
    yield fake
    fake.close()


def register(data_dir: Path, http: str, pid: int | None = None) -> None:
    data_dir.mkdir(exist_ok=True)
    (data_dir / "runtime.json").write_text(json.dumps({"pid": os.getpid() if pid is None else pid, "http": http}))


def test_a_healthy_sidecar_is_exit_code_0(cli: Command, api: FakeApi) -> None:
    result = cli("status")
    assert (result.code, result.err) == (0, "")
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert lines[0] == f"openclaw-sidecar 0.1.0, process {os.getpid()}, ready"
    assert "Incidents kept co_tenant 2, external 1" in lines
    assert any(line.startswith("pid 7 OpenClaw 2026.5.18 linked, adapter swap") for line in lines)
    assert any(line.startswith("pid 8 version not known no preload") for line in lines)
    assert any(line.startswith("pid 1 (its own word: not visible from here) ") for line in lines)
    assert any(line.startswith("pid 4711 (calls itself 12) ") for line in lines)
    assert lines[-1] == "No problems."
    assert "\x1b" not in result.out


def test_problems_are_shown_with_their_remedies_and_are_a_finding(cli: Command, api: FakeApi) -> None:
    api.says(sidecar_status(PROBLEM))
    result = cli("status")
    assert result.code == 1
    assert "preload_missing" in result.out
    assert "-> openclaw-sidecar hook" in result.out


def test_json_is_what_the_api_says(cli: Command, api: FakeApi) -> None:
    api.says(sidecar_status(PROBLEM))
    result = cli("status", "--json")
    assert result.code == 1
    assert result.json() == {"running": True} | status_json(sidecar_status(PROBLEM))


def test_proxies_of_the_environment_are_not_asked(cli: Command, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert cli("status").code == 0


def test_one_that_listens_everywhere_is_asked_here(cli: Command, api: FakeApi, data_dir: Path) -> None:
    register(data_dir, f"0.0.0.0:{api.port}")
    assert cli("status").code == 0


def test_no_sidecar_is_a_finding_with_the_remedy(cli: Command, home: Path, data_dir: Path) -> None:
    result = cli("status")
    assert (result.code, result.out) == (1, "")
    assert result.err.count("\n") == 1
    assert f"no sidecar runs for the state directory {home}/.openclaw" in result.err
    assert f"openclaw-sidecar run --state-dir {home}/.openclaw" in result.err
    body = cli("status", "--json").json()
    assert body["running"] is False
    assert [p["code"] for p in body["problems"]] == ["not_running"]


def test_a_sidecar_that_was_killed_is_not_taken_for_a_running_one(cli: Command, data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    register(data_dir, f"127.0.0.1:{port}")
    result = cli("status")
    assert result.code == 1
    assert "gone without a goodbye" in result.err


def test_another_process_on_its_port_is_not_taken_for_it(cli: Command, api: FakeApi, data_dir: Path) -> None:
    register(data_dir, f"127.0.0.1:{api.port}", pid=1)
    result = cli("status")
    assert result.code == 1
    assert "another process answers" in result.err


@pytest.mark.parametrize(("status", "body"), [(503, b"{}"), (200, b"no json"), (200, b"[]"), (200, b"\xff")])
def test_a_strange_answer_is_a_finding_and_not_a_traceback(
    cli: Command, api: FakeApi, status: int, body: bytes
) -> None:
    api.status, api.body = status, body
    result = cli("status", "--json")
    assert result.code == 1
    assert [p["code"] for p in result.json()["problems"]] == ["not_answering"]


def test_a_sidecar_of_another_release_may_say_less(cli: Command, api: FakeApi) -> None:
    api.body = json.dumps({"pid": os.getpid()}).encode()
    assert cli("status").code == 0


@pytest.mark.parametrize("http", ["", "nonsense", "127.0.0.1:x", "127.0.0.1:99999"])
def test_a_strange_address_is_a_finding_and_not_a_traceback(cli: Command, data_dir: Path, http: str) -> None:
    register(data_dir, http)
    assert cli("status").code == 1

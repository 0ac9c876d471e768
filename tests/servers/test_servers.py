"""The kit itself: the real servers start, answer, come back on the same port, and end."""

import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.servers import binaries
from tests.servers.alertmanager import Alertmanager
from tests.servers.binaries import ProgramMissingError, require
from tests.servers.process import ServerError
from tests.servers.prometheus import Prometheus
from tests.servers.tools import ToolError, amtool, promtool

ROUTE = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}


@pytest.fixture
def target() -> Iterator[str]:
    """An address that can be scraped."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"answer 42\n")

        def log_message(self, *_args: object) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_prometheus_scrapes_evaluates_and_keeps_its_port_and_data(tmp_path: Path, target: str) -> None:
    job = {"job_name": "t", "static_configs": [{"targets": [target]}]}
    config = {"global": {"scrape_interval": "100ms", "scrape_timeout": "100ms"}, "scrape_configs": [job]}
    prometheus = Prometheus(tmp_path / "prometheus", config)
    with prometheus:
        pid, address = prometheus.pid, prometheus.address
        prometheus.wait_for("answer == 42")
        assert prometheus.value("sum(answer)") == 42
        assert prometheus.value("absent_one") is None
        with pytest.raises(ServerError, match="parse error"):
            prometheus.query("sum(")
        prometheus.kill()
        prometheus.start()
        assert prometheus.address == address
        assert prometheus.query("last_over_time(answer[1h])")
        assert prometheus.alerts() == []
    assert prometheus.pid == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_prometheus_with_a_bad_configuration_says_why(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="field nonsense not found"):
        Prometheus(tmp_path, {"nonsense": 1}).start()


def test_an_alertmanager_takes_alerts_and_resolves_them(tmp_path: Path) -> None:
    alert = {"alertname": "One", "severity": "warning"}
    with Alertmanager(tmp_path, ROUTE) as alertmanager:
        alertmanager.fire(alert, annotations={"summary": "one"})
        assert [(a["labels"], a["annotations"]) for a in alertmanager.alerts()] == [(alert, {"summary": "one"})]
        alertmanager.resolve(alert)
        assert alertmanager.alerts() == []


def test_the_tools_check_and_complain(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("groups: []\n")
    assert "SUCCESS" in promtool("check", "rules", rules)
    rules.write_text("groups: [{}]\n")
    with pytest.raises(ToolError, match="Groupname must not be empty"):
        promtool("check", "rules", rules)
    config = tmp_path / "alertmanager.yml"
    config.write_text('{"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}')
    assert "SUCCESS" in amtool("check-config", config)


def test_a_missing_program_is_an_error_on_ci_and_a_skip_with_a_hint_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(binaries._NAMES, "promtool", ("no-such-program",))
    monkeypatch.setenv("CI", "true")
    with pytest.raises(ProgramMissingError, match=r"\.ci/install"):
        require("promtool")
    monkeypatch.setenv("CI", "")
    with pytest.raises(pytest.skip.Exception, match=r"\.ci/install"):
        require("promtool")

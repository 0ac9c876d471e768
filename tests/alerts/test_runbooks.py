"""The runbooks: one for each alert, in the same four parts, and every command in them is run.

The sidecar, Prometheus and Alertmanager are real; the gateway is the demonstration's stand-in, because what is tested
are commands that look at what the sidecar knows. `doctor` looks at a gateway from npm.
"""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from sidecar.demo.companion import Companion, command
from sidecar.demo.errors import NpmFailedError, NpmMissingError
from sidecar.demo.packages import default_cache_dir, ensure_gateway
from sidecar.demo.standin import StandIn
from tests.alerts.shipped import ALERTS, RUNBOOKS, alerts, quick_rules
from tests.servers.alertmanager import Alertmanager
from tests.servers.prometheus import Prometheus
from tests.watch.test_database import make
from tests.watch.test_lock_holders import holding

ROOT = ALERTS.parent
PAGES = sorted(RUNBOOKS.glob("*.md"))
PARTS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
FINDING = 1
FOUND = {
    "openclaw-sidecar status": "Problems",  # nobody is paged here
    "openclaw-sidecar verify": "The file differs from what the chain says",
}
"""Commands that find something here, and what they say then."""


def _commands() -> list[str]:
    blocks = [b for page in PAGES for b in re.findall(r"```sh\n(.*?)```", page.read_text("utf-8"), re.DOTALL)]
    return sorted({line for block in blocks for line in block.splitlines() if line.strip()})


@dataclass(frozen=True)
class Place:
    """Where on-call sits: a sidecar with a takeover and a recovery behind it, and the servers that watch it."""

    home: Path
    data_dir: Path
    incident: str
    session: str
    pid: int
    addresses: dict[str, str]

    def adapted(self, line: str) -> str:
        """The command with its placeholders filled in and the servers' real ports."""
        line = re.sub(r"\bID\b", self.incident, line)
        line = re.sub(r"\bPID\b", str(self.pid), line)
        line = re.sub(r"\bSESSION\b", self.session, line)
        for shown, real in self.addresses.items():
            line = line.replace(shown, real)
        return line


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("on-call")
    state_dir, socket = home / ".openclaw", tmp_path_factory.mktemp("s") / "s"
    gateway = StandIn(state_dir, socket)
    sidecar = Companion(state_dir, home / "work", socket, believes=Path(sys.executable))

    async def live() -> tuple[str, str]:
        await sidecar.start()
        async with gateway.linked():
            await gateway.cotenant("a")
            taken = await gateway.foreign("b")
            return str((await sidecar.closed_incident(taken.session))["id"]), taken.session

    with asyncio.Runner() as runner, ExitStack() as stack:
        stack.callback(lambda: runner.run(sidecar.stop()))
        incident, session = runner.run(live())
        alertmanager = stack.enter_context(Alertmanager(home / "alertmanager", _quiet()))
        watching = _watching(sidecar.metrics_url, alertmanager.address, quick_rules(home / "rules"))
        prometheus = stack.enter_context(Prometheus(home / "prometheus", watching))
        prometheus.wait_for('up{job="openclaw-sidecar"} == 1')
        prometheus.wait_for('ALERTS{alertname="OpenClawWatchdog"}')
        addresses = {
            "http://127.0.0.1:9464": sidecar.metrics_url,
            "http://127.0.0.1:9090": prometheus.url,
            "http://127.0.0.1:9093": alertmanager.url,
        }
        yield Place(home, sidecar.data_dir, incident, session, sidecar.pid, addresses)


def _quiet() -> dict[str, object]:
    return {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}


def _watching(sidecar: str, alertmanager: str, rules: Path) -> dict[str, object]:
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        "scrape_configs": [
            {"job_name": "openclaw-sidecar", "static_configs": [{"targets": [sidecar.removeprefix("http://")]}]}
        ],
    }


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert {page.stem for page in PAGES} == set(alerts())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_runbook_has_the_four_parts_and_names_the_severity(page: Path) -> None:
    text = page.read_text("utf-8")

    assert text.startswith(f"# {page.stem}\n")
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == PARTS
    severity = alerts()[page.stem]["labels"]["severity"]
    assert text.split("\n")[2].startswith({"none": "Always fires"}.get(severity, severity.capitalize()))
    assert "```sh" in text


@pytest.mark.timeout(300, func_only=True)  # `doctor` may have to fetch a gateway
@pytest.mark.parametrize("line", _commands(), ids=lambda line: re.sub(r"[^\w.=/-]+", "_", line))
def test_a_command_of_a_runbook_runs(line: str, place: Place) -> None:
    path = [str(command().parent), os.environ["PATH"]]
    shown = place.adapted(line)
    if " doctor " in line:
        try:
            package = ensure_gateway("2026.5.18", default_cache_dir(), lambda _line: None)
        except (NpmMissingError, NpmFailedError) as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(f"no gateway to look at: {error}")
        shown = re.sub(r"--gateway \S+", f"--gateway {package.cli.parent}", shown)
        path.insert(0, str(package.executables))
    env = {"PATH": ":".join(path), "HOME": str(place.home), "OPENCLAW_SIDECAR_DATA_DIR": str(place.data_dir)}
    if "find ~/.openclaw" in shown:
        lock = next((place.home / ".openclaw").rglob("*.jsonl")).with_suffix(".jsonl.lock")
        lock.write_text('{\n  "pid": 1\n}\n')
        os.utime(lock, (1_700_000_000, 1_700_000_000))

    with ExitStack() as stack:
        if "openclaw-agent.sqlite" in shown:
            agent = place.home / ".openclaw" / "agents" / "main" / "agent"
            agent.mkdir(exist_ok=True)
            stack.enter_context(holding(str(make(agent / "openclaw-agent.sqlite")), "BEGIN IMMEDIATE"))
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", shown],
            env=env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    found = next((said for begin, said in FOUND.items() if line.startswith(begin)), "")
    assert done.returncode == (FINDING if found else 0), done.stdout + done.stderr
    assert (done.stdout + done.stderr).strip()
    assert found in done.stdout


def test_the_shipped_commands_cover_what_the_alerts_say_first() -> None:
    said = {rule["annotations"]["description"].rpartition(": ")[2] for rule in alerts().values()}
    said = {text for text in said if text.startswith("openclaw-sidecar")}

    assert said <= set(_commands())
    assert said

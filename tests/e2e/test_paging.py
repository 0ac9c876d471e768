"""From a write to the person on call: gateway, sidecar, Prometheus, Alertmanager, collector and Jaeger are real.

There are two ways to a person: the sidecar's own (Apprise) and that through Prometheus and Alertmanager, with the rules
and intervals as shipped. The tests go on from each other, in this order, on one set of servers.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.demo.gateway import TurnResult
from sidecar.demo.packages import GatewayPackage
from sidecar.demo.pager import PageReceiver
from sidecar.demo.rig import Rig
from sidecar.preload import preload_path
from tests.alerts.shipped import ALERTMANAGER, PROMETHEUS, RULES, load
from tests.e2e.answers import assert_answered
from tests.e2e.foreign import ForeignVerb, act
from tests.e2e.guard import Guard
from tests.servers.alertmanager import Alertmanager
from tests.servers.backend import Collector, Jaeger
from tests.servers.oncall import ROUTING_KEY, OnCall
from tests.servers.process import HOST, free_port
from tests.servers.prometheus import Prometheus

VERSION: Final = "2026.5.18"
GATEWAY: Final = "support-bot"
SERVICE: Final = "openclaw-sidecar"
WINDOWS: Final = 20
WITHIN_SECONDS: Final = 45.0
TREE: Final = {"session.fence", "session.lock", "session.verdict", "session.recovery", "chat slow"}
SOON: Final = {"OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_METRIC_EXPORT_INTERVAL": "1000"}

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(700, func_only=True), pytest.mark.seconds(300)]


@dataclass(frozen=True, slots=True)
class Stack:
    """Everything between a write and a person."""

    guard: Guard
    on_call: OnCall
    prometheus: Prometheus
    alertmanager: Alertmanager
    collector: Collector
    jaeger: Jaeger

    async def wait_prometheus(self, expression: str, timeout_seconds: float = 120.0) -> list[dict[str, Any]]:
        """Wait for a result, while this loop goes on serving model and pager."""
        return await asyncio.to_thread(self.prometheus.wait_for, expression, timeout_seconds)

    async def wait_on_call(self, what: Callable[[], bool], timeout_seconds: float) -> bool:
        """Wait for what the person on call gets."""
        return await asyncio.to_thread(self.on_call.wait, what, timeout_seconds)

    def firing(self) -> set[str]:
        """Names of the alerts that Prometheus has, pending ones included."""
        return {alert["labels"]["alertname"] for alert in self.prometheus.alerts()}


def _alertmanager_config(work_dir: Path, on_call: OnCall) -> dict[str, Any]:
    """As shipped; the receivers' addresses are the loopback ones."""
    key, slack = work_dir / "pagerduty", work_dir / "slack"
    key.write_text(ROUTING_KEY)
    slack.write_text(f"{on_call.url}/chat")
    config = load(ALERTMANAGER)
    for receiver in config["receivers"]:
        for pagerduty in receiver.get("pagerduty_configs", ()):
            pagerduty |= {"routing_key_file": str(key), "url": f"{on_call.url}/v2/enqueue"}
        for chat in receiver.get("slack_configs", ()):
            chat["api_url_file"] = str(slack)
        if receiver.pop("email_configs", None):  # there is no mail server here
            receiver["webhook_configs"] = [{"url": f"{on_call.url}/tickets"}]
        if receiver["name"] == "dead-man":
            receiver["webhook_configs"][0]["url"] = f"{on_call.url}/dead-man"
    return config


def _prometheus_config(sidecar: str, alertmanager: str) -> dict[str, Any]:
    """As shipped; addresses are the ones of this run."""
    config = load(PROMETHEUS)
    config["rule_files"] = [str(RULES)]
    config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [alertmanager]}]}]
    [job] = config["scrape_configs"]
    job["static_configs"] = [{"targets": [sidecar], "labels": {"instance": GATEWAY}}]
    return config


@pytest.fixture(scope="session")
def stack(
    runner: asyncio.Runner, packages: Callable[[str], GatewayPackage], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """Servers first, so that a missing one is told before a gateway is started."""
    work_dir = tmp_path_factory.mktemp("paging")
    page = f"{HOST}:{free_port()}"
    with ExitStack() as opened:
        on_call = opened.enter_context(OnCall())
        jaeger = opened.enter_context(Jaeger(work_dir / "jaeger"))
        collector = opened.enter_context(Collector(work_dir / "collector", jaeger.otlp))
        alertmanager = Alertmanager(work_dir / "alertmanager", _alertmanager_config(work_dir, on_call))
        opened.enter_context(alertmanager)
        prometheus = Prometheus(work_dir / "prometheus", _prometheus_config(page, alertmanager.address))
        opened.enter_context(prometheus)

        short = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="ocs-")))
        socket = short / "sidecar.sock"
        env = {"NODE_OPTIONS": f"--import={preload_path()}", "OPENCLAW_SIDECAR_SOCKET": str(socket)}
        rig = Rig(packages(VERSION), work_dir / "gateway", env)
        runner.run(rig.start())
        opened.callback(lambda: runner.run(rig.stop()))
        pager = PageReceiver()
        runner.run(pager.__aenter__())
        opened.callback(lambda: runner.run(pager.__aexit__(None, None, None)))
        guard = Guard(rig, pager, work_dir / "sidecar", socket, ("--metrics", page))
        guard.sidecar.env |= {**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.grpc}
        opened.callback(lambda: runner.run(guard.stop()))
        runner.run(guard.start())
        yield Stack(guard, on_call, prometheus, alertmanager, collector, jaeger)


async def _disturbed(rig: Rig, session_key: str, question: str) -> TurnResult:
    """A turn that a co-tenant writes into."""
    async with rig.window(session_key, question) as window:
        await rig.client.chat_inject(session_key, "A note.")
        return await window.close()


async def _taken_over(rig: Rig, session_key: str, question: str) -> Path:
    """A turn that somebody else writes into: the gateway's own fence stops it."""
    async with rig.window(session_key, question) as window:
        await act(ForeignVerb.APPEND, window.session_file)
        turn = await window.close()
    assert not turn.answered
    return window.session_file


def _assert_trees(traces: list[dict[str, Any]], wanted: int) -> None:
    """Each turn is one tree: a root, every other span below a span that is there, and the names of a recovered turn."""
    recovered = [t for t in traces if {s["operationName"] for s in t["spans"]} >= TREE]
    assert len(recovered) >= wanted, [sorted(s["operationName"] for s in t["spans"]) for t in traces]
    for trace in recovered:
        spans = {span["spanID"]: span for span in trace["spans"]}
        roots = [span for span in trace["spans"] if not span["references"]]
        assert [root["operationName"] for root in roots] == ["invoke_agent"]
        for span in trace["spans"]:
            for reference in span["references"]:
                assert reference["traceID"] == trace["traceID"]
                parent = spans[reference["spanID"]]["operationName"]
                if span["operationName"] in {"session.verdict", "session.recovery"}:
                    assert parent == "session.fence"
                elif span["operationName"] in {"session.fence", "chat slow"}:
                    assert parent == "invoke_agent"
                else:
                    assert (span["operationName"], parent) in {
                        ("session.lock", "invoke_agent"),
                        ("session.lock", "session.fence"),
                    }


async def _traces(stack: Stack, wanted: int) -> list[dict[str, Any]]:
    """The turns that Jaeger has, once enough of them are complete."""
    async with asyncio.timeout(120):
        while True:
            found = await asyncio.to_thread(stack.jaeger.traces, SERVICE, "session.recovery")
            complete = [t for t in found if {s["operationName"] for s in t["spans"]} >= {*TREE, "invoke_agent"}]
            if len(complete) >= wanted:
                return complete
            await asyncio.sleep(0.2)


async def test_twenty_turns_with_cotenants_are_answered_and_wake_nobody(stack: Stack, session_key: str) -> None:
    rig = stack.guard.rig
    await rig.say(session_key)
    turns = [await _disturbed(rig, session_key, f"Question {number}?") for number in range(WINDOWS)]
    for turn in turns:
        assert_answered(turn)

    await stack.wait_prometheus(
        f'sum(instance_outcome:openclaw_sidecar_recoveries:increase5m{{outcome="effective"}}) >= {WINDOWS}'
    )
    assert stack.firing() == {"OpenClawWatchdog"}
    assert stack.on_call.events == []
    assert {path for path, _ in stack.on_call.posts} <= {"/dead-man"}
    assert stack.guard.pages == []


async def test_what_went_over_grpc_is_read_back_as_complete_trees_and_as_metrics(stack: Stack) -> None:
    _assert_trees(await _traces(stack, WINDOWS), WINDOWS)
    async with asyncio.timeout(120):
        while True:
            page = await asyncio.to_thread(stack.collector.metrics)
            effective = [
                float(line.rpartition(" ")[2])
                for line in page.splitlines()
                if line.startswith("openclaw_sidecar_recoveries_total{") and 'outcome="effective"' in line
            ]
            if sum(effective) == WINDOWS:
                break
            await asyncio.sleep(0.2)


async def test_a_foreign_write_is_one_page_in_time_and_so_are_the_next_ones(stack: Stack, session_key: str) -> None:
    rig, guard, on_call = stack.guard.rig, stack.guard, stack.on_call
    await rig.say(session_key)
    began = time.monotonic()
    session_file = await _taken_over(rig, session_key, "Who is there?")
    assert await stack.wait_on_call(lambda: bool(on_call.of("trigger")), WITHIN_SECONDS)
    assert time.monotonic() - began <= WITHIN_SECONDS
    await guard.next_page()

    for number in range(2):
        await _taken_over(rig, session_key, f"Still there, {number}?")
    await stack.wait_prometheus('sum(instance_verdict:openclaw_sidecar_incidents:increase5m{verdict="external"}) >= 3')

    assert on_call.refused == []
    [event] = on_call.events
    [page] = guard.pages
    first, *others = sorted(await guard.sidecar.incidents(session_file.name), key=lambda i: i["id"])
    assert [i["page"]["covered_by"] for i in others] == [first["id"]] * 2

    # What the person reads, on either way: gateway, what happened, impact, evidence, what was done and why, what to do.
    assert event.action == "trigger"
    payload, details = event.body["payload"], event.body["payload"]["custom_details"]
    assert payload["severity"] == "critical"
    assert payload["summary"].startswith(f"{GATEWAY}: A session of an OpenClaw gateway was changed by somebody")
    for words in (
        "bytes in a session file that no writer of the gateway wrote",
        "its user gets no answer",
        "the account of every byte is unbroken",
        "moved no fence",
        "First: openclaw-sidecar incidents --verdict external",
    ):
        assert words in details["description"]
    assert details["runbook"].endswith("/OpenClawSessionTakeover.md")
    for words in (
        f"Gateway: OpenClaw {VERSION}, pid {rig.gateway.pid}",
        "What: ",
        "Impact: the turn of a user",
        "Evidence: bytes (every byte was compared",
        "Re-fingerprint: refused (",
        f"First command: openclaw-sidecar explain {first['id']}",
        "Runbook: alerts/runbooks/OpenClawSessionTakeover.md",
    ):
        assert words in page.message


async def test_what_goes_over_http_is_read_back_as_complete_trees(stack: Stack, session_key: str) -> None:
    sidecar = stack.guard.sidecar
    sidecar.env |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": stack.collector.http,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    }
    before = {t["traceID"] for t in await _traces(stack, WINDOWS)}
    await stack.guard.restart()
    await stack.guard.rig.say(session_key)
    for number in range(2):
        assert_answered(await _disturbed(stack.guard.rig, session_key, f"Over HTTP, {number}?"))
    found = await _traces(stack, len(before) + 2)
    _assert_trees([t for t in found if t["traceID"] not in before], 2)


async def test_with_everything_else_down_the_direct_way_tells_each_takeover_once(
    stack: Stack, session_key: str
) -> None:
    """Collector, Prometheus and Alertmanager are down, and the receiver refuses the first attempt."""
    rig, guard = stack.guard.rig, stack.guard
    stack.collector.kill()
    stack.prometheus.kill()
    stack.alertmanager.stop()  # in order: it notes whom it has told
    before = len(guard.pager.pages)
    files = []
    for number, refusals in enumerate((0, 1)):
        key = f"{session_key}-{number}"
        await rig.say(key)
        guard.begin()
        guard.pager.refuse_next(refusals)
        files.append(await _taken_over(rig, key, f"Is anybody there, {number}?"))
        await guard.next_page(30.0)
    for server in (stack.collector, stack.alertmanager, stack.prometheus):
        server.start()
    await stack.wait_prometheus('sum(openclaw_sidecar_incidents_total{verdict="external"}) >= 2')

    for session_file, page in zip(files, guard.pager.pages[before:], strict=True):
        [incident] = await guard.sidecar.incidents(session_file.name)
        assert incident["id"] in page.message
        await guard.incident(incident["id"], lambda told: bool(told["page"]["sent"]))
    assert len(stack.on_call.of("trigger")) == 1


async def test_a_sidecar_that_is_killed_is_noticed(stack: Stack) -> None:
    """The way to on-call is open: the watchdog came. The alert itself takes two minutes, and is awaited at the end."""
    await stack.guard.sidecar.kill()
    await stack.wait_prometheus(f'max(up{{instance="{GATEWAY}"}}) == 0')
    assert await stack.wait_on_call(lambda: "/dead-man" in {path for path, _ in stack.on_call.posts}, 120)


@pytest.mark.last
@pytest.mark.seconds(600)
async def test_the_killed_sidecar_is_paged_and_all_is_resolved_when_it_is_over(stack: Stack) -> None:
    """All alerts of a gateway are one incident at PagerDuty, resolved with the last of them."""
    on_call = stack.on_call
    assert await stack.wait_on_call(
        lambda: any("without its sidecar" in str(event.body) for event in on_call.of("trigger")), 240
    )
    await stack.guard.start()
    assert await stack.wait_on_call(lambda: bool(on_call.of("resolve")), 480)
    assert {event.dedup_key for event in on_call.events} == {on_call.events[0].dedup_key}
    assert stack.firing() == {"OpenClawWatchdog"}

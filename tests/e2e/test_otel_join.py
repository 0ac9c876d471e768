"""One tree for each turn, whether or not the gateway's own OpenTelemetry plugin runs."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidecar.demo.companion import Companion
from sidecar.demo.packages import GatewayPackage
from sidecar.demo.rig import Rig
from sidecar.preload import preload_path
from tests.e2e.answers import assert_answered
from tests.e2e.otelplugin import PluginMissingError, plugin_settings, with_plugin
from tests.servers.backend import Collector
from tests.telemetry.receivers import Received, grpc_backend

OURS = "openclaw.sidecar"
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}


@pytest.fixture
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Received]:
    """What a real collector, which both send to over HTTP, has passed on."""
    with grpc_backend() as received:
        target = received.endpoint.removeprefix("http://")
        with Collector(tmp_path_factory.mktemp("collector"), target) as collector:
            received.endpoint = collector.http
            yield received


def spans_of(backend: Received) -> dict[bytes, tuple[str, Span]]:
    """By id: who made each span, and the span."""
    return {
        span.span_id: (scope.scope.name, span)
        for request in list(backend.traces)
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }


def attributes(span: Span) -> dict[str, Any]:
    return {a.key: a.value.string_value or a.value.int_value or a.value.bool_value for a in span.attributes}


def assert_no_orphan(spans: dict[bytes, tuple[str, Span]]) -> None:
    for _, span in spans.values():
        if span.parent_span_id:
            assert span.parent_span_id in spans, f"{span.name} has a parent that the backend never saw"
            assert spans[span.parent_span_id][1].trace_id == span.trace_id


async def disturbed_turn(rig: Rig, sidecar: Companion, session_key: str) -> None:
    """A turn that a co-tenant writes into, recovered."""
    async with rig.window(session_key) as window:
        end = await rig.client.chat_end(await rig.client.chat_send(session_key, "/status"))
        assert end["state"] == "final"
        turn = await window.close("The answer.")
    assert_answered(turn)
    await sidecar.closed_incident(window.session_file.name)


async def tree(backend: Received, session: str, names: set[str]) -> tuple[Span, dict[str, list[Span]]]:
    """Wait for the spans of the turn with an incident: its root, and all spans of its trace by name."""
    async with asyncio.timeout(20):
        while True:
            spans = spans_of(backend)
            fences = [s for _, s in spans.values() if s.name == "session.fence" and "openclaw.verdict" in attributes(s)]
            trace = [s for _, s in spans.values() if fences and s.trace_id == fences[0].trace_id]
            roots = [s for s in trace if not s.parent_span_id]
            found: dict[str, list[Span]] = {}
            for span in trace:
                found.setdefault(span.name, []).append(span)
            if roots and names <= set(found):
                (root,) = roots
                return root, found
            await asyncio.sleep(0.05)


NAMES = {"session.lock", "session.fence", "session.verdict", "session.recovery", "chat slow"}


async def test_without_the_plugin_the_sidecar_exports_the_root(
    hooked: Rig, session_key: str, backend: Received, tmp_path: Path
) -> None:
    socket = Path(hooked.env["OPENCLAW_SIDECAR_SOCKET"])
    env = {**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": backend.endpoint}
    await hooked.say(session_key)
    async with Companion(hooked.gateway.state_dir, tmp_path, socket, env=env) as sidecar:
        await sidecar.wait_linked(hooked.gateway.pid)
        await disturbed_turn(hooked, sidecar, session_key)
        root, found = await tree(backend, session_key, NAMES | {"invoke_agent"})
    assert root.name == "invoke_agent"
    assert_tree(root, root, found)
    assert_no_orphan(spans_of(backend))


def assert_tree(root: Span, run: Span, found: dict[str, list[Span]]) -> None:
    (fence,) = found["session.fence"]
    (chat,) = found["chat slow"]
    assert fence.parent_span_id == chat.parent_span_id == run.span_id
    assert {s.parent_span_id for s in found["session.verdict"] + found["session.recovery"]} == {fence.span_id}
    assert {s.parent_span_id for s in found["session.lock"]} <= {run.span_id, fence.span_id}
    assert root.start_time_unix_nano <= run.start_time_unix_nano <= fence.start_time_unix_nano
    assert fence.start_time_unix_nano <= chat.start_time_unix_nano < chat.end_time_unix_nano <= fence.end_time_unix_nano
    assert run.start_time_unix_nano < run.end_time_unix_nano


@pytest.mark.seconds(110)  # starts a gateway of its own
async def test_with_the_plugin_both_make_one_tree(  # noqa: PLR0917 - fixtures
    version: str,
    packages: Callable[[str], GatewayPackage],
    session_key: str,
    backend: Received,
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
) -> None:
    try:
        package = with_plugin(packages(version), tmp_path / "package")
    except PluginMissingError as error:
        pytest.skip(str(error))
    work_dir = tmp_path_factory.mktemp("g")
    socket = work_dir / "s.sock"
    env = {"NODE_OPTIONS": f"--import={preload_path()}", "OPENCLAW_SIDECAR_SOCKET": str(socket), **SOON}
    async with Rig(package, work_dir, env, plugin_settings(backend.endpoint)) as rig:
        await rig.say(session_key)
        sidecar_env = {**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": backend.endpoint}
        async with Companion(rig.gateway.state_dir, tmp_path / "sidecar", socket, env=sidecar_env) as sidecar:
            await sidecar.wait_linked(rig.gateway.pid)
            await disturbed_turn(rig, sidecar, session_key)
            root, found = await tree(backend, session_key, NAMES | {"openclaw.run"})
    spans = spans_of(backend)
    (run,) = found["openclaw.run"]
    assert spans[run.span_id][0] == "openclaw"
    assert_tree(root, run, found)
    assert "invoke_agent" not in found
    assert_no_orphan(spans)

"""Releases that set no fence, and processes of OpenClaw that are no gateway."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.preload.kit import EVALUATE, PRELOAD, Evaluator, Node, Sidecar, clean_environment

BUS: Final = """
const KEY = Symbol.for("openclaw.diagnosticEvents.state.v1");
function state() {
  return (globalThis[KEY] ??= { listeners: new Map() });
}
function onInternalDiagnosticEvent(listener, interest) {
  state().listeners.set(listener, interest);
}
export function emit(event) {
  for (const [listener, { include }] of state().listeners) if (include.includes(event.type)) listener(event, {});
}
export { onInternalDiagnosticEvent };
"""
"""A MODEL of the bus of 2026.9.6: whoever does not register gets nothing."""

LOOP: Final = "async function runGatewayLoop(params) {}\n"
RUN: Final = (
    "async function runEmbeddedAttempt(params) { return await params.attempt(); }\nexport { runEmbeddedAttempt };\n"
)
LOCK: Final = """
async function acquireSessionWriteLock({ sessionFile }) {
  return { release: async () => {} };
}
export { acquireSessionWriteLock };
"""
RENAMED: Final = f'{RUN}class E extends Error {{ text = "file changed while embedded prompt lock was released" }}\n'
CALL: Final = '{ type: "model.call.started", runId: "r", callId: "c", provider: "p", model: "m" }'


class OpenClaw(Evaluator):
    """A process with the preload, which loads modules of a bundle one by one."""

    def __init__(self, node: Path, directory: Path, sidecar: Sidecar, name: str = "openclaw") -> None:
        (directory / "dist").mkdir()
        (directory / "package.json").write_text(f'{{"name": "{name}", "version": "2026.9.6", "type": "module"}}')
        for module, source in {"bus": BUS, "loop": LOOP, "run": RUN, "lock": LOCK, "renamed": RENAMED}.items():
            (directory / "dist" / f"{module}.mjs").write_text(source)
        program = "const load = (name) => import(new URL(`dist/${name}.mjs`, import.meta.url));"
        script = directory / "evaluate.mjs"
        script.write_text(EVALUATE.replace("PROGRAM", program))
        env = clean_environment(NODE_OPTIONS=f"--import={PRELOAD}", OPENCLAW_SIDECAR_SOCKET=str(sidecar.path))
        Node.__init__(self, node, script, env=env, cwd=directory)


@pytest.fixture
def openclaw(node: Path, tmp_path: Path, sidecar: Sidecar) -> Iterator[OpenClaw]:
    with OpenClaw(node, tmp_path, sidecar) as opened:
        yield opened


def test_a_process_with_only_the_bus_is_not_linked(openclaw: OpenClaw, sidecar: Sidecar) -> None:
    """Every command of OpenClaw loads the bus."""
    openclaw.do("await load('bus')")
    assert openclaw.end() == ""
    assert sidecar.connections == []


def test_a_gateway_is_linked_before_its_first_turn(openclaw: OpenClaw, sidecar: Sidecar) -> None:
    openclaw.do("await load('bus'); await load('loop')")
    assert sidecar.wait_for_said("hello")[0]["openclaw"] == "2026.9.6"
    assert sidecar.wait_for_adapter("pending")["reason"]


def test_the_first_event_on_the_bus_links_whatever_process_it_is(openclaw: OpenClaw, sidecar: Sidecar) -> None:
    openclaw.do("(await load('bus')).emit({ type: 'session.state', state: 'processing' })")
    sidecar.wait_for_said("hello")
    assert sidecar.wait_for_said("diag")[0]["event"] == "session.state"
    assert sidecar.wait_for_adapter("pending")
    assert sidecar.said("adapter")[-1]["adapter"] == "pending", "a fence may still come"


def test_the_bus_of_another_package_links_nothing(node: Path, tmp_path: Path, sidecar: Sidecar) -> None:
    with OpenClaw(node, tmp_path, sidecar, name="other") as other:
        other.do(f"(await load('bus')).emit({CALL})")
        assert other.end() == ""
    assert sidecar.connections == []


def test_events_that_are_not_wanted_are_not_asked_for(openclaw: OpenClaw, sidecar: Sidecar) -> None:
    openclaw.do("const bus = await load('bus'); bus.emit({ type: 'log.record' }); bus.emit({ type: 'session.turn' })")
    assert openclaw.end() == ""
    assert sidecar.connections == []


def test_a_model_call_without_a_fence_says_that_there_is_none(openclaw: OpenClaw, sidecar: Sidecar) -> None:
    openclaw.do(f"await load('loop'); (await load('bus')).emit({CALL})")
    assert "nothing to recover" in sidecar.wait_for_adapter("none")["reason"]
    assert [m["event"] for m in sidecar.wait_for_said("diag")] == ["model.call.started"]


def test_a_bundle_whose_runs_set_no_fence_has_none(openclaw: OpenClaw, sidecar: Sidecar) -> None:
    openclaw.do("await load('run')")
    assert "nothing to recover" in sidecar.wait_for_adapter("none")["reason"]


def test_a_fence_under_other_names_is_unknown(openclaw: OpenClaw, sidecar: Sidecar) -> None:
    openclaw.do(f"await load('renamed'); (await load('bus')).emit({CALL})")
    sidecar.wait_for_said("diag")
    assert [m["adapter"] for m in sidecar.said("adapter")][-1] == "unknown"


def test_before_the_fence_locks_are_traced(openclaw: OpenClaw, sidecar: Sidecar, tmp_path: Path) -> None:
    """2026.5.16-beta.4 and earlier."""
    sessions = tmp_path / "sessions"
    sessions.mkdir()
    (sessions / "s.jsonl").touch()
    openclaw.do("await load('run')")
    openclaw.do(
        "const { acquireSessionWriteLock } = await load('lock');"
        f"const lock = await acquireSessionWriteLock({{ sessionFile: {str(sessions / 's.jsonl')!r} }});"
        "await lock.release();"
    )
    assert sidecar.wait_for_said("lock.taken")
    assert sidecar.wait_for_said("lock.released")
    assert sidecar.said("adapter")[-1]["adapter"] == "none"

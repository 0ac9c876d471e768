"""Who is named as the writer, what is said of locks, and what of the diagnostics bus leaves the process."""

from hashlib import sha256
from typing import Any, Final

import pytest

from sidecar import __version__
from sidecar.preload import preload_path
from tests.preload.conftest import Pair
from tests.preload.kit import Gateway, Sidecar

KEY: Final = "agent:main:main"
BUS: Final = """
  const bus = { listeners: new Set() };
  globalThis[Symbol.for("openclaw.diagnosticEvents.state.v1")] = bus;
"""


@pytest.fixture
def gateway(older: Pair) -> Gateway:
    older.sidecar.renew()
    older.gateway.renew()
    return older.gateway


@pytest.fixture
def sidecar(older: Pair) -> Sidecar:
    return older.sidecar


def writers(gateway: Gateway, sidecar: Sidecar, code: str) -> list[dict[str, Any]]:
    """The writers of the changes that a piece of code makes."""
    gateway.do(code)
    sidecar.sync()
    return [m["writer"] for m in sidecar.said("change") if m["phase"] != "begin"]


def in_run(params: str, code: str = "fs.appendFileSync(file, 'x')") -> str:
    return f"await bundle.runEmbeddedAttempt({{ {params}, attempt: async () => {{ {code}; }} }})"


@pytest.mark.parametrize(
    ("params", "writer"),
    [
        ("runId: 'r', trigger: 'user'", {"kind": "user_turn", "run": "r"}),
        ("runId: 'r'", {"kind": "user_turn", "run": "r"}),
        ("runId: 'r', trigger: 'manual'", {"kind": "user_turn", "run": "r"}),
        ("runId: 'r', trigger: 'heartbeat'", {"kind": "heartbeat", "run": "r"}),
        ("runId: 'r', trigger: 'cron', jobId: 'digest'", {"kind": "cron", "name": "digest", "run": "r"}),
        ("runId: 'r', trigger: 'memory'", {"kind": "maintenance", "run": "r"}),
        ("runId: 'r', trigger: 'overflow'", {"kind": "compaction", "name": "overflow", "run": "r"}),
        ("runId: 'r', trigger: 'novelty'", {"kind": "gateway", "name": "novelty", "run": "r"}),
        ("runId: 'r', messageChannel: 'webchat'", {"kind": "user_turn", "name": "webchat", "run": "r"}),
        ("runId: 'r', messageChannel: 'telegram'", {"kind": "channel", "name": "telegram", "run": "r"}),
        ("runId: 7, trigger: {}, jobId: []", {"kind": "gateway"}),
    ],
)
def test_what_a_run_writes_is_its_own(gateway: Gateway, sidecar: Sidecar, params: str, writer: dict[str, Any]) -> None:
    assert writers(gateway, sidecar, in_run(params)) == [writer]


def test_a_run_is_known_across_everything_that_it_waits_for(gateway: Gateway, sidecar: Sidecar) -> None:
    code = """
      await Promise.resolve();
      await new Promise((later) => setTimeout(later, 1));
      await new Promise((later) => process.nextTick(later));
      await fsp.appendFile(file, "x");
      await new Promise((done) => fs.appendFile(file, "x", () => { fs.appendFileSync(file, "x"); done(); }))
    """
    assert writers(gateway, sidecar, in_run("runId: 'r'", code)) == [{"kind": "user_turn", "run": "r"}] * 3


def test_two_runs_at_once_are_told_apart(gateway: Gateway, sidecar: Sidecar) -> None:
    code = """
      const step = () => new Promise((later) => setImmediate(later));
      const attempt = async () => { for (let i = 0; i < 3; i += 1) { await step(); fs.appendFileSync(file, "x"); } };
      await Promise.all(["a", "b"].map((runId) => bundle.runEmbeddedAttempt({ runId, attempt })));
    """
    assert [w["run"] for w in writers(gateway, sidecar, code)].count("a") == 3
    assert {w["run"] for w in writers(gateway, sidecar, "1")} == {"a", "b"}


def test_outside_a_run_the_gateway_itself_writes(gateway: Gateway, sidecar: Sidecar) -> None:
    assert writers(gateway, sidecar, "fs.appendFileSync(file, 'x')") == [{"kind": "gateway"}]


def test_an_injected_note_is_named_by_its_label(gateway: Gateway, sidecar: Sidecar) -> None:
    assert writers(gateway, sidecar, "await coTenant()") == [{"kind": "inject", "name": "cron"}]


def test_an_injected_note_inside_a_run_is_that_runs_writing(gateway: Gateway, sidecar: Sidecar) -> None:
    found = writers(gateway, sidecar, in_run("runId: 'r'", "await coTenant()"))
    assert found == [{"kind": "inject", "name": "cron", "run": "r"}]


def test_a_run_that_throws_throws_what_it_threw(gateway: Gateway, sidecar: Sidecar) -> None:
    code = "const wrong = new Error('mine'); try { RUN } catch (error) { return error === wrong; }"
    assert gateway.do(code.replace("RUN", in_run("runId: 'r'", "throw wrong"))) is True


def test_a_session_key_leaves_the_process_as_a_hash(gateway: Gateway, sidecar: Sidecar) -> None:
    gateway.do(f"await startRun({{ sessionKey: '{KEY}' }})")
    [fence] = sidecar.wait_for_said("fence.set")
    assert fence["run"] == {"run": "run-1", "kind": "user_turn", "session": sha256(KEY.encode()).hexdigest()[:16]}
    gateway.do("return await endRun()")


# Locks


def test_a_hold_is_told_with_its_writer_and_the_file_at_its_end(gateway: Gateway, sidecar: Sidecar) -> None:
    gateway.do("await coTenant()")
    [released] = sidecar.wait_for_said("lock.released")
    [taken] = sidecar.said("lock.taken")
    [_, written] = sidecar.said("change")
    assert taken["hold"] == released["hold"]
    assert taken["writer"] == released["writer"] == {"kind": "inject", "name": "cron"}
    assert released["after"] == written["after"]
    assert int(taken["wait"]) >= 0 < int(released["held"])


def test_a_wait_is_measured(gateway: Gateway, sidecar: Sidecar) -> None:
    gateway.do(
        """
        const first = await bundle.acquireSessionWriteLock({ sessionFile: file });
        const second = bundle.acquireSessionWriteLock({ sessionFile: file });
        await new Promise((later) => setTimeout(later, 30));
        await first.release();
        await (await second).release();
        """
    )
    waits = [int(m["wait"]) for m in sidecar.wait_for_said("lock.taken", 2)]
    assert waits[1] > 25_000_000
    assert int(sidecar.wait_for_said("lock.released", 2)[0]["held"]) > 25_000_000


def test_a_release_is_told_once_and_does_what_it_did(gateway: Gateway, sidecar: Sidecar) -> None:
    code = """
      const lock = await bundle.acquireSessionWriteLock({ sessionFile: file });
      await lock.release();
      return await lock.release().catch((error) => error.code);
    """
    assert gateway.do(code) == "ENOENT"
    sidecar.sync()
    assert len(sidecar.said("lock.released")) == 1


def test_a_lock_that_is_not_had_is_told_and_the_error_stays(gateway: Gateway, sidecar: Sidecar) -> None:
    code = """
      const lock = await bundle.acquireSessionWriteLock({ sessionFile: file });
      const failed = await bundle.acquireSessionWriteLock({ sessionFile: file, timeoutMs: 1 }).catch((e) => e.name);
      await lock.release();
      return failed;
    """
    assert gateway.do(code) == "SessionWriteLockTimeoutError"
    [failed] = sidecar.wait_for_said("lock.failed")
    assert (failed["reason"], failed["writer"]) == ("timeout", {"kind": "gateway"})


def test_a_lock_of_something_else_is_not_told(gateway: Gateway, sidecar: Sidecar) -> None:
    gateway.do("await (await bundle.acquireSessionWriteLock({ sessionFile: `${file}.other` })).release()")
    sidecar.sync()
    assert sidecar.said("lock.taken") == []


# The bus


def test_the_bus_is_heard_and_only_known_fields_of_known_events_leave(gateway: Gateway, sidecar: Sidecar) -> None:
    gateway.do(
        f"""
        {BUS}
        {in_run("runId: 'r'", "g.bus = bus")};
        const tell = (event) => {{ for (const listener of bus.listeners) listener(event, {{}}); }};
        tell({{ type: "model.call.started", runId: "r", provider: "p", model: "m", prompt: "SECRET" }});
        tell({{ type: "session.stalled", sessionKey: "{KEY}", classification: "long", detail: "SECRET" }});
        tell({{ type: "log.record", message: "SECRET" }});
        tell({{ type: "queue.lane.enqueue", lane: "SECRET" }});
        for (const nonsense of [null, undefined, 7, {{}}, {{ type: 7 }}]) tell(nonsense);
        tell({{ type: "run.started", usage: 7, trace: null, runId: ["r"], durationMs: "1" }});
        """
    )
    sidecar.sync()
    session = sha256(KEY.encode()).hexdigest()[:16]
    told = [{k: v for k, v in m.items() if k not in {"t", "seq", "at"}} for m in sidecar.said("diag")]
    assert told == [
        {"event": "model.call.started", "run": "r", "provider": "p", "model": "m"},
        {"event": "session.stalled", "session": session, "reason": "long"},
        {"event": "run.started"},
    ]
    assert sidecar.said("trouble") == []


@pytest.mark.parametrize(
    ("event", "span"),
    [("run.started", "cd" * 8), ("model.call.started", "ef" * 8)],
    ids=["an event of the run is its span", "an event of a model call is a child of it"],
)
def test_a_run_takes_part_in_the_gateways_own_trace(gateway: Gateway, sidecar: Sidecar, event: str, span: str) -> None:
    gateway.do(
        f"""
        {BUS}
        await startRun();
        const trace = {{ traceId: "ab".repeat(16), spanId: "cd".repeat(8), parentSpanId: "ef".repeat(8) }};
        for (const listener of bus.listeners) listener({{ type: "{event}", runId: "run-1", trace }});
        await g.controller.withSessionWriteLock(async () => g.manager.append("own"));
        await endRun();
        """
    )
    moved = sidecar.wait_for_said("fence.set", 2)[1]
    assert (moved["run"]["trace"], moved["run"]["span"]) == ("ab" * 16, span)


def test_cached_tokens_count_as_input(gateway: Gateway, sidecar: Sidecar) -> None:
    """As the gen_ai conventions want it."""
    gateway.do(
        f"""
        {BUS}
        await startRun();
        for (const usage of [{{ input: 3, cacheRead: 5, cacheWrite: 2, output: 4 }}, {{ promptTokens: 11, input: 3 }}])
          for (const listener of bus.listeners) listener({{ type: "model.call.completed", usage }});
        """
    )
    sidecar.sync()
    counted = [(m.get("input_tokens"), m.get("output_tokens")) for m in sidecar.said("diag")]
    assert counted == [(10, 4), (11, None)]


def test_the_preload_and_the_sidecar_are_of_one_version() -> None:
    text = preload_path().with_name("link.mjs").read_text(encoding="utf-8")
    assert f'PRELOAD_VERSION = "{__version__}"' in text

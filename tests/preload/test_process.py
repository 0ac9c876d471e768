"""What the preload is to the processes that it gets into: next to nothing, unless a gateway's modules load there."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

from sidecar.wire import messages as wire
from tests.preload.conftest import Start
from tests.preload.kit import (
    PATIENCE_SECONDS,
    PATIENT_MS,
    PRELOAD,
    SLOW_WRITE,
    Answer,
    Connection,
    Gateway,
    Sidecar,
    Told,
    clean_environment,
    welcome,
)

FIRST_NODE_WITH_HOOKS: Final = (22, 15)

REMEMBER: Final = """
import fs from "node:fs";
import net from "node:net";
const functions = (owner) => Object.fromEntries(Object.keys(owner).map((name) => [name, owner[name]]));
globalThis.stock = { fs: functions(fs), promises: functions(fs.promises) };
globalThis.connects = 0;
const { connect } = net;
net.connect = (...args) => { globalThis.connects += 1; return connect(...args); };
"""
"""Runs ahead of the preload."""

COMPARE: Final = """
import fs from "node:fs";
await import(process.argv[2]);
const changed = (owner, stock) => Object.keys(owner).filter((name) => owner[name] !== stock[name]);
const wrapped = [...changed(fs, stock.fs), ...changed(fs.promises, stock.promises)];
console.log(JSON.stringify({ wrapped: wrapped.length > 0, connects }));
"""
"""Loads a module and looks what has become of the process."""

HOOK_POINT: Final = "async function runEmbeddedAttempt(params) {}\n"
NO_HOOK_POINT: Final = """
// function runEmbeddedAttempt(
const text = "async function acquireSessionWriteLock(";
  function acquireSessionWriteLock() {}
const guardSessionManager = () => {};
class A { runEmbeddedAttempt(params) {} }
"""
UNTOUCHED: Final = {"wrapped": False, "connects": 0}


def load(node: Path | str, directory: Path, module: str, source: str, **env: str) -> Told:
    """Load a module in a process with the preload; what has become of that process. Fails on anything on stderr."""
    for name, text in {"remember.mjs": REMEMBER, "main.mjs": COMPARE, module: source}.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    done = subprocess.run(
        [node, directory / "main.mjs", directory / module],
        capture_output=True,
        text=True,
        env=clean_environment(NODE_OPTIONS=f"--import={directory / 'remember.mjs'} --import={PRELOAD}", **env),
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found: Told = json.loads(done.stdout)
    return found


def test_a_module_with_a_hook_point_brings_the_preload_in(node: Path, tmp_path: Path, sidecar: Sidecar) -> None:
    """The tests below could not fail without this one."""
    found = load(node, tmp_path, "dist/b.mjs", HOOK_POINT, OPENCLAW_SIDECAR_SOCKET=str(sidecar.path))
    assert found == {"wrapped": True, "connects": 1}


def test_a_program_without_hook_points_is_left_as_it_is(node: Path, tmp_path: Path, sidecar: Sidecar) -> None:
    """Even when their names are in it."""
    found = load(node, tmp_path, "dist/b.mjs", NO_HOOK_POINT, OPENCLAW_SIDECAR_SOCKET=str(sidecar.path))
    assert found == UNTOUCHED
    assert sidecar.connections == []


def test_a_hook_point_outside_a_bundle_is_none(node: Path, tmp_path: Path, sidecar: Sidecar) -> None:
    found = load(node, tmp_path, "src/b.mjs", HOOK_POINT, OPENCLAW_SIDECAR_SOCKET=str(sidecar.path))
    assert found == UNTOUCHED


def test_the_preload_can_be_switched_off(node: Path, tmp_path: Path, sidecar: Sidecar) -> None:
    env = {"OPENCLAW_SIDECAR_SOCKET": str(sidecar.path), "OPENCLAW_SIDECAR_PRELOAD": "off"}
    assert load(node, tmp_path, "dist/b.mjs", HOOK_POINT, **env) == UNTOUCHED


def _version(node: str) -> tuple[int, ...]:
    text = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in text.strip().lstrip("v").split(".")[:2])


def test_a_node_that_is_too_old_for_the_hooks_runs_as_ever(tmp_path: Path) -> None:
    """NODE_OPTIONS is inherited by every Node program that the gateway's tools start, on whatever Node they run."""
    found = shutil.which("node")
    if found is None or _version(found) >= FIRST_NODE_WITH_HOOKS:
        pytest.skip("there is no Node older than 22.15 on the PATH")
    assert load(found, tmp_path, "dist/b.mjs", HOOK_POINT) == UNTOUCHED


def test_no_module_names_an_import_that_an_older_node_does_not_have() -> None:
    """What the test above shows, on machines with nothing but a new Node."""
    statements = [line for line in PRELOAD.read_text().splitlines() if line.startswith("import ")]
    assert statements == ['import nodeModule from "node:module";']


def test_a_worker_thread_is_a_second_link_of_the_same_process(start: Start, sidecar: Sidecar) -> None:
    gateway = start()
    gateway.do(
        """
        const { Worker } = await import("node:worker_threads");
        g.worker = new Worker(new URL(process.argv[2]));
        await new Promise((done) => g.worker.once("exit", done));
        """
    )
    first, second = sidecar.wait_for_said("hello", 2)
    assert first["pid"] == second["pid"] == gateway.process.pid
    assert first["thread"] == 0 < second["thread"]
    assert isinstance(sidecar.wait_for_end(1).messages[-1], wire.Bye)


def test_a_program_that_the_gateway_starts_has_no_link(start: Start, sidecar: Sidecar) -> None:
    gateway = start()
    sidecar.wait_for_said("hello")
    code = """
      const { execFileSync } = await import("node:child_process");
      return execFileSync(process.execPath, ["-e", "console.log(process.env.NODE_OPTIONS)"], { encoding: "utf8" });
    """
    assert "preload.mjs" in gateway.do(code)
    gateway.end()
    sidecar.wait_for_end()
    assert len(sidecar.connections) == 1


def test_the_hello_says_who_it_is(start: Start, sidecar: Sidecar) -> None:
    gateway = start()
    sidecar.wait_for_said("hello")
    hello = sidecar.connections[0].messages[0]
    assert isinstance(hello, wire.Hello)
    assert (hello.seq, hello.protocol, hello.pid, hello.thread) == (1, wire.PROTOCOL, gateway.process.pid, 0)
    assert (hello.openclaw, hello.lost, hello.node[0]) == ("2026.5.18", 0, "v")
    assert 0 < int(hello.started) <= int(hello.at)


@pytest.mark.parametrize("end", ["", "process.exit(0)", "setTimeout(() => process.exit(0), 1)"])
def test_an_orderly_end_is_told_and_nothing_is_left_unsaid(start: Start, sidecar: Sidecar, end: str) -> None:
    gateway = start()
    sidecar.wait_for_said("hello")
    gateway.do("for (let i = 0; i < 100; i += 1) fs.appendFileSync(file, 'x')")
    gateway.say({"code": f"fs.appendFileSync(file, 'y'); {end}"})
    gateway.end()
    messages = sidecar.wait_for_end().messages
    assert isinstance(messages[-1], wire.Bye)
    assert sum(isinstance(m, wire.Changed) for m in messages) == 101
    assert [m.seq for m in messages] == list(range(1, len(messages) + 1))


def test_rule_5_writes_that_the_account_could_not_take_are_told_as_trouble_and_then_as_lost(
    start: Start, sidecar: Sidecar
) -> None:
    gateway = start()
    gateway.do("""
      const fd = fs.openSync(file, "a");
      for (let count = 0; count < 25; count += 1) {
        let looks = 0;
        const once = { get position() { if ((looks += 1) === 1) throw new Error("no look"); return null; } };
        fs.writeSync(fd, Buffer.from("{}\\n"), once);
      }
    """)
    assert gateway.file.read_bytes().count(b"{}\n") == 25
    sidecar.sync()
    assert sidecar.said("change") == []
    told = [message["where"] for message in sidecar.said("trouble")]
    assert told == ["account"] * 20, "no more than so many lines"
    reasons = {message["reason"] for message in sidecar.said("trouble")}
    assert all(re.fullmatch(r"Error at account/\w+\.mjs:\d+", reason) for reason in reasons), reasons
    assert sum(message["count"] for message in sidecar.said("lost")) == 5


def test_a_killed_process_says_no_goodbye(start: Start, sidecar: Sidecar) -> None:
    gateway = start()
    sidecar.wait_for_said("hello")
    gateway.process.kill()
    assert not any(isinstance(m, wire.Bye) for m in sidecar.wait_for_end().messages)


def test_a_sidecar_that_is_not_there_costs_one_line_and_no_delay(start: Start, sidecar: Sidecar) -> None:
    gateway = start(socket_path=sidecar.path.with_name("absent.sock"))
    gateway.do("await startRun(); await coTenant()")
    ended = gateway.do("return await endRun()")
    assert ended["outcome"] == "takeover"
    assert ended["ms"] < PATIENT_MS / 2
    gateway.do("await new Promise((later) => setTimeout(later, 350))")  # time for two more attempts
    [line] = gateway.end().splitlines()
    assert "no sidecar at" in line
    assert "absent.sock" in line


def test_a_sidecar_that_comes_later_is_found_and_told_how_much_it_missed(
    start: Start, sidecar: Sidecar, tmp_path: Path
) -> None:
    link = tmp_path / "later.sock"
    gateway = start(socket_path=link)
    gateway.do("for (let i = 0; i < 7; i += 1) fs.appendFileSync(file, 'x')")
    gateway.do("await new Promise((later) => setTimeout(later, 1))")  # the first attempt has failed
    link.hardlink_to(sidecar.path)
    [hello] = sidecar.wait_for_said("hello")
    assert hello["lost"] >= 7
    sidecar.renew()
    gateway.do("fs.appendFileSync(file, 'x')")
    assert sidecar.wait_for_said("change")[0]["length"] == 1


def test_what_happens_before_the_link_is_up_is_told_on_it(start: Start, sidecar: Sidecar, tmp_path: Path) -> None:
    """Modules load and write within one turn of the event loop, in which no connection can come about."""
    sessions = tmp_path / "sessions"
    sessions.mkdir()
    gateway = start()
    sidecar.wait_for_said("hello")
    gateway.do(
        f"""
        const {{ Worker }} = await import("node:worker_threads");
        const code = `import fs from "node:fs"; await import("${{process.argv[2]}}");
          fs.appendFileSync({str(sessions / "s.jsonl")!r}, "early"); setTimeout(() => {{}}, 300);`;
        g.worker = new Worker(new URL(`data:text/javascript,${{encodeURIComponent(code)}}`));
        """
    )
    sidecar.wait_for_said("change")
    messages = sidecar.connections[1].messages
    assert isinstance(messages[0], wire.Hello)
    assert messages[0].lost == 0
    assert [m.length for m in messages if isinstance(m, wire.Changed)] == [5]


def test_a_sidecar_that_has_not_welcomed_is_not_waited_for(start: Start, sidecar: Sidecar) -> None:
    sidecar.answer = lambda _connection, _message: ()
    gateway = start()
    gateway.do("await startRun(); await coTenant()")
    sidecar.wait_for_said("fence.set")
    ended = gateway.do("return await endRun()")
    assert ended["outcome"] == "takeover"
    assert ended["ms"] < PATIENT_MS / 2
    assert sidecar.said("ask") == []


def test_a_rejected_gateway_says_why_in_one_line_and_goes_on(start: Start, sidecar: Sidecar) -> None:
    def rejecting(_connection: Connection, message: Told) -> Iterable[Answer]:
        yield wire.Reject(protocol=2, reason="restart the\ngateway\x1b[31m, please")

    sidecar.answer = rejecting
    gateway = start()
    sidecar.wait_for_end()
    assert gateway.do("await startRun(); return await endRun()")["outcome"] == "answered"
    [line] = gateway.end().splitlines()
    assert "restart the gateway [31m, please" in line


def test_however_often_the_link_fails_there_is_one_line(start: Start, sidecar: Sidecar) -> None:
    def failing(connection: Connection, message: Told) -> Iterable[Answer]:
        yield from welcome(connection, message)
        yield b"nonsense\n"

    sidecar.answer = failing
    gateway = start()
    sidecar.wait_for(lambda: len(sidecar.connections) > 2, "a third attempt")
    assert len(gateway.end().splitlines()) <= 1


def test_a_release_that_no_adapter_fits_is_left_untouched(start: Start, sidecar: Sidecar) -> None:
    gateway = start(model="unknown")
    source = gateway.do("return bundle.createEmbeddedAttemptSessionLockController.toString()")
    assert "{ params, hasSessionTakeover: () => false }" in source
    sidecar.wait_for_adapter("unknown")


@pytest.mark.parametrize(("model", "reloads"), [("swap", False), ("publish", True)])
def test_the_adapter_that_fits_is_told_on_every_link(
    start: Start, sidecar: Sidecar, model: str, *, reloads: bool
) -> None:
    start(model=model)
    for _ in range(2):
        sidecar.renew(forget=False)
        sidecar.wait_for_adapter()
        found = [m for m in sidecar.link.messages if isinstance(m, wire.AdapterFound)][-1]
        assert (found.adapter, found.reload) == (model, reloads)
        sidecar.hang_up(sidecar.link)
        sidecar.wait_for(lambda: sidecar.link.closed, "the link's end")


def fill(gateway: Gateway) -> None:
    """More reports than the queue takes from a process whose sidecar does not read; 1500 writes."""
    long_name = gateway.file.parent.joinpath(*["d" * 200] * 15, "sessions", "s.jsonl")  # makes for long reports
    long_name.parent.mkdir(parents=True)
    gateway.do(f"for (let i = 0; i < 1500; i += 1) fs.writeFileSync({str(long_name)!r}, 'x')")


def test_a_sidecar_that_does_not_read_blocks_nothing_and_is_told_of_the_loss(start: Start, sidecar: Sidecar) -> None:
    """The queue is bounded: what does not fit is counted, and no number of the sequence is missing."""
    gateway = start()
    sidecar.wait_for_adapter()
    sidecar.sync()
    reading = sidecar.pause()
    fill(gateway)
    reading.set()
    written = 1500
    while not sidecar.said("lost"):  # told with the first message that fits again
        gateway.do("fs.writeFileSync(file, 'x'); await new Promise((later) => setTimeout(later, 5))")
        written += 1
    sidecar.sync()
    messages = sidecar.connections[0].messages
    assert [m.seq for m in messages] == list(range(1, len(messages) + 1))
    assert sum(m["count"] for m in sidecar.said("lost")) + len(sidecar.said("change")) == written


def test_what_began_while_reports_were_dropped_is_told_behind_word_of_the_loss(start: Start, sidecar: Sidecar) -> None:
    """A write whose begin nobody has heard looks like a stranger's until it returns."""
    gateway = start()
    sidecar.wait_for_adapter()
    gateway.do("g.lock = await bundle.acquireSessionWriteLock({ sessionFile: file.replace('.j', '2.j') })")
    [held] = sidecar.wait_for_said("lock.taken")
    reading = sidecar.pause()
    fill(gateway)
    gateway.do("await startRun()")
    gateway.do(SLOW_WRITE)
    reading.set()
    while not sidecar.said("lost"):
        gateway.do("fs.writeFileSync(file.replace('.j', '2.j'), ''); await new Promise((on) => setTimeout(on, 5))")
    sidecar.sync()
    told = sidecar.connections[0].told
    behind = told[[m["t"] for m in told].index("lost") + 1 :]
    assert [(m["t"], m.get("phase")) for m in behind[:2]] == [("change", "begin"), ("fence.set", None)]
    assert {m["file"] for m in behind[:2]} == {str(gateway.file.resolve())}
    assert [m["hold"] for m in sidecar.said("lock.taken") if m["file"] == held["file"]] == [held["hold"]], "told twice"
    gateway.do("g.goOn(); await g.writing; await g.lock.release()")
    sidecar.sync()
    [ended] = [
        m for m in sidecar.connections[0].told if (m.get("change"), m.get("phase")) == (behind[0]["change"], "end")
    ]
    sizes = [int(ended[when].split(":")[2]) for when in ("before", "after")]
    assert sizes[1] - sizes[0] == len("x\n")

"""What the preload is to the helpers of a gateway: to those that write no transcript nothing, to a thread little."""

import json
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.preload.kit import PATIENCE_SECONDS, PRELOAD, Sidecar, Told, clean_environment
from tests.preload.test_rows import RowGateway, gateway, reported  # noqa: F401 - gateway is a fixture

REMEMBER: Final = """
import fs from "node:fs";
import net from "node:net";
import nodeModule, { syncBuiltinESMExports } from "node:module";
import { DatabaseSync } from "node:sqlite";
globalThis.before = { append: fs.appendFileSync, exec: DatabaseSync.prototype.exec };
globalThis.seen = { hooks: 0, links: 0, listeners: process.listenerCount("exit") };
const { registerHooks } = nodeModule;
nodeModule.registerHooks = (hooks) => { seen.hooks += 1; return registerHooks(hooks); };
syncBuiltinESMExports();
const { connect } = net;
net.connect = (...args) => { seen.links += 1; return connect(...args); };
"""
"""Runs ahead of the preload."""

COMPARE: Final = """
import fs from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { parentPort } from "node:worker_threads";
await import(new URL("MODULE", import.meta.url));
const found = {
  hooks: seen.hooks,
  links: seen.links,
  files: fs.appendFileSync !== before.append,
  rows: DatabaseSync.prototype.exec !== before.exec,
  timers: process.getActiveResourcesInfo().filter((name) => name === "Timeout" || name === "Immediate").length,
  listeners: process.listenerCount("exit") - seen.listeners,
};
if (parentPort) parentPort.postMessage(found);
else console.log(JSON.stringify(found));
"""
"""A helper: it loads a module of the bundle, and says what has become of its process or thread."""

IN_A_THREAD: Final = """
import { Worker } from "node:worker_threads";
const worker = new Worker(new URL(process.argv[2], import.meta.url));
worker.once("message", (found) => console.log(JSON.stringify(found)));
"""

BUS: Final = (
    "function onInternalDiagnosticEvent(listener) { (globalThis.heard ??= []).push(listener); return () => {}; }\n"
)
EVERYTHING: Final = BUS + "async function runEmbeddedAttempt() {}\nasync function acquireSessionWriteLock() {}\n"
ROWS: Final = "function deleteTranscriptEventsInTransaction(database, session) {}\n"

NOBODY: Final = Path("/nowhere/sidecar.sock")
"""Whoever looks for a sidecar there says on stderr that there is none."""

NOTHING: Final = {"hooks": 0, "links": 0, "files": False, "rows": False, "timers": 0, "listeners": 0}

PROCESSES: Final = (
    ("dist/infra/sqlite-readonly-location.worker.js", "--openclaw-sqlite-readonly-child", "sync"),
    ("dist/state/openclaw-database-verify.worker.js", "--openclaw-database-verify-child"),
    ("dist/process/spawn-broker/worker.js",),
)


def run(
    node: Path, directory: Path, program: str, module: str, *arguments: str, thread: bool = False, socket: Path = NOBODY
) -> Told:
    """What has become of a helper that loads this module. Fails on anything on stderr."""
    up = "../" * program.count("/")
    files = {
        "package.json": '{"name": "openclaw", "version": "2026.9.6", "type": "module"}',
        "remember.mjs": REMEMBER,
        "thread.mjs": IN_A_THREAD,
        "dist/b.mjs": module,
        program: COMPARE.replace("MODULE", f"{up}dist/b.mjs"),
    }
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    command = ("thread.mjs", f"./{program}") if thread else (str(directory / program), *arguments)
    done = subprocess.run(
        [node, *command],
        capture_output=True,
        text=True,
        env=clean_environment(
            NODE_OPTIONS=f"--import={directory / 'remember.mjs'} --import={PRELOAD}",
            OPENCLAW_SIDECAR_SOCKET=str(socket),
        ),
        cwd=directory,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found: Told = json.loads(done.stdout)
    return found


def test_a_program_that_is_no_helper_is_hooked(node: Path, tmp_path: Path, sidecar: Sidecar) -> None:
    """The tests below could not fail without this one."""
    found = run(node, tmp_path, "dist/entry.js", EVERYTHING, socket=sidecar.path)
    assert (found["hooks"], found["links"], found["files"], found["listeners"]) == (1, 1, True, 1)


@pytest.mark.parametrize(("program", "arguments"), [(p, a) for p, *a in PROCESSES], ids=[p for p, *_ in PROCESSES])
def test_a_helper_that_writes_no_transcript_is_left_as_it_is(
    node: Path, tmp_path: Path, program: str, arguments: list[str]
) -> None:
    """Whatever it loads."""
    assert run(node, tmp_path, program, EVERYTHING, *arguments) == NOTHING


def test_so_is_a_thread_that_only_reads(node: Path, tmp_path: Path) -> None:
    assert run(node, tmp_path, "dist/state/openclaw-state-read.worker.js", EVERYTHING, thread=True) == NOTHING


def test_a_program_outside_a_bundle_is_no_helper_by_its_name(node: Path, tmp_path: Path, sidecar: Sidecar) -> None:
    found = run(node, tmp_path, "src/openclaw-database-verify.worker.js", EVERYTHING, socket=sidecar.path)
    assert found["hooks"] == 1


def test_a_thread_with_nothing_but_the_bus_is_not_touched(node: Path, tmp_path: Path) -> None:
    found = run(node, tmp_path, "dist/config/sessions/disk-budget.worker.js", BUS, thread=True)
    assert found == {**NOTHING, "hooks": 1}


def test_a_thread_that_writes_rows_has_its_transactions_watched_and_no_more(node: Path, tmp_path: Path) -> None:
    found = run(node, tmp_path, "dist/config/sessions/session-transcript.worker.js", BUS + ROWS, thread=True)
    assert found == {**NOTHING, "hooks": 1, "rows": True}


def in_a_thread(gateway: RowGateway, code: str, loads: str = "./rows.mjs") -> None:  # noqa: F811 - the fixture's value
    """Run code in a worker thread of the gateway that has loaded a module of the bundle."""
    gateway.do(f"""
      const script = new URL("thread.mjs", MODULE);
      fs.writeFileSync(script, `import {{ DatabaseSync }} from "node:sqlite"; await import("{loads}");
        const db = new DatabaseSync(${{JSON.stringify(db.location())}});
        db.exec("PRAGMA foreign_keys=ON"); {code}; process.exit();`);
      const worker = new Worker(script);
      await new Promise((done) => worker.on("exit", done));
    """)


def test_what_a_thread_removes_is_reported_on_the_gateways_link(
    gateway: RowGateway,  # noqa: F811
    sidecar: Sidecar,
) -> None:
    """Even where it has nothing of the bundle that adds rows."""
    gateway.do('add({ id: "a", role: "user" }, { id: "b", role: "assistant" })')
    gateway.do(f"fs.writeFileSync(new URL('archive.mjs', MODULE), {ROWS!r})")
    remove = "db.exec('BEGIN IMMEDIATE'); db.exec('DELETE FROM transcript_events'); db.exec('COMMIT')"
    in_a_thread(gateway, remove, "./archive.mjs")
    assert [(message["op"], message["gone"]) for message in reported(sidecar)][1:] == [("remove", [[0, 1]])]


def test_trouble_in_a_thread_is_told_on_the_gateways_link(
    gateway: RowGateway,  # noqa: F811
    sidecar: Sidecar,
) -> None:
    """A report that could not be made is a row that nobody has accounted for."""
    broken = "db.createSession = 0; DatabaseSync.prototype.location = () => { throw new Error('no') }"
    in_a_thread(gateway, f"{broken}; db.exec('BEGIN IMMEDIATE'); db.exec('COMMIT')")
    sidecar.sync()
    assert [message["where"] for message in sidecar.said("trouble")] == ["account"]

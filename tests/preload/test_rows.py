"""Transcripts in a database: what is reported of their rows, and when the gateway's question gets another answer."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.core.facts.rows import Row, digest_of_span
from sidecar.watch.database.reader import DatabaseReader
from sidecar.wire.messages import Approve, Refuse
from tests.preload.kit import EVALUATE, MODELS, PRELOAD, Evaluator, Node, Sidecar, Told, clean_environment

SESSION: Final = "5e551041"
NAME: Final = "openclaw-agent.sqlite"

PROGRAM: Final = """
import { Worker } from "node:worker_threads";
const MODULE = new URL("dist/rows.mjs", import.meta.url).href;
const bundle = await import(MODULE);
const session = "5e551041";
let db;
let g = {};
const append = (row) => bundle.appendTranscriptEventInTransaction(db, session, row);
const add = (...rows) => bundle.transaction(db, () => rows.map(append));
const ask = (parent, admitted) => bundle.canRebasePreparedAssistantInTransaction({ db }, session, parent, admitted);
/** A run that has committed its input and waits for its model. */
function startRun(id = "q", parent = undefined) {
  return new Promise((waiting) => {
    const attempt = async () => {
      if (id) add({ id, parent, role: "user" });
      await new Promise((go) => { g.goOn = go; waiting(); });
      return await g.rest();
    };
    g.run = bundle.runEmbeddedAttempt({ runId: "run-1", trigger: "user", sessionKey: "agent:main:main", attempt });
  });
}
/** The model has answered: what the gateway's question says, and then what the run does. */
async function endRun(rest) {
  g.rest = rest;
  g.goOn();
  return await g.run;
}
"""


class RowGateway(Evaluator):
    """A model of a gateway of 2026.9.6 with the real preload in it."""

    def __init__(self, node: Path, directory: Path, sidecar: Sidecar, program: str = PROGRAM) -> None:
        (directory / "dist").mkdir(parents=True, exist_ok=True)
        (directory / "dist" / "rows.mjs").write_text((MODELS / "rows.mjs").read_text())
        (directory / "package.json").write_text('{"name": "openclaw", "version": "2026.9.6", "type": "module"}')
        script = directory / "evaluate.mjs"
        script.write_text(EVALUATE.replace("PROGRAM", program))
        self.path = directory / "agents" / "main" / "agent" / NAME
        self.path.parent.mkdir(parents=True)
        linked = {"OPENCLAW_SIDECAR_SOCKET": str(sidecar.path), "OPENCLAW_STATE_DIR": str(directory)}
        hooked = {"NODE_OPTIONS": f"--import={PRELOAD}", **linked}
        Node.__init__(self, node, script, env=clean_environment(**hooked), cwd=directory)
        self.do(f"db = bundle.open({str(self.path)!r})")

    @property
    def transcript(self) -> str:
        return f"{self.path}#{SESSION}"

    def stored(self) -> tuple[Row, ...]:
        """The rows as the sidecar reads them from outside."""
        reader = DatabaseReader(str(self.path))
        try:
            snapshot = reader.snapshot(SESSION)
            assert snapshot.rows is not None, snapshot.problem
            return snapshot.rows
        finally:
            reader.close()

    def foreign(self, statement: str) -> None:
        """A process without a link changes the database."""
        with sqlite3.connect(self.path) as connection:
            connection.execute(statement)
        connection.close()


@pytest.fixture
def gateway(node: Path, tmp_path: Path, sidecar: Sidecar) -> Iterator[RowGateway]:
    with RowGateway(node, tmp_path, sidecar) as opened:
        sidecar.renew()
        yield opened


def reported(sidecar: Sidecar) -> list[Told]:
    """Everything that was committed so far; the real sidecar understands all of it."""
    sidecar.sync()
    assert sidecar.link.messages
    return sidecar.said("rows")


def approve(gateway: RowGateway, sidecar: Sidecar, **changed: Any) -> None:  # noqa: ANN401 - fields of the message
    """What the real sidecar says when it has read the rows behind the fence."""
    sidecar.sync()
    fence = sidecar.said("fence.set")[-1]
    reader = DatabaseReader(str(gateway.path))
    rows = gateway.stored()
    newer = [row for row in rows if row.seq > int(fence["fence"].split(":")[2])]
    current = reader.version(SESSION).encode()
    reader.close()
    fields = {"window": fence["window"], "fence": fence["fence"], "current": current, "span": digest_of_span(newer)}
    sidecar.link.say(Approve(**{**fields, **changed}))
    sidecar.sync()


EXCHANGE: Final = """
add({ id: "c1", parent: "q", role: "user", key: "k:user" });
add({ id: "c2", parent: "c1", role: "assistant", key: "k", provider: "openclaw", model: "gateway-injected" });
"""


def test_a_committed_row_is_reported_as_the_sidecar_reads_it(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do('add({ id: "a", role: "user", key: "k:user" })')
    gateway.do('add({ id: "b", parent: "a", role: "assistant", zstd: true })')
    told = [message["rows"][0] for message in reported(sidecar)]
    stored = gateway.stored()
    assert [(row["seq"], row["sha256"], row["size"]) for row in told] == [(r.seq, r.digest, r.size) for r in stored]
    assert [(row["id"], row.get("parent", ""), row["role"], row.get("key", "")) for row in told] == [
        (r.event_id, r.parent_id, r.role, r.key) for r in stored
    ]
    assert {message["file"] for message in reported(sidecar)} == {gateway.transcript}


@pytest.mark.parametrize("compressed", ["false", "true"])
def test_the_reply_to_a_command_has_the_key_of_its_input(
    gateway: RowGateway, sidecar: Sidecar, compressed: str
) -> None:
    reply = EXCHANGE.replace('id: "c2",', f'id: "c2", zstd: {compressed},')
    gateway.do('add({ id: "q", role: "user" });' + reply)
    assert [row.injected for row in gateway.stored()] == [False, False, True]
    *_, user, reply = (message["rows"][0] for message in reported(sidecar))
    assert user["key"] == reply["key"] != ""
    assert reply["injected"]
    assert not user.get("injected", False)


def test_no_commit_waits_for_the_link(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do("await startRun()")
    sidecar.sync()
    code = """
    const { Socket } = await import("node:net");
    const write = Socket.prototype.write;
    let writes = 0;
    Socket.prototype.write = function (...args) { writes += 1; return write.apply(this, args); };
    try {
      return await endRun(() => {
        add({ id: "call", parent: "q", role: "assistant" });
        add({ id: "answer", parent: "call", role: "assistant" });
        return writes;
      });
    } finally {
      Socket.prototype.write = write;
    }
    """
    assert gateway.do(code) == 0
    assert [row["id"] for message in reported(sidecar) for row in message["rows"]] == ["q", "call", "answer"]


def test_a_transaction_that_is_rolled_back_is_not_reported(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do('add({ id: "a", role: "user" })')
    gateway.do("""
      try {
        bundle.transaction(db, () => {
          bundle.appendTranscriptEventInTransaction(db, session, { id: "b", parent: "a", role: "user" });
          throw new Error("no");
        });
      } catch {}
    """)
    gateway.do('add({ id: "c", parent: "a", role: "user" })')
    assert [[row["id"] for row in message["rows"]] for message in reported(sidecar)] == [["a"], ["c"]]


def test_a_commit_that_fails_and_is_made_again_is_reported_once(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do("""
      db.exec("CREATE TABLE later (id INTEGER PRIMARY KEY)");
      db.exec("CREATE TABLE other (id REFERENCES later(id) DEFERRABLE INITIALLY DEFERRED)");
      db.exec("BEGIN IMMEDIATE");
      append({ id: "a", role: "user" });
      db.exec("INSERT INTO other VALUES (1)");
      let refused = false;
      try { db.exec("COMMIT"); } catch { refused = true; }
      if (!refused) throw new Error("the first COMMIT was to fail");
      db.exec("INSERT INTO later VALUES (1)");
      db.exec("COMMIT");
    """)
    assert [[row["id"] for row in message["rows"]] for message in reported(sidecar)] == [["a"]]


@pytest.mark.parametrize(
    ("statement", "op", "gone"),
    [
        pytest.param("DELETE FROM transcript_events WHERE seq = 2", "rewrite", [[2, 2]], id="one row"),
        pytest.param("DELETE FROM transcript_events", "remove", [[0, 3]], id="all rows"),
        pytest.param("DELETE FROM session_windows", "remove", [[0, 3]], id="by a foreign key"),
    ],
)
def test_deleted_rows_are_reported(
    gateway: RowGateway, sidecar: Sidecar, statement: str, op: str, gone: list[list[int]]
) -> None:
    gateway.do("add(...['a', 'b', 'c', 'd'].map((id) => ({ id, role: 'user' })))")
    gateway.do(f"bundle.transaction(db, () => db.exec('{statement}'))")
    last = reported(sidecar)[-1]
    assert (last["op"], last["gone"], last.get("rows", [])) == (op, gone, [])


def test_a_rewritten_row_is_reported_with_what_it_is_now(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do("add({ id: 'a', role: 'user' }, { id: 'b', parent: 'a', role: 'assistant' })")
    gateway.do("bundle.transaction(db, () => db.exec(`UPDATE transcript_events SET event_json = '{}' WHERE seq = 0`))")
    last = reported(sidecar)[-1]
    assert last["op"] == "rewrite"
    assert [(row["seq"], row["sha256"]) for row in last["rows"]] == [(0, gateway.stored()[0].digest)]


def test_many_rows_come_in_several_messages(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do("add(...Array.from({ length: 900 }, (_, n) => ({ id: `e${n}`, role: 'user' })))")
    told = reported(sidecar)
    assert [(len(message["rows"]), message.get("more", False)) for message in told] == [
        (400, True),
        (400, True),
        (100, False),
    ]
    assert len({message["change"] for message in told}) == 1


def test_what_a_worker_commits_is_reported_on_the_gateways_link(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do("""
      const code = `
        import { appendTranscriptEventInTransaction, open, transaction } from "./rows.mjs";
        const db = open(${JSON.stringify(db.location())});
        transaction(db, () => appendTranscriptEventInTransaction(db, "5e551041", { id: "w", role: "user" }));
        process.exit();`;
      const script = new URL("worker.mjs", MODULE);
      fs.writeFileSync(script, code);
      const worker = new Worker(script);
      await new Promise((done) => worker.on("exit", done));
    """)
    assert [[row["id"] for row in message["rows"]] for message in reported(sidecar)] == [["w"]]
    assert len([message for message in sidecar.told if message["t"] == "hello"]) == 0  # no link beside the one


def test_another_database_is_left_alone(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do(f"db = bundle.open({str(gateway.path.with_name('other.sqlite'))!r}); add({{ id: 'a', role: 'user' }})")
    assert reported(sidecar) == []


def test_no_text_of_a_row_leaves_the_gateway(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do('add({ id: "a", role: "user", key: "secret-key:user" })')
    reported(sidecar)
    lines = b"".join(sidecar.link.raw)
    assert b"text of" not in lines
    assert b"secret-key" not in lines


def test_the_gateway_says_no_to_a_command_as_it_does_unpatched(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do("await startRun()")
    gateway.do(EXCHANGE)
    assert gateway.do('return await endRun(() => ask("q", "q"))') is False
    [tripped] = sidecar.wait_for_said("tripped")
    assert tripped["file"] == gateway.transcript
    [closed] = sidecar.wait_for_said("fence.closed")
    assert (closed["window"], closed["takeover"]) == (tripped["window"], True)


def test_rule_2_exactly_the_approved_rows_are_let_pass(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do("await startRun()")
    gateway.do(EXCHANGE)
    approve(gateway, sidecar)
    assert gateway.do('return await endRun(() => ask("q", "q"))') is True
    [applied] = sidecar.wait_for_said("applied")
    assert (applied["ok"], applied["pushed"], applied["records"]) == (True, True, ["c1", "c2"])
    [closed] = sidecar.wait_for_said("fence.closed")
    assert not closed.get("takeover", False)


def test_a_run_that_has_written_has_its_fence_there(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do("await startRun()")
    gateway.do("""return await endRun(() => { add({ id: "answer", parent: "q", role: "assistant" }); })""")
    sidecar.sync()
    first, second = sidecar.said("fence.set")
    assert [message["fence"].split(":")[2] for message in (first, second)] == ["0", "1"]
    assert first["window"] == second["window"]
    assert first["run"]["run"] == "run-1"


def test_a_run_whose_input_was_committed_ahead_of_it_has_its_fence_there(gateway: RowGateway, sidecar: Sidecar) -> None:
    """So is what a person types in the gateway's own chat: the run's id is its key."""
    gateway.do('add({ id: "q", role: "user", key: "run-1:user" })')
    gateway.do("await startRun('')")
    gateway.do(EXCHANGE)
    approve(gateway, sidecar)
    [fence] = sidecar.said("fence.set")
    assert (fence["fence"].split(":")[2], fence["run"]["run"]) == ("0", "run-1")
    assert gateway.do('return await endRun(() => ask("q", "q"))') is True
    assert len(sidecar.wait_for_said("fence.closed")) == 1


def test_input_of_another_run_is_no_fence(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do('add({ id: "q", role: "user", key: "run-2:user" })')
    gateway.do("await startRun('')")
    gateway.do("await endRun(() => 1)")
    sidecar.sync()
    assert sidecar.said("fence.set") == []


HEARTBEAT: Final = """
const manager = { getSessionTarget: () => ({ sessionId: SESSION }), getAppendParentId: () => "LAST" };
await new Promise((waiting) => {
  const attempt = async () => {
    INPUT
    bundle.guardSessionManager(manager);
    await new Promise((go) => { g.goOn = go; waiting(); });
    return await g.rest();
  };
  g.run = bundle.runEmbeddedAttempt({ runId: "run-2", trigger: "heartbeat", sessionKey: "agent:main:main", attempt });
});
"""


def start_heartbeat(gateway: RowGateway, last: str, session: str = "session", own_input: str = "") -> None:
    """A run has loaded a history that ends at a row, and waits for its model. It commits no input, as a rule."""
    gateway.do(HEARTBEAT.replace("LAST", last).replace("SESSION", session).replace("INPUT", own_input))


def test_a_run_without_input_has_its_fence_where_its_history_ends(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do('add({ id: "p", role: "user" }, { id: "q", parent: "p", role: "assistant" })')
    start_heartbeat(gateway, "q")
    gateway.do(EXCHANGE)
    approve(gateway, sidecar)
    [fence] = sidecar.said("fence.set")
    assert (fence["file"], fence["run"]["run"]) == (gateway.transcript, "run-2")
    assert fence["fence"] == f"rows:g1:1:{gateway.stored()[1].digest}"
    assert gateway.do('return await endRun(() => ask("q"))') is True
    assert sidecar.wait_for_said("applied")[0]["records"] == ["c1", "c2"]
    assert len(sidecar.wait_for_said("fence.closed")) == 1


def test_what_came_before_a_run_had_its_fence_is_behind_the_fence(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do('add({ id: "q", role: "user" });' + EXCHANGE)
    start_heartbeat(gateway, "q")
    approve(gateway, sidecar)
    assert sidecar.said("fence.set")[-1]["fence"] == f"rows:g1:0:{gateway.stored()[0].digest}"
    assert gateway.do('return await endRun(() => ask("q"))') is True


def test_a_strangers_row_behind_a_history_is_not_let_pass(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do('add({ id: "q", role: "user" });')
    start_heartbeat(gateway, "q")
    gateway.do(EXCHANGE)
    approve(gateway, sidecar)
    gateway.foreign(
        "INSERT INTO transcript_events (session_id, seq, event_json, created_at) VALUES ('5e551041', 3, '{}', 0)"
    )
    assert gateway.do('return await endRun(() => ask("q"))') is False
    assert sidecar.wait_for_said("applied")[0]["reason"] == "the transcript changed after the approval"
    assert sidecar.wait_for_said("tripped")


def test_a_run_that_has_committed_its_input_keeps_its_fence_there(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do('add({ id: "p", role: "user" })')
    start_heartbeat(gateway, "p", own_input='add({ id: "q", parent: "p", role: "user" });')
    gateway.do("await endRun(() => 1)")
    sidecar.sync()
    assert [fence["fence"].split(":")[2] for fence in sidecar.said("fence.set")] == ["1"]


@pytest.mark.parametrize(
    ("last", "session"),
    [
        pytest.param("other", "session", id="its last row is in no database"),
        pytest.param("q", "'5e551042'", id="it is of another session"),
        pytest.param("q", "undefined", id="it is in memory"),
    ],
)
def test_a_run_whose_history_is_not_found_has_no_fence(
    gateway: RowGateway, sidecar: Sidecar, last: str, session: str
) -> None:
    gateway.do('add({ id: "q", role: "user" });')
    start_heartbeat(gateway, last, session)
    gateway.do("await endRun(() => 1)")
    sidecar.sync()
    assert (sidecar.said("fence.set"), sidecar.said("trouble")) == ([], [])


@pytest.mark.parametrize(
    ("meanwhile", "fences"),
    [
        pytest.param("copy();", 0, id="another open one has it too"),
        pytest.param("copy().close();", 1, id="another one that had it is closed"),
        pytest.param("db.close();", 0, id="its own is closed"),
        pytest.param(
            'const kept = db; db = bundle.open(PATH); add({ id: "r", parent: "q" }); db.close(); db = kept;',
            1,
            id="a later connection to it is closed",
        ),
        pytest.param(
            'db.close(); db = bundle.open(PATH); add({ id: "r", parent: "q" });', 1, id="its own was opened anew"
        ),
    ],
)
def test_a_history_is_looked_for_in_open_databases(
    gateway: RowGateway, sidecar: Sidecar, meanwhile: str, fences: int
) -> None:
    other = gateway.path.parents[2] / "copy" / NAME
    other.parent.mkdir()
    gateway.do('add({ id: "q", role: "user" });')
    gateway.do(
        f"""
        const PATH = {str(gateway.path)!r};
        const copy = () => {{
          const other = bundle.open({str(other)!r});
          bundle.transaction(other, () => bundle.appendTranscriptEventInTransaction(other, session, {{ id: "q" }}));
          return (globalThis.other = other);
        }};
        {meanwhile}
        """
    )
    start_heartbeat(gateway, "q")
    gateway.do("await endRun(() => 1)")
    sidecar.sync()
    assert [len(sidecar.said(name)) for name in ("fence.set", "trouble")] == [fences, 0]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"span": "0" * 64}, "the rows are not those that were approved"),
        ({"fence": "rows:g1:0:" + "0" * 64}, "the fence is another one"),
        ({"current": "rows:g1:2:" + "0" * 64}, "the transcript changed after the approval"),
        ({"current": "absent"}, "the transcript changed after the approval"),
    ],
)
def test_rule_2_an_approval_of_anything_else_is_refused(
    gateway: RowGateway, sidecar: Sidecar, changed: dict[str, str], reason: str
) -> None:
    gateway.do("await startRun()")
    gateway.do(EXCHANGE)
    approve(gateway, sidecar, **changed)
    assert gateway.do('return await endRun(() => ask("q", "q"))') is False
    [applied] = sidecar.wait_for_said("applied")
    assert (applied["ok"], applied["reason"]) == (False, reason)
    assert sidecar.wait_for_said("tripped")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE transcript_events SET event_json = replace(event_json, 'text', 'TEXT') WHERE seq = 1",
        "UPDATE transcript_event_identities SET parent_id = 'x' WHERE seq = 1",
        "DELETE FROM transcript_events WHERE seq = 2",
        "UPDATE transcript_rewrite_watermarks SET generation = 'g2'",
        "INSERT INTO transcript_events (session_id, seq, event_json, created_at) VALUES ('5e551041', 3, '{}', 0)",
    ],
)
def test_rule_1_what_is_done_to_the_rows_after_the_approval_is_not_let_pass(
    gateway: RowGateway, sidecar: Sidecar, statement: str
) -> None:
    gateway.do("await startRun()")
    gateway.do(EXCHANGE)
    approve(gateway, sidecar)
    gateway.foreign(statement)
    assert gateway.do('return await endRun(() => ask("q", "q"))') is False


def test_rows_that_are_not_one_line_are_not_let_pass_even_where_they_are_approved(
    gateway: RowGateway, sidecar: Sidecar
) -> None:
    gateway.do("await startRun()")
    gateway.do('add({ id: "c1", parent: "q", role: "user" }, { id: "c2", parent: "q", role: "user" })')
    approve(gateway, sidecar)
    assert gateway.do('return await endRun(() => ask("q", "q"))') is False
    assert sidecar.wait_for_said("applied")[0]["reason"] == "the rows are not one line"


def test_a_run_that_stands_on_another_row_is_not_let_pass(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do('add({ id: "p", role: "user" })')
    gateway.do('await startRun("q", "p")')
    gateway.do(EXCHANGE)
    approve(gateway, sidecar)
    assert gateway.do('return await endRun(() => ask("p", "q"))') is False
    assert sidecar.wait_for_said("applied")[0]["reason"] == "the run stands on another row"


def test_an_approval_that_is_taken_back_is_not_obeyed(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do("await startRun()")
    gateway.do(EXCHANGE)
    approve(gateway, sidecar)
    window = sidecar.said("fence.set")[-1]["window"]
    sidecar.link.say(Refuse(window=window, ask="", verdict="", reason="taken back"))
    sidecar.sync()
    assert gateway.do('return await endRun(() => ask("q", "q"))') is False
    assert sidecar.said("applied") == []


def test_an_approval_ends_with_the_link_that_it_came_over(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do("await startRun()")
    gateway.do(EXCHANGE)
    approve(gateway, sidecar)
    sidecar.hang_up(sidecar.link)
    sidecar.wait_for_end(0)
    sidecar.renew(forget=False)
    assert gateway.do('return await endRun(() => ask("q", "q"))') is False


def test_a_question_outside_of_a_run_is_the_gateways_own(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do('add({ id: "q", role: "user" });' + EXCHANGE)
    assert gateway.do('return ask("q", "q")') is False
    sidecar.sync()
    assert sidecar.said("tripped") == []


def test_a_question_that_the_bundle_answers_otherwise_is_left_alone(
    node: Path, tmp_path: Path, sidecar: Sidecar
) -> None:
    text = (MODELS / "rows.mjs").read_text()
    loose = text.replace('row.role !== "user" || row.id === admitted', "true")
    assert loose != text
    with RowGateway(node, tmp_path / "gateway", sidecar) as gateway:
        (tmp_path / "gateway" / "dist" / "loose.mjs").write_text(loose)
        gateway.do("await import(MODULE.replace('rows.mjs', 'loose.mjs'))")
        failed = "self-check: it allows an answer behind a user's row"
        sidecar.wait_for(lambda: [m for m in sidecar.said("adapter") if m["reason"].endswith(failed)], "the self-check")

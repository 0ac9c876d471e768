"""The write lock of an agent's database: what is told of each transaction's wait and hold."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest

from sidecar.wire.messages import Patience
from tests.preload.kit import Sidecar, Told
from tests.preload.test_rows import RowGateway

MS: Final = 1_000_000
ROW: Final = '{ id: "a", role: "user" }'


@pytest.fixture
def gateway(node: Path, tmp_path: Path, sidecar: Sidecar) -> Iterator[RowGateway]:
    with RowGateway(node, tmp_path, sidecar) as opened:
        sidecar.renew()
        yield opened


def told(sidecar: Sidecar) -> list[Told]:
    """Every transaction so far; the real sidecar understands all of it."""
    sidecar.sync()
    assert sidecar.link.messages
    return sidecar.said("db.lock")


@contextmanager
def held(gateway: RowGateway) -> Iterator[None]:
    """Another process holds the write lock."""
    with closing(sqlite3.connect(gateway.path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


BEGINS: Final = 'fs.writeFileSync("begins", "")'


def held_while(gateway: RowGateway, code: str, seconds: float) -> None:
    """Another process holds the write lock while this runs, for so long after `BEGINS`."""
    begins = gateway.path.parents[3] / "begins"
    with held(gateway):
        gateway.say(code)
        while not begins.exists():
            time.sleep(0.01)
        time.sleep(seconds)
    assert "error" not in gateway.hear()


def test_a_transaction_is_told_with_its_hold_and_its_rows(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do("""bundle.transaction(db, () => {
      append({ id: "a", role: "user" });
      append({ id: "b", parent: "a", role: "assistant" });
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 30);
    })""")
    [lock] = told(sidecar)
    assert (lock["database"], lock["stored"], lock["writer"]) == (str(gateway.path), 2, {"kind": "gateway"})
    assert int(lock["held"]) >= 30 * MS
    assert {"error", "op", "thread"} & set(lock) == set()


def test_a_transaction_has_the_name_that_the_gateway_gives_it(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do(f"""
      const run = bundle.runSqliteImmediateTransactionSync;
      run(db, () => append({ROW}), {{ operationLabel: "session.transcript.batch" }});
      run(db, () => {{}}, {{ operationLabel: "what a person said, at length" }});
      run(db, () => {{}});
      const other = bundle.open({str(gateway.path.with_name("other.sqlite"))!r});
      run(other, () => bundle.transaction(db, () => {{}}), {{ operationLabel: "of.another.database" }});
    """)
    assert [lock.get("op", "") for lock in told(sidecar)] == ["session.transcript.batch", "", "", ""]


def test_a_transaction_of_a_run_has_its_writer(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do("await startRun()")
    assert [lock["writer"]["run"] for lock in told(sidecar)] == ["run-1"]


def test_a_wait_is_told_when_it_is_over(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do('db.exec("PRAGMA busy_timeout = 60000")')
    held_while(gateway, f"{BEGINS}; add({ROW})", 0.5)
    [lock] = told(sidecar)
    assert int(lock["wait"]) > 0
    assert "error" not in lock


def test_a_lock_that_is_not_had_is_busy(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do('db.exec("PRAGMA busy_timeout = 150")')
    with held(gateway):
        assert gateway.do(f"try {{ add({ROW}) }} catch (error) {{ return error.errcode }}") == 5
    [lock] = told(sidecar)
    assert (lock["error"], "held" in lock, "stored" in lock) == ("busy", False, False)
    assert int(lock["wait"]) >= 150 * MS


def test_a_lock_that_is_asked_for_many_times_over_is_one_wait(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do('db.exec("PRAGMA busy_timeout = 25")')
    ask = "bundle.runSqliteImmediateTransactionSync(db, () => {}, { tries: TRIES, operationLabel: 'agent.write' })"
    with held(gateway):
        gateway.do(f"try {{ {ask.replace('TRIES', '8')} }} catch {{}}")
    [lock] = told(sidecar)
    assert (lock["error"], lock["op"]) == ("busy", "agent.write")
    assert int(lock["wait"]) >= 8 * 25 * MS
    held_while(gateway, f"{BEGINS}; {ask.replace('TRIES', '4000')}", 1.0)
    _, lock = told(sidecar)
    assert "error" not in lock
    assert int(lock["wait"]) >= 100 * MS


def test_an_attempt_without_patience_is_no_failure(gateway: RowGateway, sidecar: Sidecar) -> None:
    with held(gateway):
        gateway.do(f"try {{ add({ROW}) }} catch {{}}")
    assert told(sidecar) == []


@pytest.mark.parametrize(
    ("before", "error"),
    [
        ("db = new db.constructor(db.location(), { readOnly: true })", "readonly"),
        ('db.exec("PRAGMA query_only = 1")', "readonly"),
        ('db.exec("PRAGMA max_page_count = 1")', "full"),
    ],
)
def test_a_transaction_that_fails_says_why(gateway: RowGateway, sidecar: Sidecar, before: str, error: str) -> None:
    rows = '["a".repeat(5000), "b".repeat(5000)].forEach((id) => append({ id, role: "user" }))'
    gateway.do(f"{before}; try {{ bundle.runSqliteImmediateTransactionSync(db, () => {rows}) }} catch {{}}")
    assert [lock.get("error", "") for lock in told(sidecar)] == [error]


def test_a_transaction_that_is_rolled_back_held_the_lock_too(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do('try { bundle.transaction(db, () => { throw new Error("no") }) } catch {}')
    [lock] = told(sidecar)
    assert int(lock["held"]) > 0
    assert "error" not in lock


def test_a_commit_that_fails_says_why(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do("""
      db.exec("CREATE TABLE later (id INTEGER PRIMARY KEY)");
      db.exec("CREATE TABLE other (id REFERENCES later(id) DEFERRABLE INITIALLY DEFERRED)");
      try { bundle.transaction(db, () => db.exec("INSERT INTO other VALUES (1)")) } catch {}
      db.exec("BEGIN IMMEDIATE");
      db.exec("COMMIT");
    """)
    assert [lock.get("error", "") for lock in told(sidecar)] == ["other", ""]


def test_a_worker_tells_through_the_main_thread(gateway: RowGateway, sidecar: Sidecar) -> None:
    gateway.do("""
      const code = `
        import { open, transaction, runSqliteImmediateTransactionSync as run } from "./rows.mjs";
        const db = open(${JSON.stringify(db.location())});
        run(db, () => {}, { operationLabel: "session.reclamation.commit-settlement" });
        process.exit();`;
      const script = new URL("worker.mjs", MODULE);
      fs.writeFileSync(script, code);
      const worker = new Worker(script);
      await new Promise((done) => worker.on("exit", done));
    """)
    [lock] = told(sidecar)
    assert (lock["thread"], lock["op"]) == (1, "session.reclamation.commit-settlement")
    assert abs(int(lock["at"]) - int(sidecar.said("synced")[-1]["at"])) < 60_000 * MS


def test_without_a_sidecar_nothing_is_kept_and_nothing_is_lost(node: Path, tmp_path: Path, sidecar: Sidecar) -> None:
    away = sidecar.path.with_name("later.sock")
    sidecar.path, real = away, sidecar.path
    with RowGateway(node, tmp_path, sidecar) as gateway:
        gateway.do("for (let n = 0; n < 1500; n += 1) bundle.transaction(db, () => {})")
        away.hardlink_to(real)
        sidecar.renew(forget=False)
        assert told(sidecar) == []
        [hello] = sidecar.said("hello")
        assert hello["lost"] == 1  # which fence it has


PATIENT: Final = """
  db.exec("PRAGMA busy_timeout = 150");
  await startRun();
"""
ANSWER: Final = 'return await endRun(() => { add({ id: "answer", parent: "q", role: "assistant" }); return "stored"; })'


def grant(gateway: RowGateway, sidecar: Sidecar, tries: int = 3) -> str:
    """The sidecar says ahead that the run may ask more often; the window that it says it of."""
    gateway.do(PATIENT)
    sidecar.sync()
    window: str = sidecar.said("fence.set")[-1]["window"]
    sidecar.link.say(Patience(window=window, tries=tries))
    sidecar.sync()
    return window


def test_a_run_that_has_patience_asks_again_and_says_what_came_of_it(gateway: RowGateway, sidecar: Sidecar) -> None:
    window = grant(gateway, sidecar)
    gateway.do('db.exec("PRAGMA busy_timeout = 1000")')  # the lock is given back in the second of four
    held_while(gateway, ANSWER.replace("add(", f"{BEGINS}; add("), 1.5)
    [waited] = sidecar.wait_for_said("lock.waited")
    assert (waited["window"], waited["ok"]) == (window, True)
    assert int(waited["waited"]) >= 1000 * MS
    assert [lock.get("error", "") for lock in told(sidecar)] == ["", ""]


@pytest.mark.parametrize("tries", [1, 3])
def test_it_gives_up_after_so_many_tries_as_unpatched(gateway: RowGateway, sidecar: Sidecar, tries: int) -> None:
    grant(gateway, sidecar, tries)
    with held(gateway):
        said = gateway.ask(ANSWER)
    assert "database is locked" in said["error"]
    [waited] = sidecar.wait_for_said("lock.waited")
    assert (waited["ok"], waited.get("tries", 1)) == (False, tries)
    assert int(waited["waited"]) >= (1 + tries) * 150 * MS
    [_, lock] = told(sidecar)
    assert lock["error"] == "busy"
    assert int(lock["wait"]) >= (1 + tries) * 150 * MS


def test_patience_is_good_for_once_and_can_be_taken_back(gateway: RowGateway, sidecar: Sidecar) -> None:
    window = grant(gateway, sidecar)
    sidecar.link.say(Patience(window=window, tries=0))
    sidecar.sync()
    with held(gateway):
        assert "database is locked" in gateway.ask(ANSWER)["error"]
    sidecar.sync()
    assert sidecar.said("lock.waited") == []


def test_patience_ends_with_the_link_that_it_came_over(gateway: RowGateway, sidecar: Sidecar) -> None:
    grant(gateway, sidecar)
    sidecar.hang_up(sidecar.link)
    sidecar.wait_for_end(0)
    sidecar.renew(forget=False)
    with held(gateway):
        assert "database is locked" in gateway.ask(ANSWER)["error"]
    sidecar.sync()
    assert sidecar.said("lock.waited") == []


def test_what_is_no_write_of_the_run_is_not_waited_for(gateway: RowGateway, sidecar: Sidecar) -> None:
    grant(gateway, sidecar)
    with held(gateway):
        assert gateway.do(f"try {{ add({ROW}) }} catch (error) {{ return error.errcode }}") == 5
    sidecar.sync()
    assert sidecar.said("lock.waited") == []

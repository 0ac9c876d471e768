"""Who is in a session's lock together, and in which order.

On a model of the lock of 2026.5.22 and later: it may be entered by who asks for that while it is held, and whoever did
not get it looks again only after a while. The gateways that this is there for are driven in tests/e2e.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.preload.kit import PRELOAD, Evaluator

PROGRAM: Final = """
const { ahead, shut } = await import(PRELOAD + "/fence/exclusion.mjs");
const { wrapLock } = await import(PRELOAD + "/fence/lock_hooks.mjs");
const { reportTo, watchSync } = await import(PRELOAD + "/account/reports.mjs");
const { appendFileSync, statSync } = await import("node:fs");
const file = SESSION_FILE;
const run = { run: "r1" };
const order = [];
const pause = (ms) => new Promise((later) => setTimeout(later, ms));
const promptly = () => new Promise((later) => setImmediate(later));
let file_there = false; // the lock's own file, which comes first and goes last
let held = 0;
let stuck = false;
let taking = Promise.resolve(); // the lock is being taken until then
async function model({ name, allowReentrant }) {
  await promptly();
  if (!allowReentrant || held === 0) {
    while (file_there || (stuck && name === "note")) await pause(30);
    file_there = true;
    await pause(5);
    await taking;
  }
  held += 1;
  order.push(name);
  return {
    release: async () => {
      held -= 1;
      await promptly();
      if (held === 0) file_there = false;
    },
  };
}
const link = { hears: true, recovers: true, send() {} };
const acquire = wrapLock(model, link);
const ask = (name, allowReentrant = false) => acquire({ sessionFile: file, name, allowReentrant });
const within = (promise, ms) => Promise.race([promise.then(() => true), pause(ms).then(() => false)]);
async function noteEntersAsTheLockIsTaken(ms) {
  let taken;
  taking = new Promise((resolve) => { taken = resolve; });
  const holder = ask("run");
  while (!file_there) await promptly();
  const note = ask("note", true);
  for (let turns = 0; turns < 10; turns += 1) await promptly(); // the note has looked at the lock
  taken();
  const lock = await holder;
  const entered = await within(note, ms);
  await lock.release();
  await (await note).release();
  return entered;
}
"""


@pytest.fixture
def lock(node: Path, tmp_path: Path) -> Iterator[Evaluator]:
    """A Node program with a session's lock that the preload watches."""
    sessions = tmp_path / "agents" / "main" / "sessions"
    sessions.mkdir(parents=True)
    session_file = sessions / "s.jsonl"
    session_file.write_text("")
    program = PROGRAM.replace("PRELOAD", repr(PRELOAD.parent.as_uri())).replace("SESSION_FILE", repr(str(session_file)))
    with Evaluator(node, tmp_path, program) as evaluator:
        yield evaluator


def test_who_was_kept_outside_has_the_lock_before_it_is_taken_again(lock: Evaluator) -> None:
    """Or it would meet a lock that was taken a moment ago, again and again, until the run has long been over."""
    order = lock.do("""
        const open = shut(file, run);
        const note = ask("note");
        await promptly();
        open();
        const again = ask("run");
        await (await note).release();
        await (await again).release();
        return order;
    """)
    assert order == ["note", "run"]


def test_the_run_waits_a_bounded_time_for_who_was_kept_outside_and_nobody_waits_again(lock: Evaluator) -> None:
    order, waited, waits_again = lock.do("""
        stuck = true;
        const open = shut(file, run);
        const note = ask("note");
        await promptly();
        open();
        const since = performance.now();
        await (await ask("run")).release();
        const waited = performance.now() - since;
        const waitsAgain = ahead(file, false) !== undefined;
        await (await ask("next")).release();
        stuck = false;
        await (await note).release();
        return [order, waited, waitsAgain];
    """)
    assert order == ["run", "next", "note"]
    assert waited >= 95
    assert not waits_again


def test_who_did_not_get_the_lock_is_waited_for_no_more(lock: Evaluator) -> None:
    said = lock.do("""
        const failing = wrapLock(async () => { throw new Error("no"); }, link);
        const open = shut(file, run);
        const note = failing({ sessionFile: file }).catch(() => "failed");
        await promptly();
        open();
        const before = ahead(file, false) !== undefined;
        return [before, await note, ahead(file, false) !== undefined];
    """)
    assert said == [True, "failed", False]


def test_who_may_enter_the_lock_does_so_though_it_asks_in_the_moment_in_which_it_is_taken(lock: Evaluator) -> None:
    """Or it would look again only after a while, and again, with the session's queue in its hands."""
    assert lock.do("return await noteEntersAsTheLockIsTaken(2000)") is True


def test_who_asks_while_the_lock_is_given_back_has_it_before_whoever_may_enter_it(lock: Evaluator) -> None:
    order = lock.do("""
        const released = (await ask("run")).release();
        const note = ask("note", true);
        await released;
        const last = await ask("persisted", true);
        await (await note).release();
        await last.release();
        return order;
    """)
    assert order == ["run", "note", "persisted"]


def test_a_sidecar_that_only_looks_makes_nobody_wait(lock: Evaluator) -> None:
    assert lock.do("link.recovers = false; return await noteEntersAsTheLockIsTaken(100)") is False


def test_who_may_not_enter_the_lock_waits_for_none_but_those_that_were_kept_outside(lock: Evaluator) -> None:
    """A run asks for the lock as it does unpatched, whoever else of its process is asking for it."""
    waits = lock.do("""
        const note = ask("note", true);
        const waits = [false, true].map((mayEnter) => ahead(file, mayEnter) !== undefined);
        await (await note).release();
        return waits;
    """)
    assert waits == [False, True]


def test_a_release_that_began_while_nobody_heard_of_it_is_counted_and_never_reported(lock: Evaluator) -> None:
    """The fingerprint was not read: one that is read later is not what the holder of the lock left."""
    said, lost = lock.do("""
        const said = [];
        let lost = 0;
        const absent = { hears: false, send: (type) => said.push(type), lose: () => void (lost += 1) };
        const lock = await wrapLock(model, absent)({ sessionFile: file, name: "run" });
        const released = lock.release();
        absent.hears = true;
        await released;
        await lock.release();
        return [said, lost];
    """)
    assert (said, lost) == (["lock.taken"], 1)


def test_a_release_tells_what_the_last_change_under_the_lock_left_or_what_the_file_is(lock: Evaluator) -> None:
    """With that the file need not be read again: who else changes it is seen by the sidecar's watch, then as later."""
    told, sizes = lock.do("""
        const said = [];
        const tell = (type, fields) => said.push([type, JSON.parse(JSON.stringify(fields))]);
        const known = { hears: true, recovers: false, send: tell, lose() {} };
        reportTo(known);
        const describe = () => ({ op: "append", length: 1, sha256: "", offset: 0 });
        const take = () => wrapLock(model, known)({ sessionFile: file, name: "run" });
        const sizes = [];
        const first = await take();
        watchSync({ file, describe }, () => appendFileSync(file, "x"));
        sizes.push(statSync(file).size);
        await first.release();
        appendFileSync(file, "y");
        const second = await take();
        await second.release();
        sizes.push(statSync(file).size);
        const third = await take();
        watchSync({ file, describe }, () => appendFileSync(file, "z"));
        known.hears = false;
        watchSync({ file, describe }, () => appendFileSync(file, "lost"));
        known.hears = true;
        await third.release();
        sizes.push(statSync(file).size);
        return [said, sizes];
    """)
    changed = [fields["after"] for kind, fields in told if kind == "change"]
    released = [fields["after"] for kind, fields in told if kind == "lock.released"]
    assert released[0] == changed[0]
    assert [int(after.split(":")[2]) for after in released] == sizes

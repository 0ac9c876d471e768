// Runs pieces of code beside a model of the gateway, one for each line on stdin, and says what they returned.
import fs from "node:fs";
import fsp from "node:fs/promises";
import { createInterface } from "node:readline";
import v8 from "node:v8";
import vm from "node:vm";

const bundle = await import(process.argv[2]);
let file; // the session file
let g; // kept from one piece to the next

/** Begin anew with another session file. */
function use(path) {
  file = path;
  g = {};
}

/** A MODEL of pi's SessionManager, as far as the preload touches it; test_session_manager.py has the real one. */
class Manager {
  flushed = true;
  fileEntries = [];
  byId = new Map();
  leafId = null;
  constructor() {
    if (fs.existsSync(file)) {
      for (const line of fs.readFileSync(file, "utf8").trim().split("\n")) this.learn(JSON.parse(line));
    } else {
      this.flushed = false;
      this.learn({ type: "session", id: "s1" });
    }
  }
  getSessionFile() {
    return file;
  }
  learn(entry) {
    this.fileEntries.push(entry);
    if (entry.type === "session") return;
    this.byId.set(entry.id, entry);
    this.leafId = entry.id;
  }
  append(id) {
    this._appendEntry({ type: "message", id, parentId: this.leafId });
  }
  _appendEntry(entry) {
    this.learn(entry);
    this._persist(entry);
  }
  _persist(entry) {
    const unsaved = this.flushed ? [entry] : this.fileEntries;
    for (const each of unsaved) fs.appendFileSync(file, `${JSON.stringify(each)}\n`);
    this.flushed = true;
  }
}

/** A run up to the moment in which it waits for its model. */
function startRun(more = {}) {
  return new Promise((waiting, fail) => {
    const attempt = async () => {
      g.manager = new Manager();
      g.session = { sessionManager: g.manager, ...g.agent };
      const withSessionWriteLock = (write) => g.controller.withSessionWriteLock(write);
      bundle.installSessionEventWriteLock?.({ session: g.session, withSessionWriteLock });
      bundle.guardSessionManager?.(g.manager);
      const reload = () => Object.assign(g.manager, new Manager());
      g.lockOptions = { sessionFile: file };
      g.controller = await bundle.createEmbeddedAttemptSessionLockController({
        acquireSessionWriteLock: bundle.acquireSessionWriteLock,
        lockOptions: g.lockOptions,
        reloadPromptReleasedSessionFile: reload,
      });
      await g.controller.releaseForPrompt();
      await new Promise((done) => {
        g.answer = done;
        waiting();
      });
      return await g.rest();
    };
    g.run = bundle.runEmbeddedAttempt({ runId: "run-1", trigger: "user", sessionKey: "agent:main:main", ...more, attempt });
    g.run.catch(fail);
  });
}

/** The model has answered: write under the lock. Gives "answered" or "takeover", and how long that took. */
async function endRun(write = () => g.manager.append("answer")) {
  const started = performance.now();
  g.rest = () => g.controller.withSessionWriteLock(async () => write());
  g.answer();
  const outcome = await g.run.then(
    () => "answered",
    (error) => (error instanceof bundle.Takeover ? "takeover" : String(error.stack)),
  );
  return { outcome, ms: performance.now() - started, takeover: g.controller.hasSessionTakeover() };
}

/** The model has answered, and the run writes with no check around it; each of its records sets the fence anew. */
async function endUnwatched(ids = ["answer"], before = () => {}) {
  g.rest = async () => {
    before();
    for (const id of ids) {
      g.manager.append(id);
      g.controller.refreshAfterOwnedSessionWrite();
    }
    await (await g.controller.acquireForCleanup()).release();
  };
  g.answer();
  await g.run;
  return g.controller.hasSessionTakeover() ? "takeover" : "answered";
}

/** The same for one record, after which the run waits again. */
async function writeUnwatched(id) {
  const waiting = new Promise((waits) => {
    g.rest = async () => {
      g.manager.append(id);
      g.controller.refreshAfterOwnedSessionWrite();
      await new Promise((answer) => {
        g.answer = answer;
        waits();
      });
      return await g.rest();
    };
  });
  g.answer();
  await waiting;
}

/** Another writer of this process, under the lock. */
async function coTenant(id = "note", parentId = "first") {
  const record = { type: "message", id, parentId };
  await bundle.appendInjectedAssistantMessageToTranscript({ sessionFile: file, label: "cron", record });
}

/** One that is in the lock together with the run, looks where the history ends, and appends there after `work`. */
async function guest(id, work) {
  g.lockOptions.allowReentrant = true;
  const whenIn = async (record) => {
    record.parentId = JSON.parse(fs.readFileSync(file, "utf8").trim().split("\n").at(-1)).id;
    await work();
  };
  const record = { type: "message", id };
  await bundle.appendInjectedAssistantMessageToTranscript({ sessionFile: file, record, allowReentrant: true, whenIn });
}

const after = (ms) => new Promise((done) => setTimeout(done, ms));

/** Take note of each wait of at most `ms`, and call `onSet` when one begins; gives the notes, and what ends it. */
function timersOf(ms, onSet = () => {}) {
  const { setTimeout } = globalThis;
  const notes = [];
  globalThis.setTimeout = (call, delay, ...rest) => {
    const bounded = delay === ms && new Error().stack.includes("deadlines.mjs");
    if (!bounded) return setTimeout(call, delay, ...rest);
    const note = { rang: false };
    notes.push(note);
    queueMicrotask(onSet);
    return setTimeout((...args) => { note.rang = true; call(...args); }, delay, ...rest);
  };
  return [notes, () => { globalThis.setTimeout = setTimeout; }];
}

/** What is garbage by now is gone after this. */
async function collectGarbage() {
  v8.setFlagsFromString("--expose-gc");
  const gc = vm.runInNewContext("gc");
  for (let round = 0; round < 3; round += 1) {
    await after(5);
    gc();
  }
}

/** A step of a test that another part of it waits for; one that does not come must fail the test, not stop it. */
function moment() {
  const found = {};
  found.come = new Promise((resolve) => {
    found.now = resolve;
    setTimeout(resolve, 2000);
  });
  return found;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { code } = JSON.parse(line);
  let said;
  try {
    said = { value: (await eval(`(async () => { ${code} })()`)) ?? null };
  } catch (error) {
    said = { error: String(error?.stack ?? error) };
  }
  process.stdout.write(`${JSON.stringify(said)}\n`);
}

// Before an adapter is put in force it is tried: the bundle's own controller is driven on temporary files, through the
// very wrappers that will stand beside it later. What a release only resembles by its names shows here, and then the
// bundle gets its own functions back.
//
// Everything that a trial says and asks stays here, by its async context; and until the trial has passed, nothing that
// a real run asks is asked.
import { AsyncLocalStorage } from "node:async_hooks";
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { fingerprintOf } from "../fingerprint.mjs";
import { safely } from "../guard.mjs";
import { sessionPath } from "../paths.mjs";
import { wrapRun } from "../writers/writers.mjs";
import { chooseAdapter } from "./adapters.mjs";
import { Fences } from "./fence.mjs";
import { recordsSince } from "./session_manager.mjs";

export const NO_MATCH = "this release has a fence that no adapter of this preload matches";

const RELOAD = /\breloadPromptReleasedSessionFile\b/;
const METHODS = ["releaseForPrompt", "withSessionWriteLock", "hasSessionTakeover"]; // the others are tried if there
// Counted in turns of the event loop, not by the clock alone: a gateway that starts keeps its loop busy for seconds.
const BOUND_TICKS = 50;
const TICK_MS = 100;

const O_TMPFILE = 0o20000000; // open(2); node:fs has no name for it

const HEADER = { type: "session", version: 3, id: "self-check", timestamp: "2026-01-01T00:00:00.000Z", cwd: "/" };
const trials = new AsyncLocalStorage();

/**
 * Wrap the functions of a fence with the adapter that fits, and try it.
 *
 * @param points what the module declares, with `get` and `set`
 * @param link where real runs say and ask
 * @param tell (adapter, reload, reason) => void; called at once and when the trial has ended
 * @returns undefined if no adapter fits, else {fences, adapter, checked, whenActive(step)}; `checked` resolves to
 *   the reason against the adapter, or to an empty text
 */
export function fit(points, link, tell) {
  const functions = Object.fromEntries(Object.entries(points).map(([name, point]) => [name, point.get()]));
  const source = Function.prototype.toString.call(functions.createEmbeddedAttemptSessionLockController);
  const adapter = chooseAdapter(functions, RELOAD.test(source));
  if (!adapter) {
    tell("unknown", false, NO_MATCH);
    return undefined;
  }
  let passed = false;
  const gated = {
    send: (type, fields) => (trials.getStore() ?? link).send(type, fields),
    get recovers() {
      return trials.getStore() === undefined && link.recovers;
    },
    ask: (fields, boundMs, type = "ask") => trials.getStore()?.ask(fields, type) ?? askLater(fields, boundMs, type),
  };
  const fences = new Fences(gated, tried(adapter), functions, pathOf);
  const wrapped = wrap(points, functions, fences);
  tell("pending", false, `the adapter ${adapter.name} is being checked`);
  const create = points.createEmbeddedAttemptSessionLockController.get();
  const checked = afterLoading(() => check(create, adapter, fences)).then((reason) => {
    passed = reason === "";
    if (passed) tell(adapter.name, adapter.reload, "");
    else {
      for (const name of wrapped) safely("fence", () => points[name].set(functions[name]));
      tell("unknown", false, `the adapter ${adapter.name} failed its self-check: ${reason}`);
    }
    return reason;
  });

  /** What is asked while the trial is under way waits for its end, within the bound of the question. */
  async function askLater(fields, boundMs, type) {
    if (passed) return await link.ask(fields, boundMs, type);
    const since = performance.now();
    await Promise.race([checked, new Promise((resolve) => setTimeout(resolve, boundMs).unref())]);
    const left = boundMs - (performance.now() - since);
    return passed && left > 0 ? await link.ask(fields, left, type) : undefined;
  }

  /** What is commanded while the trial is under way comes into force with the adapter. */
  function whenActive(step) {
    if (passed) step();
    else checked.then((reason) => reason === "" && step());
  }

  return { fences, adapter, checked, whenActive };
}

function wrap(points, functions, fences) {
  const wrappers = {
    createEmbeddedAttemptSessionLockController: (original) => fences.wrapController(original),
    readSessionFileFingerprint: (original) => fences.wrapRead(original),
    sameSessionFileFingerprint: (original) => fences.wrapSame(original),
    readSessionFileFingerprintSync: (original) => fences.wrapReadSync(original),
  };
  const names = Object.keys(wrappers).filter((name) => functions[name]);
  for (const name of names) points[name].set(wrappers[name](functions[name]));
  return names;
}

/** The adapter, with what a trial has no real one of: the run's session manager. */
function tried(adapter) {
  return {
    ...adapter,
    prepare(state, fence, current) {
      if (!trials.getStore()) return adapter.prepare(state, fence, current);
      const manager = { flushed: true, fileEntries: [], byId: new Map(), leafId: null };
      return { manager, records: recordsSince(state.file, fence, current), ids: [] };
    },
  };
}

/** The file of a trial is followed, though it is no session. */
function pathOf(name) {
  const trial = trials.getStore();
  return trial ? (name === trial.file ? name : undefined) : sessionPath(name);
}

/** Modules that were loaded in a circle are complete by then. Nothing here keeps a process alive. */
function afterLoading(step) {
  return new Promise((resolve) => {
    setImmediate(() => resolve(step())).unref();
  });
}

/** The reason against the adapter; empty when there is none. Never throws, and ends within the bound. */
async function check(create, adapter, fences) {
  const files = new Nameless();
  try {
    return await Promise.race([tryAll(create, adapter, fences, files), timeout()]);
  } catch (error) {
    return readable(error);
  } finally {
    safely("self-check", () => files.close());
  }
}

/**
 * Temporary files without a name in any directory: they go with the process, however it ends. A command may be done
 * before the check is, and a gateway may be killed while it starts.
 */
class Nameless {
  #opened = [];

  /** A path that leads to a new, empty file. */
  create() {
    const opened = this.#open(os.tmpdir());
    this.#opened.push(opened);
    return `/proc/self/fd/${opened}`;
  }

  #open(directory) {
    try {
      return fs.openSync(directory, O_TMPFILE | fs.constants.O_DIRECTORY | fs.constants.O_RDWR, 0o600);
    } catch {
      // This file system has no files without a name: then with one for a moment.
    }
    const name = path.join(directory, `openclaw-sidecar-check-${process.pid}-${randomUUID()}`);
    const opened = fs.openSync(name, "wx+", 0o600);
    fs.unlinkSync(name);
    return opened;
  }

  close() {
    for (const opened of this.#opened.splice(0)) fs.closeSync(opened);
  }
}

function readable(error) {
  return String(error?.message ?? error)
    .replace(/[^\x20-\x7e]+/g, " ")
    .slice(0, 160);
}

async function timeout() {
  for (let tick = 0; tick < BOUND_TICKS; tick += 1) {
    await new Promise((resolve) => setTimeout(resolve, TICK_MS).unref());
  }
  return `no end after ${(BOUND_TICKS * TICK_MS) / 1000} s`;
}

async function tryAll(create, adapter, fences, files) {
  const refused = { stock: trip, stockTimeout: timeOut };
  const approved = { withSessionWriteLock: write, acquireForCleanup: cleanUp, reacquireAfterPrompt: reacquire };
  for (const [name, drive] of [...Object.entries(refused), ...Object.entries(approved)]) {
    const trial = new Trial(files.create(), name in approved);
    const attempt = wrapRun(
      () => trial.run(create, (controller) => drive(trial, controller, adapter)),
      (run) => fences.closeRun(run),
    );
    try {
      await trials.run(trial, () => attempt({ runId: "self-check", trigger: "manual" }));
    } catch (error) {
      return `${name}: ${readable(error)}`;
    }
  }
  return "";
}

/** One controller on one file, from its making to its end. */
class Trial {
  said = [];
  held = 0;
  reloads = 0;
  timeout = undefined; // the error that the next attempt at the lock meets

  constructor(file, approving) {
    this.file = file;
    this.approving = approving;
  }

  send(type, fields) {
    this.said.push({ t: type, ...fields });
  }

  async ask(fields, type) {
    this.said.push({ t: type, ...fields });
    const { window, fence, current } = fields;
    if (!this.approving) return undefined;
    return type === "ask" ? { t: "approve", window, fence, current } : { t: "wait", window };
  }

  heard(type) {
    return this.said.filter((message) => message.t === type);
  }

  append(id) {
    const record = { type: "message", id, parentId: null, message: { role: "user", content: "self-check" } };
    fs.appendFileSync(this.file, `${JSON.stringify(record)}\n`);
    return fingerprintOf(this.file);
  }

  async run(create, drive) {
    fs.writeFileSync(this.file, `${JSON.stringify(HEADER)}\n`);
    this.append("first");
    const controller = await create({
      acquireSessionWriteLock: async () => this.lock(),
      reloadPromptReleasedSessionFile: async () => {
        this.reloads += 1;
      },
      lockOptions: { sessionFile: this.file, timeoutMs: 1000, staleMs: 60_000, maxHoldMs: 60_000 },
    });
    for (const name of METHODS) must(typeof controller?.[name] === "function", `the controller has no ${name}`);
    await controller.releaseForPrompt();
    must(this.held === 0, "releaseForPrompt keeps the lock");
    this.before = fingerprintOf(this.file);
    must(this.heard("fence.set").at(-1)?.fence === this.before, "releaseForPrompt reads no fingerprint of the file");
    let ran = false;
    await controller.withSessionWriteLock(async () => {
      ran = true;
    });
    must(ran && this.heard("ask").length === 0, "an unchanged file is not let through");
    this.after = this.append("other");
    await drive(controller);
    await controller.dispose?.();
    must(this.held === 0, "the lock is not given back");
  }

  lock() {
    const { timeout } = this;
    this.timeout = undefined;
    if (timeout) throw timeout;
    this.held += 1;
    let released = false;
    return {
      release: async () => {
        if (!released) this.held -= 1;
        released = true;
      },
    };
  }

  /** The change was asked about, as it was. */
  mustAsk() {
    const [ask, ...more] = this.heard("ask");
    must(ask && more.length === 0, "its check does not read the file's fingerprint");
    must(ask.fence === this.before && ask.current === this.after, "its check reads another fingerprint");
  }

  /** The change was asked about and let through by the adapter. */
  mustPass(controller, adapter) {
    this.mustAsk();
    const [applied] = this.heard("applied");
    must(applied, "its check does not compare the fence with what it read");
    must(applied.ok, `the fence is not moved: ${applied.reason}`);
    must(controller.hasSessionTakeover() === false, "an approved change sets the takeover flag");
    must(this.reloads === (adapter.reload ? 1 : 0), `${this.reloads} reloads`);
  }
}

/** What the controller throws ahead of a locked section; undefined when it went into that, or threw nothing. */
async function thrownBy(controller) {
  let ran = false;
  const met = await controller
    .withSessionWriteLock(async () => {
      ran = true;
    })
    .then(
      () => undefined,
      (error) => error,
    );
  return ran ? undefined : met;
}

async function trip(trial, controller) {
  const thrown = await thrownBy(controller);
  trial.mustAsk();
  must(thrown !== undefined, "an unapproved change is let through");
  must(controller.hasSessionTakeover() === true, "an unapproved change sets no takeover flag");
  must(trial.heard("applied").length === 0 && trial.heard("tripped").length === 1, "a trip is not told");
  await finish(controller);
}

async function write(trial, controller, adapter) {
  let own;
  trial.timeout = lockTimeout();
  const result = await letThrough(() =>
    controller.withSessionWriteLock(async () => {
      own = trial.append("own");
      return "result";
    }),
  );
  must(own && result === "result", "what is run under the lock has no result");
  must(trial.heard("lock.waited").at(-1)?.ok, "it takes the lock in a way of its own");
  trial.mustPass(controller, adapter);
  must(trial.heard("fence.set").at(-1)?.fence === own, "its own write does not move the fence");
  await letThrough(() => controller.withSessionWriteLock(async () => {}));
  must(trial.heard("ask").length === 1, "its own write is taken for another's");
}

/** What a controller meets whose lock is not had in time, in the words of every release. */
function lockTimeout() {
  const error = new Error("session file locked");
  return Object.assign(error, {
    name: "SessionWriteLockTimeoutError",
    code: "OPENCLAW_SESSION_WRITE_LOCK_TIMEOUT",
    timeoutMs: 1000,
  });
}

async function timeOut(trial, controller) {
  const error = lockTimeout();
  trial.timeout = error;
  must((await thrownBy(controller)) === error, "a lock timeout is not passed on as it is");
  must(trial.heard("ask.lock").length === 1, "it takes the lock in a way of its own");
  await finish(controller);
}

async function cleanUp(trial, controller, adapter) {
  if (typeof controller.acquireForCleanup !== "function") return;
  const lock = await letThrough(() => controller.acquireForCleanup({}));
  trial.mustPass(controller, adapter);
  await releasing(lock);
}

async function reacquire(trial, controller, adapter) {
  if (typeof controller.reacquireAfterPrompt !== "function") return;
  await letThrough(() => controller.reacquireAfterPrompt());
  trial.mustPass(controller, adapter);
  await finish(controller);
}

async function letThrough(call) {
  try {
    return await call();
  } catch (error) {
    throw new Error(`an approved change is not let through: ${readable(error)}`, { cause: error });
  }
}

async function finish(controller) {
  if (typeof controller.acquireForCleanup === "function") await releasing(await controller.acquireForCleanup({}));
}

async function releasing(lock) {
  must(typeof lock?.release === "function", "acquireForCleanup gives no lock");
  await lock.release();
}

function must(fine, reason) {
  if (!fine) throw new Error(reason);
}

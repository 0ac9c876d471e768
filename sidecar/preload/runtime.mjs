// Puts the parts together, once the first module with a hook point has loaded.
import fs from "node:fs";
import path from "node:path";
import { isMainThread } from "node:worker_threads";
import { fileURLToPath } from "node:url";

import { watchFileSystem } from "./account/fs_hooks.mjs";
import { repeatChanges } from "./account/reports.mjs";
import { listen, reduce, subscribe } from "./bus/diagnostics.mjs";
import { placeOf, runStarted, watchExporter } from "./bus/otel_bridge.mjs";
import { beforeEntries, isGuarded } from "./fence/append_hook.mjs";
import { repeatHolds, wrapLock } from "./fence/lock_hooks.mjs";
import { NO_MATCH, fit } from "./fence/selfcheck.mjs";
import { onTrouble, safely } from "./guard.mjs";
import { Link } from "./link.mjs";
import { wrapTransaction } from "./rows/db_lock.mjs";
import { misfit } from "./rows/row_selfcheck.mjs";
import { LOSS_POINTS, LostTurns } from "./rows/lost_turns.mjs";
import { RowWindows } from "./rows/row_windows.mjs";
import { isInstalled } from "./rows/worker_rows.mjs";
import { hearWorkers, listenToWorkers } from "./rows/worker_commits.mjs";
import { reportChange, watchTransactions } from "./rows/transactions.mjs";
import { WORK_POINTS, wrapWork } from "./writers/entry_points.mjs";
import { AUTHOR_POINTS, currentRun, nameCompactions, traceRun, wrapAuthor, wrapRun } from "./writers/writers.mjs";

const NO_FENCE = "this release sets no file fence: there is nothing to recover";
const ASKS_NOTHING = "this release lets a run answer behind newer rows, whoever wrote them: there is nothing to recover";

let link;
let version = "";
let adapter = { adapter: "pending", reload: false, reason: "the modules with the fence are not loaded yet" };
let fences;
let fitted; // the fence, with the adapter that is checked or in force
const losses = new LostTurns((...message) => link?.send(...message));
let rows; // the windows on transcripts in the database, where this release has any

function start(from) {
  version = openclawVersion(from);
  link = new Link(
    {
      hello: () => ({ openclaw: version }),
      connected: (again) => {
        if (isMainThread) link.send("adapter", adapter);
        if (again) safely("reconnect", () => repeat(true));
      },
      syncing: () => safely("account", hearWorkers),
      missed: () => safely("reconnect", () => repeat(false)),
      disconnected: () => {
        fences?.forgetApprovals();
        rows?.forgetApprovals();
      },
    },
    (message) => command(message),
  );
  onTrouble((where, reason) => link.send("trouble", { where, reason }), () => link.lose());
  watchFileSystem(link);
  process.on("exit", () => safely("exit", () => link.bye()));
  if (isMainThread) link.connect();
  // When the modules of a worker are loaded it is known where sessions are. One with rows is ended without a goodbye.
  else setImmediate(() => isInstalled() || link.connect()).unref();
}

function command(message) {
  safely("command", () => rows?.onCommand(message));
  fitted?.whenActive(() => safely("command", () => fences.onCommand(message)));
}

/**
 * What was said before may be lost on whoever listens now: on another link, or on this one when reports were dropped.
 * Then its holds are not said again: who has heard of one would count it twice. Windows come last.
 */
function repeat(again) {
  repeatChanges();
  if (again) repeatHolds((type, fields) => link.send(type, fields));
  fences?.repeat();
  rows?.repeat();
}

/** The version in the package that a module of its bundle belongs to; only reported, never decided upon. */
function openclawVersion(url) {
  let directory = path.dirname(fileURLToPath(url));
  for (let up = 0; up < 6; up += 1) {
    try {
      const found = JSON.parse(fs.readFileSync(path.join(directory, "package.json"), "utf8"));
      if (found.name === "openclaw") return String(found.version);
    } catch {
      // Not here: further up.
    }
    directory = path.dirname(directory);
  }
  return "";
}

function found(name, reload, reason) {
  adapter = { adapter: name, reload, reason };
  if (isMainThread) link.send("adapter", adapter);
}

function foundNoFence() {
  if (rows) found("watch", false, ASKS_NOTHING);
  else found("none", false, NO_FENCE);
}

/** Transcripts are in a database: what this process commits to them is reported, and runs have their windows there. */
function watchRows() {
  if (rows) return;
  rows = new RowWindows(link);
  losses.placeBy((run) => rows.placeOf(run));
  const committed = (change) => {
    reportChange(link, change);
    rows.committed(change);
  };
  watchTransactions(committed, reportLock, (database) => rows.patience(database));
  listenToWorkers(heardFromWorker);
}

function heardFromWorker({ change, lock, at, trouble, lost }) {
  if (change) reportChange(link, change);
  if (lock) reportLock(lock, at - performance.timeOrigin);
  if (trouble) link.send("trouble", trouble);
  if (lost) link.lose();
}

/** Custody does not rest on it: where nobody listens, nothing is kept and nothing is missing. */
function reportLock(lock, at) {
  if (link.heard) link.send("db.lock", lock, at);
}

function installQuestion(point) {
  watchRows();
  const reason = misfit(point.get());
  if (reason) {
    found("unknown", false, `the gateway's question about newer rows failed its self-check: ${reason}`);
    return;
  }
  point.set(rows.wrapQuestion(point.get()));
  found("rebase", false, "");
}

function installFence(points) {
  fitted = fit(points, link, found);
  if (!fitted) return;
  fences = fitted.fences;
  const install = points.installSessionEventWriteLock;
  install?.set(rememberManager(install.get()));
}

/** The session manager of the present run is the one to teach. `find` looks it up: the run may come to another one. */
function remember(find) {
  const run = currentRun();
  if (run) run.manager = find;
  nameCompactions(find());
}

/** The session of a run is handed to this function. */
function rememberManager(original) {
  return function installSessionEventWriteLock(params, ...rest) {
    safely("fence", () => params?.session && remember(() => params.session.sessionManager));
    const result = original.call(this, params, ...rest);
    safely("append", () => {
      if (isGuarded(params?.session)) return;
      beforeEntries(params?.session?.sessionManager, (manager) => fences.atAppend(manager));
    });
    return result;
  };
}

/** Later releases hand the session manager of a run to this function. */
function rememberGuarded(original) {
  return function guardSessionManager(...args) {
    const manager = original.apply(this, args);
    safely("fence", () => remember(() => manager));
    safely("losses", () => losses.watchManager(manager, currentRun()));
    safely("fence", () => currentRun()?.live && rows?.loaded(currentRun(), manager));
    return manager;
  };
}

/** Called by a module of the bundle when it has declared its functions. Never throws. */
export function install(points, from, fence) {
  safely("install", () => {
    const functions = Object.fromEntries(Object.entries(points).map(([name, point]) => [name, point.get()]));
    const register = functions.onInternalDiagnosticEvent;
    if (register) subscribe(register, (event) => heard(event, from));
    for (const name of WORK_POINTS) if (functions[name]) points[name].set(wrapWork(name, functions[name]));
    const transaction = functions.runSqliteImmediateTransactionSync;
    if (transaction) points.runSqliteImmediateTransactionSync.set(wrapTransaction(transaction));
    for (const [name, wrap] of Object.entries(LOSS_POINTS)) {
      if (functions[name]) points[name].set(wrap(losses, functions[name]));
    }
    // These are in processes of OpenClaw that write no session: nothing is linked for them. The bus is in every one.
    const common = [register, transaction];
    const silent = (name) =>
      WORK_POINTS.includes(name) || Object.hasOwn(LOSS_POINTS, name) || common.includes(functions[name]);
    if (Object.keys(functions).every(silent)) return;
    if (!link) start(from);
    if (functions.acquireSessionWriteLock) {
      points.acquireSessionWriteLock.set(wrapLock(functions.acquireSessionWriteLock, link));
    }
    if (functions.appendTranscriptEventInTransaction) watchRows();
    if (functions.canRebasePreparedAssistantInTransaction) installQuestion(points.canRebasePreparedAssistantInTransaction);
    if (functions.createEmbeddedAttemptSessionLockController) installFence(points);
    else if (functions.runEmbeddedAttempt && !fitted && adapter.adapter !== "rebase") {
      if (fence) found("unknown", false, NO_MATCH);
      else foundNoFence();
    }
    if (functions.guardSessionManager) {
      points.guardSessionManager.set(rememberGuarded(functions.guardSessionManager));
    }
    if (functions.runEmbeddedAttempt) {
      const wrapped = wrapRun(
        functions.runEmbeddedAttempt,
        (context, outcome) => {
          if (rows) safely("losses", () => losses.ended(context, outcome));
          fences?.closeRun(context);
          rows?.closeRun(context);
        },
        (context) => {
          losses.began(context);
          safely("fence", () => rows?.openRun(context));
        },
      );
      points.runEmbeddedAttempt.set(function runEmbeddedAttempt(...args) {
        safely("diagnostics", hear);
        return wrapped.apply(this, args);
      });
    }
    for (const name of AUTHOR_POINTS) if (functions[name]) points[name].set(wrapAuthor(name, functions[name]));
    hear();
  });
}

function hear() {
  listen((event) => heard(event));
}

/** A run is told when the gateway's own plugin has heard of it too: within the same dispatch of the event. */
function heard(event, from) {
  watchExporter();
  if (event.type !== "run.started") {
    tell(event, from);
    return;
  }
  runStarted(event);
  queueMicrotask(() => safely("diagnostics", () => tell(event, from)));
}

function tell(event, from) {
  const fields = reduce(event);
  if (!fields) return;
  if (!link) {
    if (!openclawVersion(from)) return;
    start(from);
  }
  // By the time that a model is called, a fence is set: a module that declares it would have been loaded.
  if (adapter.adapter === "pending" && !fitted && event.type === "model.call.started") foundNoFence();
  if (event.runId) traceRun({ ...event, trace: placeOf(event.trace) });
  link.send("diag", fields);
}

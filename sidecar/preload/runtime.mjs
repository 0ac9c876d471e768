// Puts the parts together, once the first module with a hook point has loaded.
import fs from "node:fs";
import path from "node:path";
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
import { WORK_POINTS, wrapWork } from "./writers/entry_points.mjs";
import { AUTHOR_POINTS, currentRun, nameCompactions, traceRun, wrapAuthor, wrapRun } from "./writers/writers.mjs";

const NO_FENCE = "this release sets no file fence: there is nothing to recover";

let link;
let version = "";
let adapter = { adapter: "pending", reload: false, reason: "the modules with the fence are not loaded yet" };
let fences;
let fitted; // the fence, with the adapter that is checked or in force

function start(from) {
  version = openclawVersion(from);
  link = new Link(
    {
      hello: () => ({ openclaw: version }),
      connected: (again) => {
        link.send("adapter", adapter);
        if (again) safely("reconnect", () => repeat(true));
      },
      missed: () => safely("reconnect", () => repeat(false)),
      disconnected: () => fences?.forgetApprovals(),
    },
    (message) => fitted?.whenActive(() => safely("command", () => fences.onCommand(message))),
  );
  onTrouble((where, reason) => link.send("trouble", { where, reason }), () => link.lose());
  watchFileSystem(link);
  process.on("exit", () => safely("exit", () => link.bye()));
  link.connect();
}

/**
 * What was said before may be lost on whoever listens now: on another link, or on this one when reports were dropped.
 * Then its holds are not said again: who has heard of one would count it twice. Windows come last.
 */
function repeat(again) {
  repeatChanges();
  if (again) repeatHolds((type, fields) => link.send(type, fields));
  fences?.repeat();
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
  link.send("adapter", adapter);
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
    // These are in processes of OpenClaw that write no session: nothing is linked for them. The bus is in every one.
    if (Object.keys(functions).every((name) => WORK_POINTS.includes(name) || functions[name] === register)) return;
    if (!link) start(from);
    if (functions.acquireSessionWriteLock) {
      points.acquireSessionWriteLock.set(wrapLock(functions.acquireSessionWriteLock, link));
    }
    if (functions.createEmbeddedAttemptSessionLockController) installFence(points);
    else if (functions.runEmbeddedAttempt && !fitted) {
      if (fence) found("unknown", false, NO_MATCH);
      else found("none", false, NO_FENCE);
    }
    if (functions.guardSessionManager) {
      points.guardSessionManager.set(rememberGuarded(functions.guardSessionManager));
    }
    if (functions.runEmbeddedAttempt) {
      const wrapped = wrapRun(functions.runEmbeddedAttempt, (context) => fences?.closeRun(context));
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
  if (adapter.adapter === "pending" && !fitted && event.type === "model.call.started") found("none", false, NO_FENCE);
  if (event.runId) traceRun({ ...event, trace: placeOf(event.trace) });
  link.send("diag", fields);
}

// The byte-exact account of what this process does to session files, whoever calls and whether or not the lock is held.
// Length, digest and writer are reported, never text.
//
// Synchronous calls are reported once, after they returned, with the fingerprints around them. Asynchronous ones are
// announced before the first byte can reach the file, so that at no time bytes are there of which nothing was said.
//
// A change is {file, describe, actual, composite, tracked}: `describe(before)` makes the report ahead of the call, which
// `actual(result, report)` corrects by its result, `composite` says that it calls other watched functions, and `tracked`
// that what the two learn is needed later, whether or not anybody hears of it now.
import { AsyncLocalStorage } from "node:async_hooks";

import { observe } from "../fingerprint.mjs";
import { safely } from "../guard.mjs";
import { currentWriter } from "../writers/writers.mjs";

const NOTHING = { op: "metadata", length: 0, sha256: "", offset: -1 };

const inside = new AsyncLocalStorage(); // a composite call is under way: what it calls is part of it
let link = { hears: false, send() {}, lose() {} };
let changes = 0;
let depth = 0; // a watched synchronous call is under way: what it calls itself is part of it

/** Where reports go: a link, or what does as one. */
export function reportTo(known) {
  link = known;
}

/** A call made now comes from inside a watched one, and is part of it. */
export function isNested() {
  return depth > 0 || inside.getStore() === true;
}

function start({ file, describe }) {
  latest = undefined;
  const before = observe(file);
  const report = describe(before);
  report.file = file;
  report.change = `c${(changes += 1)}`;
  report.writer = currentWriter();
  report.before = before;
  return report;
}

/** Watch a synchronous call. */
export function watchSync(change, call) {
  // Nobody can begin to hear of it while it lasts: it is counted, and that is all.
  const heard = link.hears || change.tracked;
  if (!heard) {
    latest = undefined;
    link.lose();
  }
  const report = heard ? safely("account", start, change) : undefined;
  depth += 1;
  let result;
  let failed = true;
  try {
    result = call();
    failed = false;
    return result;
  } finally {
    depth -= 1;
    if (report) safely("account", finish, change, report, "done", failed, result);
  }
}

/** Watch a call that returns a promise. */
export async function watchAsync(change, call) {
  const report = safely("account", () => begin(change));
  let result;
  let failed = true;
  try {
    result = await (change.composite ? inside.run(true, call) : call());
    failed = false;
    return result;
  } finally {
    if (report) safely("account", () => finish(change, report, "end", failed, result));
  }
}

/** Watch a call that takes a callback as its last argument. */
export function watchCallback(change, args, call) {
  const callback = args.at(-1);
  const report = typeof callback === "function" ? safely("account", () => begin(change)) : undefined;
  if (!report) return call(args);
  const outside = AsyncLocalStorage.snapshot();
  const replaced = (error, ...results) => {
    safely("account", () => finish(change, report, "end", Boolean(error), results[0]));
    return outside(callback, error, ...results);
  };
  const passed = [...args.slice(0, -1), replaced];
  depth += 1;
  try {
    return change.composite ? inside.run(true, call, passed) : call(passed);
  } catch (error) {
    // Refused before it began: the callback will never come.
    safely("account", () => finish(change, report, "end", true));
    throw error;
  } finally {
    depth -= 1;
  }
}

const begun = new Map(); // change -> the report of its begin, for calls that have begun and not ended

/** What is under way is said again, to whoever has not heard it. */
export function repeatChanges() {
  for (const report of begun.values()) link.send("change", { ...report, phase: "begin" });
}

let latest; // the report of the change that ended last, where no other has begun since

/** That report, if it is of this file, and nothing else is under way there. */
export function latestChange(file) {
  return latest?.file === file && !flying.has(file) ? latest : undefined;
}

const flying = new Map(); // file -> {count, ended, end}: asynchronous calls that have begun and not ended

/** A promise for the end of every call that this process has under way on a file; undefined when there is none. */
export function underWay(file) {
  return flying.get(file)?.ended;
}

function takeOff(file) {
  const known = flying.get(file);
  if (known) {
    known.count += 1;
    return;
  }
  const flight = { count: 1 };
  flight.ended = new Promise((resolve) => {
    flight.end = resolve;
  });
  flying.set(file, flight);
}

function land(file) {
  const flight = flying.get(file);
  if (!flight) return;
  flight.count -= 1;
  if (flight.count > 0) return;
  flying.delete(file);
  flight.end();
}

function begin(change) {
  const report = start(change);
  begun.set(report.change, report);
  link.send("change", { ...report, phase: "begin" });
  takeOff(report.file);
  return report;
}

function finish(change, report, phase, failed, result) {
  let message = report;
  if (phase === "end") {
    land(report.file);
    begun.delete(report.change);
    message = { ...report };
  }
  message.phase = phase;
  message.after = observe(report.file);
  if (!failed) change.actual?.(result, message);
  else if (wroteNothing(message)) Object.assign(message, NOTHING);
  else message.failed = true;
  latest = message;
  link.send("change", message);
}

/** Of a call that failed: it is certain that it left no byte. A write in the middle may hide in a clock's tick. */
function wroteNothing({ op, sha256, before, after }) {
  if (op === "metadata" || op === "remove") return true;
  return before.toJSON() === after.toJSON() && !(op === "write" && sha256);
}

// The byte-exact account of what this process does to session files, whoever calls and whether or not the lock is held.
// Length, digest and writer are reported, never text.
//
// Synchronous calls are reported once, after they returned, with the fingerprints around them. Asynchronous ones are
// announced before the first byte can reach the file, so that at no time bytes are there of which nothing was said.
import { fingerprintOf } from "./fingerprint.mjs";
import { safely } from "./guard.mjs";
import { currentWriter } from "./writers.mjs";

let send = () => {};
let changes = 0;
let depth = 0; // a watched synchronous call is under way: what it calls itself is part of it

/** Where reports go. */
export function reportTo(report) {
  send = report;
}

/** A call made now comes from inside a watched one, and is part of it. */
export function isNested() {
  return depth > 0;
}

function start(file, describe) {
  const before = fingerprintOf(file);
  const report = { file, change: `c${(changes += 1)}`, writer: currentWriter(), before, ...describe(before) };
  return report;
}

/** Watch a synchronous call. */
export function watchSync(file, describe, call) {
  const report = safely("account", () => start(file, describe));
  depth += 1;
  let failed = true;
  try {
    const result = call();
    failed = false;
    return result;
  } finally {
    depth -= 1;
    if (report) safely("account", () => finish(report, "done", failed, {}));
  }
}

/** Watch a call that returns a promise. */
export async function watchAsync(file, describe, call, actual = () => ({})) {
  const report = safely("account", () => begin(file, describe));
  let result;
  let failed = true;
  try {
    result = await call();
    failed = false;
    return result;
  } finally {
    if (report) safely("account", () => finish(report, "end", failed, failed ? {} : actual(result, report)));
  }
}

/** Watch a call that takes a callback as its last argument. */
export function watchCallback(file, describe, args, call, actual = () => ({})) {
  const callback = args.at(-1);
  const report = typeof callback === "function" ? safely("account", () => begin(file, describe)) : undefined;
  if (!report) return call(args);
  const replaced = (error, ...results) => {
    safely("account", () => finish(report, "end", Boolean(error), error ? {} : actual(results[0], report)));
    return callback(error, ...results);
  };
  depth += 1;
  try {
    return call([...args.slice(0, -1), replaced]);
  } finally {
    depth -= 1;
  }
}

function begin(file, describe) {
  const report = start(file, describe);
  send("change", { ...report, phase: "begin" });
  return report;
}

function finish(report, phase, failed, actual) {
  const message = { ...report, phase, after: fingerprintOf(report.file), ...actual };
  if (failed) message.failed = true;
  send("change", message);
}

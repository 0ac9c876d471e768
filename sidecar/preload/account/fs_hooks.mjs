// Which functions of node:fs change a file, and how each is watched (reports.mjs says what a report holds).
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

import { ABSENT, fingerprintOf } from "../fingerprint.mjs";
import { safely } from "../guard.mjs";
import { sessionPath } from "../paths.mjs";
import { encodingOf, flagOf, joined, modeOf, natural, sha256, sha256Later, slice, toBytes } from "./arguments.mjs";
import { isNested, reportTo, watchAsync, watchCallback, watchSync } from "./reports.mjs";

const { fstatSync, readFileSync } = fs;

// An open file is {file, mode, cursor, inode}; the cursor is where its next write goes, undefined when not known.
const descriptors = new Map(); // fd -> open file
const handles = new WeakMap(); // FileHandle -> open file

const NO_BYTES = { length: 0, sha256: "", offset: -1 };
const EMPTY = Buffer.alloc(0);
const NONE = [];

/**
 * A write to a file that is open: where its bytes go is known at its end, and where a position is given. `digest` makes
 * the digest of the bytes.
 */
function written(open, bytes, wanted, digest = sha256) {
  const position = open.mode === "a" ? undefined : natural(wanted);
  const describe = (before) => {
    const { size } = before;
    const end = open.mode === "a" || open.cursor === size ? size : -1;
    const offset = position ?? end;
    // Until it has returned, nothing else can rely on the cursor.
    if (position === undefined) open.cursor = undefined;
    if (bytes === undefined || offset > size) return { op: "write", ...NO_BYTES };
    return { op: offset === size ? "append" : "write", length: bytes.length, sha256: digest(bytes), offset };
  };
  const actual = (result, report) => {
    if (bytes === undefined) return;
    const count = typeof result === "object" && result !== null ? result.bytesWritten : result;
    const wrote = typeof count === "number" ? count : bytes.length;
    if (position === undefined && report.op === "append") open.cursor = report.offset + wrote;
    // A short write leaves less than was asked for.
    if (wrote >= report.length) return;
    report.length = wrote;
    report.sha256 = sha256(bytes.subarray(0, wrote));
  };
  // The cursor of an open file is kept also while nobody hears of it.
  return { file: open.file, describe, actual, tracked: open.mode !== "a" };
}

function whole(bytes) {
  return bytes === undefined
    ? { op: "write", ...NO_BYTES }
    : { op: "rewrite", length: bytes.length, sha256: sha256(bytes), offset: 0 };
}

/** The session file that a path, descriptor or handle means; undefined if none. An open one has a mode. */
function fileOf(target) {
  if (typeof target === "number") {
    const open = descriptors.get(target);
    if (!open) return undefined;
    const stat = safely("account", () => fstatSync(target, { bigint: true }));
    if (stat && `${stat.dev}:${stat.ino}` === open.inode) return open;
    descriptors.delete(target);
    return undefined;
  }
  if (handles.has(target)) return handles.get(target);
  const file = sessionPath(target);
  return file ? { file } : undefined;
}

function remember(fd, file, mode) {
  const stat = fstatSync(fd, { bigint: true });
  const open = { file, mode, cursor: 0, inode: `${stat.dev}:${stat.ino}` };
  descriptors.set(fd, open);
  return open;
}

function contentOf(path) {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

// For each name: (arguments) => the change that the call is, or several; undefined or none when it is none of ours.
const CALLS = {
  writeFile: (args) => writing(args, "w"),
  appendFile: (args) => writing(args, "a"),
  truncate: (args) => cutting(args),
  ftruncate: (args) => cutting(args),
  write: (args) => {
    const open = typeof args[0] === "number" ? fileOf(args[0]) : undefined;
    if (!open) return undefined;
    const { bytes, position } = slice(args);
    return written(open, bytes, position);
  },
  writev: (args) => {
    const open = typeof args[0] === "number" ? fileOf(args[0]) : undefined;
    return open && written(open, joined(args[1]), args[2]);
  },
  rename: ([from, to]) => moving(from, to),
  copyFile: ([from, to]) => replacing(from, to),
  cp: ([from, to]) => composite(replacing(from, to)),
  unlink: ([target]) => removing(target),
  rm: ([target]) => composite(removing(target)),
  utimes: ([target]) => touching(target),
  lutimes: ([target]) => touching(target),
  futimes: ([target]) => touching(target),
  chmod: ([target]) => touching(target),
  fchmod: ([target]) => touching(target),
  chown: ([target]) => touching(target),
  lchown: ([target]) => touching(target),
  fchown: ([target]) => touching(target),
  link: ([from, to]) => [touching(from), replacing(from, to)],
};
const TWO_PATHS = new Set([CALLS.rename, CALLS.copyFile, CALLS.cp, CALLS.link]);

function writing([target, data, options], preset) {
  const open = fileOf(target);
  if (!open) return undefined;
  const bytes = toBytes(data, encodingOf(options));
  const digest = typeof data === "string" ? sha256Later : sha256; // a caller's buffer may change
  // On a descriptor it calls fs.write, until all is written.
  if (open.mode) {
    const change = written(open, bytes, undefined, digest);
    return typeof target === "number" ? composite(change) : change;
  }
  const { mode, truncates } = modeOf(flagOf(options, preset));
  if (truncates) return { file: open.file, describe: () => whole(bytes) };
  return written({ file: open.file, mode }, bytes, 0, digest);
}

function cutting([target, length]) {
  const left = natural(length) ?? 0;
  return changing(target, () => ({ op: "truncate", length: left, sha256: "", offset: left }));
}

function replacing(from, to) {
  const file = sessionPath(to);
  return file && { file, describe: () => whole(contentOf(from)) };
}

function moving(from, to) {
  const [source, replaced] = [sessionPath(from), replacing(from, to)];
  return source === replaced?.file ? replaced : [removing(from), replaced];
}

function removing(target) {
  const file = sessionPath(target);
  return file && { file, describe: () => ({ op: "remove", ...NO_BYTES }) };
}

function touching(target) {
  return changing(target, () => ({ op: "metadata", ...NO_BYTES }));
}

/** A change that calls other watched functions. */
function composite(change) {
  return change && { ...change, composite: true };
}

function changing(target, describe) {
  const open = fileOf(target);
  return open && { file: open.file, describe };
}

/** The changes that a call is; none for most, whose path says at once that it is no session file's. */
function plan(describer, args) {
  const target = args[0];
  if (typeof target === "string" && !target.endsWith(".jsonl") && !TWO_PATHS.has(describer)) return NONE;
  if (isNested()) return NONE;
  const found = safely("account", describer, args);
  if (!found) return NONE;
  return Array.isArray(found) ? found.filter(Boolean) : [found];
}

function wrapSync(owner, name, describer) {
  const original = owner[name];
  if (typeof original !== "function") return;
  owner[name] = function (...args) {
    const changes = plan(describer, args);
    if (changes.length === 0) return original.apply(this, args);
    const call = () => original.apply(this, args);
    if (changes.length === 1) return watchSync(changes[0], call);
    return changes.reduceRight((inner, change) => () => watchSync(change, inner), call)();
  };
}

function wrapCallback(owner, name, describer) {
  const original = owner[name];
  if (typeof original !== "function") return;
  const wrapped = function (...args) {
    const changes = plan(describer, args);
    if (changes.length === 0) return original.apply(this, args);
    const call = (passed) => original.apply(this, passed);
    const watched = (inner, change) => (passed) => watchCallback(change, passed, inner);
    return changes.reduceRight(watched, call)(args);
  };
  // util.promisify(fs.write) and others rely on a symbol that tells how to name the results.
  for (const symbol of Object.getOwnPropertySymbols(original)) wrapped[symbol] = original[symbol];
  owner[name] = wrapped;
}

function wrapPromise(owner, name, describer) {
  const original = owner[name];
  if (typeof original !== "function") return;
  owner[name] = function (...args) {
    const changes = plan(describer, args);
    if (changes.length === 0) return original.apply(this, args);
    const call = () => original.apply(this, args);
    return changes.reduceRight((inner, change) => () => watchAsync(change, inner), call)();
  };
}

/** An open that truncates leaves an empty file, one that appends may create it; others are only remembered. */
function opening(target, flags) {
  const file = sessionPath(target);
  if (!file || isNested()) return undefined;
  const { mode, truncates } = modeOf(flags ?? "r");
  if (mode === "r") return undefined;
  const creates = mode === "a" && fingerprintOf(file) === ABSENT;
  const created = { op: "append", length: 0, sha256: sha256(EMPTY), offset: 0 };
  if (!truncates && !creates) return { file, mode };
  return { file, mode, change: { file, describe: () => (truncates ? whole(EMPTY) : created) } };
}

function wrapOpens() {
  const { openSync, open, closeSync, close } = fs;
  fs.openSync = function (target, flags, ...rest) {
    const planned = safely("account", opening, target, flags);
    const call = () => openSync.call(this, target, flags, ...rest);
    const fd = planned?.change ? watchSync(planned.change, call) : call();
    if (planned) safely("account", () => remember(fd, planned.file, planned.mode));
    return fd;
  };
  fs.open = function (target, ...rest) {
    const flags = typeof rest[0] === "function" ? "r" : rest[0];
    const callback = rest.at(-1);
    const planned = typeof callback === "function" ? safely("account", opening, target, flags) : undefined;
    if (!planned) return open.call(this, target, ...rest);
    const opened = (error, fd) => {
      if (!error) safely("account", () => remember(fd, planned.file, planned.mode));
      return callback(error, fd);
    };
    const args = [target, ...rest.slice(0, -1), opened];
    if (!planned.change) return open.apply(this, args);
    return watchCallback(planned.change, args, (passed) => open.apply(this, passed));
  };
  fs.closeSync = function (fd) {
    descriptors.delete(fd);
    return closeSync.call(this, fd);
  };
  fs.close = function (fd, ...rest) {
    descriptors.delete(fd);
    return close.call(this, fd, ...rest);
  };
}

function wrapHandles() {
  const { open } = fs.promises;
  let patched = false;
  fs.promises.open = function (target, flags, ...rest) {
    const planned = safely("account", opening, target, flags);
    if (!planned && patched) return open.call(this, target, flags, ...rest);
    const call = () => open.call(this, target, flags, ...rest);
    const opened = planned?.change ? watchAsync(planned.change, call) : call();
    return opened.then((handle) => {
      safely("account", () => {
        if (!patched) {
          patched = true;
          patchHandles(Object.getPrototypeOf(handle));
        }
        if (!planned) return;
        const { fd } = handle; // may be written to as well
        handles.set(handle, remember(fd, planned.file, planned.mode));
        handle.once("close", () => descriptors.delete(fd));
      });
      return handle;
    });
  };
}

function patchHandles(prototype) {
  const methods = {
    write: (open, args) => {
      const { bytes, position } = slice([open, ...args]);
      return written(open, bytes, position);
    },
    writev: (open, [buffers, position]) => written(open, joined(buffers), position),
    appendFile: (open, [data, options]) => written(open, toBytes(data, encodingOf(options))),
    writeFile: (open, [data, options]) => written(open, toBytes(data, encodingOf(options))),
    truncate: (_open, [length], handle) => cutting([handle, length]),
    chmod: (_open, _args, handle) => touching(handle),
    chown: (_open, _args, handle) => touching(handle),
    utimes: (_open, _args, handle) => touching(handle),
  };
  for (const [name, describer] of Object.entries(methods)) {
    const original = prototype[name];
    if (typeof original !== "function") continue;
    prototype[name] = function (...args) {
      const open = handles.get(this);
      if (!open) return original.apply(this, args);
      const change = safely("account", () => describer(open, args, this));
      const call = () => original.apply(this, args);
      return change ? watchAsync(change, call) : call();
    };
  }
}

/** Begin to keep the account. Once for a process; named imports of node:fs see it too. */
export function watchFileSystem(link) {
  reportTo(link);
  for (const [name, describer] of Object.entries(CALLS)) {
    wrapSync(fs, `${name}Sync`, describer);
    wrapCallback(fs, name, describer);
    wrapPromise(fs.promises, name, describer);
  }
  wrapOpens();
  wrapHandles();
  syncBuiltinESMExports();
}

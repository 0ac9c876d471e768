// Which functions of node:fs change a file, and how each is watched (account.mjs says what a report holds).
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

import { isNested, reportTo, watchAsync, watchCallback, watchSync } from "./account.mjs";
import { encodingOf, flagOf, isWriting, joined, numericFlag, sha256, slice, toBytes } from "./arguments.mjs";
import { sizeOf } from "./fingerprint.mjs";
import { safely } from "./guard.mjs";
import { sessionPath } from "./paths.mjs";

const { fstatSync, readFileSync } = fs;

const descriptors = new Map(); // fd -> {file, flag, inode}
const handles = new WeakMap(); // FileHandle -> {file, flag}

const NO_BYTES = { length: 0, sha256: "", offset: -1 };

/** What a write of `bytes` to an open file does, as fields of a report. */
function written(bytes, flag, position) {
  if (bytes === undefined) return () => ({ op: "write", ...NO_BYTES });
  const digest = sha256(bytes);
  return (before) => {
    const size = sizeOf(before);
    // Without a position, a file opened with r+ is written wherever its cursor happens to stand.
    const known = flag.startsWith("r") ? -1 : size;
    const offset = !flag.startsWith("a") && typeof position === "number" ? position : known;
    return { op: offset === size ? "append" : "write", length: bytes.length, sha256: digest, offset };
  };
}

function whole(bytes) {
  return bytes === undefined
    ? { op: "write", ...NO_BYTES }
    : { op: "rewrite", length: bytes.length, sha256: sha256(bytes), offset: 0 };
}

/** A short write leaves less than was asked for. */
function shortened(bytes) {
  return (count) => {
    const wrote = typeof count === "object" && count !== null ? count.bytesWritten : count;
    if (bytes === undefined || typeof wrote !== "number" || wrote >= bytes.length) return {};
    return { length: wrote, sha256: sha256(bytes.subarray(0, wrote)) };
  };
}

/** The session file that a path, descriptor or handle means, and how it was opened; undefined if none. */
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
  return file ? { file, flag: "" } : undefined;
}

function remember(fd, file, flag) {
  const stat = fstatSync(fd, { bigint: true });
  descriptors.set(fd, { file, flag, inode: `${stat.dev}:${stat.ino}` });
}

function contentOf(path) {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

// For each name: ([target, ...args]) => {file, describe, actual?} or undefined when it is none of ours.
const BY_PATH = {
  writeFile: (args) => writing(args, "w"),
  appendFile: (args) => writing(args, "a"),
  truncate: (args) => cutting(args),
  ftruncate: (args) => cutting(args),
  write: (args) => {
    const open = typeof args[0] === "number" ? fileOf(args[0]) : undefined;
    if (!open) return undefined;
    const { bytes, position } = slice(args);
    return { file: open.file, describe: written(bytes, open.flag, position), actual: shortened(bytes) };
  },
  writev: (args) => {
    const open = typeof args[0] === "number" ? fileOf(args[0]) : undefined;
    if (!open) return undefined;
    const bytes = joined(args[1]);
    return { file: open.file, describe: written(bytes, open.flag, args[2]), actual: shortened(bytes) };
  },
  rename: ([from, to]) => moving(from, to),
  copyFile: ([from, to]) => replacing(from, to),
  unlink: ([target]) => removing(target),
  rm: ([target]) => removing(target),
  utimes: ([target]) => touching(target),
  lutimes: ([target]) => touching(target),
  futimes: ([target]) => touching(target),
  chmod: ([target]) => touching(target),
  fchmod: ([target]) => touching(target),
  chown: ([target]) => touching(target),
  fchown: ([target]) => touching(target),
  link: ([from]) => touching(from),
};

function writing([target, data, options], preset) {
  const open = fileOf(target);
  if (!open) return undefined;
  const bytes = toBytes(data, encodingOf(options));
  const flag = open.flag || flagOf(options, preset);
  const truncates = !open.flag && flag.startsWith("w");
  return { file: open.file, describe: truncates ? () => whole(bytes) : written(bytes, flag) };
}

function cutting([target, length]) {
  const open = fileOf(target);
  const left = typeof length === "number" ? length : 0;
  return open && { file: open.file, describe: () => ({ op: "truncate", length: left, sha256: "", offset: left }) };
}

function replacing(from, to) {
  const file = sessionPath(to);
  return file ? { file, describe: () => whole(contentOf(from)) } : undefined;
}

function moving(from, to) {
  return replacing(from, to) ?? removing(from);
}

function removing(target) {
  const file = sessionPath(target);
  return file ? { file, describe: () => ({ op: "remove", ...NO_BYTES }) } : undefined;
}

const touched = () => ({ op: "metadata", ...NO_BYTES });

function touching(target) {
  const open = fileOf(target);
  return open && { file: open.file, describe: touched };
}

function plan(describer, args) {
  return isNested() ? undefined : safely("account", () => describer(args));
}

function wrapSync(owner, name, describer) {
  const original = owner[name];
  if (typeof original !== "function") return;
  owner[name] = function (...args) {
    const change = plan(describer, args);
    if (!change) return original.apply(this, args);
    return watchSync(change.file, change.describe, () => original.apply(this, args));
  };
}

function wrapCallback(owner, name, describer) {
  const original = owner[name];
  if (typeof original !== "function") return;
  const wrapped = function (...args) {
    const change = plan(describer, args);
    if (!change) return original.apply(this, args);
    return watchCallback(change.file, change.describe, args, (a) => original.apply(this, a), change.actual);
  };
  // util.promisify(fs.write) and others rely on a symbol that tells how to name the results.
  for (const symbol of Object.getOwnPropertySymbols(original)) wrapped[symbol] = original[symbol];
  owner[name] = wrapped;
}

function wrapPromise(owner, name, describer) {
  const original = owner[name];
  if (typeof original !== "function") return;
  owner[name] = function (...args) {
    const change = plan(describer, args);
    if (!change) return original.apply(this, args);
    return watchAsync(change.file, change.describe, () => original.apply(this, args), change.actual);
  };
}

/** An open that truncates leaves an empty file; other opens for writing are only remembered. */
function opening(target, flags) {
  const flag = typeof flags === "number" ? numericFlag(flags) : (flags ?? "r");
  const file = isWriting(flag) ? sessionPath(target) : undefined;
  if (!file) return undefined;
  const change = flag.startsWith("w") ? { file, describe: () => whole(Buffer.alloc(0)) } : undefined;
  return { file, flag, change };
}

function wrapOpens() {
  const { openSync, open, closeSync, close } = fs;
  fs.openSync = function (target, flags, ...rest) {
    const planned = isNested() ? undefined : safely("account", () => opening(target, flags));
    if (!planned) return openSync.call(this, target, flags, ...rest);
    const call = () => openSync.call(this, target, flags, ...rest);
    const fd = planned.change ? watchSync(planned.file, planned.change.describe, call) : call();
    safely("account", () => remember(fd, planned.file, planned.flag));
    return fd;
  };
  fs.open = function (target, ...rest) {
    const flags = typeof rest[0] === "function" ? "r" : rest[0];
    const planned = isNested() ? undefined : safely("account", () => opening(target, flags));
    const callback = rest.at(-1);
    if (!planned || typeof callback !== "function") return open.call(this, target, ...rest);
    const args = [
      target,
      ...rest.slice(0, -1),
      (error, fd) => {
        if (!error) safely("account", () => remember(fd, planned.file, planned.flag));
        return callback(error, fd);
      },
    ];
    if (!planned.change) return open.apply(this, args);
    return watchCallback(planned.file, planned.change.describe, args, (a) => open.apply(this, a));
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
    const planned = safely("account", () => opening(target, flags));
    const call = () => open.call(this, target, flags, ...rest);
    const opened = planned?.change ? watchAsync(planned.file, planned.change.describe, call) : call();
    return opened.then((handle) => {
      safely("account", () => {
        if (!patched) {
          patched = true;
          patchHandles(Object.getPrototypeOf(handle));
        }
        if (planned) handles.set(handle, { file: planned.file, flag: planned.flag });
      });
      return handle;
    });
  };
}

function patchHandles(prototype) {
  const methods = {
    write: (open, args) => {
      const { bytes, position } = slice([0, ...args]);
      return { describe: written(bytes, open.flag, position), actual: shortened(bytes) };
    },
    writev: (open, [buffers, position]) => {
      const bytes = joined(buffers);
      return { describe: written(bytes, open.flag, position), actual: shortened(bytes) };
    },
    appendFile: (open, [data, options]) => ({ describe: written(toBytes(data, encodingOf(options)), open.flag) }),
    writeFile: (open, [data, options]) => ({ describe: written(toBytes(data, encodingOf(options)), open.flag) }),
    truncate: (_open, [length]) => ({
      describe: () => ({ op: "truncate", length: length ?? 0, sha256: "", offset: length ?? 0 }),
    }),
    chmod: () => ({ describe: touched }),
    chown: () => ({ describe: touched }),
    utimes: () => ({ describe: touched }),
    // A stream writes through internals that are not watched: which bytes can't be told.
    createWriteStream: () => ({ describe: () => ({ op: "write", ...NO_BYTES }), sync: true }),
  };
  for (const [name, describer] of Object.entries(methods)) {
    const original = prototype[name];
    if (typeof original !== "function") continue;
    prototype[name] = function (...args) {
      const open = handles.get(this);
      const change = open && safely("account", () => describer(open, args));
      if (!change) return original.apply(this, args);
      const call = () => original.apply(this, args);
      if (change.sync) return watchSync(open.file, change.describe, call);
      return watchAsync(open.file, change.describe, call, change.actual);
    };
  }
}

/** Begin to keep the account. Once for a process; named imports of node:fs see it too. */
export function watchFileSystem(report) {
  reportTo(report);
  for (const [name, describer] of Object.entries(BY_PATH)) {
    wrapSync(fs, `${name}Sync`, describer);
    wrapCallback(fs, name, describer);
    wrapPromise(fs.promises, name, describer);
  }
  wrapOpens();
  wrapHandles();
  syncBuiltinESMExports();
}

// Teaching a run's in-memory session manager the records that others appended while its fence was set, so that what it
// writes next continues one line of history. Called under the session lock, with the file exactly as it was approved.
import fs from "node:fs";

import { inodeOf, sizeOf } from "../fingerprint.mjs";
import { Refusal, safely } from "../guard.mjs";

const MAX_BYTES = 4 << 20; // reading and parsing block the gateway: some 50 ms for so much

const { openSync, readSync, closeSync, fstatSync } = fs;

/** The records of the file from where the fence stood, or all of them if the file was replaced. */
export function recordsSince(file, fence, current) {
  const size = sizeOf(current);
  if (size === 0) return [];
  const from = inodeOf(fence) === inodeOf(current) && sizeOf(fence) <= size ? sizeOf(fence) : 0;
  if (size - from > MAX_BYTES) throw new Refusal("there is too much to be read again in time");
  const bytes = Buffer.alloc(size - from);
  const fd = openSync(file, "r");
  try {
    if (fstatSync(fd).size !== size || readSync(fd, bytes, 0, bytes.length, from) !== bytes.length) {
      throw new Refusal("the file changed while its new records were read");
    }
  } finally {
    closeSync(fd);
  }
  const lines = bytes.toString("utf8").split("\n");
  if (lines.pop() !== "") throw new Refusal("the last record is incomplete");
  return lines.filter((line) => line.trim()).map(parsed);
}

function parsed(line) {
  try {
    return JSON.parse(line);
  } catch {
    throw new Refusal("a new record is no JSON");
  }
}

/** Ids of the records that the manager does not know yet. */
export function unknownTo(manager, records) {
  return records.filter((record) => typeof record.id === "string" && !isHeader(record) && !manager.byId.has(record.id));
}

/** The shape that teaching relies on; anything else is left alone. */
export function isTeachable(manager, file, samePath) {
  return (
    Array.isArray(manager?.fileEntries) &&
    manager.byId instanceof Map &&
    typeof manager.getSessionFile === "function" &&
    samePath(manager.getSessionFile()) === file
  );
}

/** Add the unknown records behind what the manager has, in file order. */
export function teach(manager, records) {
  const fresh = unknownTo(manager, records);
  if (manager.flushed === false) {
    teachUnsaved(manager, records, fresh);
    return;
  }
  for (const record of fresh) learn(manager, record);
}

/**
 * Reload the manager with `reload`, and keep what it had not saved yet behind what the file holds: a reload drops it,
 * and with it the message of a user whose first turn this is. The manager writes the whole of it with its next record.
 */
export function reloadKeepingUnsaved(manager, reload) {
  const unsaved = manager.flushed === false ? manager.fileEntries.filter((entry) => !isHeader(entry)) : [];
  const result = reload();
  safely("history", () => keep(manager, unsaved));
  return result;
}

function keep(manager, unsaved) {
  const lost = unsaved.filter((entry) => !manager.byId.has(entry.id));
  if (lost.length === 0) return;
  const tip = manager.appendParentId ?? manager.leafId;
  if (tip) rootOf(lost).parentId = tip;
  for (const entry of lost) {
    manager.fileEntries.push(entry);
    manager.byId.set(entry.id, entry);
  }
  goOnFrom(manager, lost.at(-1).id);
  manager.flushed = false;
}

function isHeader(record) {
  return record.type === "session";
}

/** What the manager appends next is a child of this record. */
function goOnFrom(manager, id) {
  manager.leafId = id;
  if ("appendParentId" in manager) manager.appendParentId = id;
}

function learn(manager, record) {
  manager.fileEntries.push(record);
  manager.byId.set(record.id, record);
  goOnFrom(manager, record.id);
  if (record.type === "label" && manager.labelsById instanceof Map) {
    if (record.label) manager.labelsById.set(record.targetId, record.label);
    else manager.labelsById.delete(record.targetId);
  }
}

const savings = new WeakMap(); // manager -> how it saves, as found before anything was wrapped
const begun = new WeakMap(); // manager -> entries that the file has begun with, while the manager has not saved

/**
 * The manager has entries that are not in the file yet (a first turn is saved with its first answer), and the file has
 * begun without them. The file's records go first and the unsaved entries continue their line; when the manager saves,
 * it must leave out what is there already. May happen several times before it saves.
 */
function teachUnsaved(manager, records, fresh) {
  const inFile = begun.get(manager) ?? new Set();
  const header = [...inFile, ...records].find(isHeader);
  if (!header) throw new Refusal("the file has begun in a way that is not known");
  if (!begun.has(manager)) noteWhenSaving(manager, inFile);
  const unsaved = manager.fileEntries.filter((entry) => !isHeader(entry) && !inFile.has(entry));
  for (const record of [header, ...fresh]) inFile.add(record);
  for (const record of fresh) manager.byId.set(record.id, record);
  manager.fileEntries = [...inFile, ...unsaved];
  const tip = fresh.at(-1)?.id;
  if (tip === undefined) return;
  if (unsaved.length > 0) rootOf(unsaved).parentId = tip;
  else goOnFrom(manager, tip);
}

/** The first of some entries of one line: its parent, if it has one, is none of them. */
function rootOf(entries) {
  const ids = new Set(entries.map((entry) => entry.id));
  return entries.find((entry) => !ids.has(entry.parentId));
}

/** Until the manager saves: leave out what is in the file already, unless it writes the whole file anyway. */
function noteWhenSaving(manager, inFile) {
  const { name, persist, rewrites } = savingOf(manager);
  begun.set(manager, inFile);
  manager[name] = function (...args) {
    const all = this.fileEntries;
    if (this.flushed !== false) {
      this[name] = persist;
      begun.delete(this);
      return persist.apply(this, args);
    }
    if (rewrites) return persist.apply(this, args);
    this.fileEntries = all.filter((entry) => !inFile.has(entry));
    try {
      return persist.apply(this, args);
    } finally {
      this.fileEntries = all;
    }
  };
}

/**
 * How a manager saves what it has kept back: by appending all of it to the file, or by writing the whole file. A third
 * way is not known, and then nothing may be taught to a manager that has something unsaved.
 */
export function savingOf(manager) {
  const known = savings.get(manager);
  if (known) return known; // its function may be wrapped by now
  const name = ["_persist", "persist"].find((candidate) => typeof manager[candidate] === "function");
  const source = [name, "persistRecord"]
    .filter((candidate) => typeof manager[candidate] === "function")
    .map((candidate) => Function.prototype.toString.call(manager[candidate]))
    .join("\n");
  const persist = manager[name];
  const rewrites = /\b(writeFullFile|writeJsonlEntriesSync|_?rewriteFile)\(/.test(source);
  if (!rewrites && !/\bappend(FileSync|JsonlEntriesSync)\(/.test(source)) {
    throw new Refusal("this session manager saves in an unknown way");
  }
  const saving = { name, persist, rewrites };
  savings.set(manager, saving);
  return saving;
}

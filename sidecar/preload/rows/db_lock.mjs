// The write lock of an agent's database: how long each transaction waited for it and held it, and for what.
//
// The gateway asks with BEGIN IMMEDIATE, which blocks its thread until SQLite's busy timeout. While other threads of its
// own are to be served meanwhile, it asks with a short timeout, many times over: that is one wait, and one failure.
import { isMainThread, threadId } from "node:worker_threads";

import { safely } from "../guard.mjs";
import { currentWriter } from "../writers/writers.mjs";

export const PATIENT_MS = 100; // an attempt that gives up sooner is made again by who made it, and is no failure
const AGAIN_MS = 250; // so soon behind a failed attempt it is the same wait
const NAME = /^[A-Za-z][\w .-]{0,63}$/;
// SQLite's primary result codes.
const ERRORS = new Map([
  [5, "busy"],
  [6, "busy"],
  [8, "readonly"],
  [11, "corrupt"],
  [13, "full"],
  [26, "corrupt"],
]);

let scope; // the gateway's function for write transactions is being called: {db, label, asked, error, undone}

/** Wrap `runSqliteImmediateTransactionSync`: it names what a transaction is for, and may ask for the lock several times. */
export function wrapTransaction(original) {
  return function runSqliteImmediateTransactionSync(db, work, options, ...rest) {
    const outer = scope;
    const own = { db, label: options?.operationLabel, asked: 0, error: undefined, undone: undefined };
    scope = own;
    try {
      return original.call(this, db, work, options, ...rest);
    } catch (error) {
      if (own.error || own.undone) safely("lock", () => locks.get(db).ended(own, error));
      throw error;
    } finally {
      scope = outer;
    }
  };
}

const locks = new WeakMap(); // connection -> DatabaseLock

/** The lock of an agent's database, on one connection to it. */
export class DatabaseLock {
  /** Real path of it. */
  database;
  #report;
  #label;
  #asked = 0; // when the transaction under way, or the last attempt at one, began to wait
  #had = 0; // when it had the lock; 0 while there is none
  #refused = -Infinity; // when the last attempt failed
  #error = ""; // why the transaction under way could not be committed

  /** @param report (fields of a `db.lock` message, when by `performance.now()`) => void */
  constructor(db, database, report) {
    this.database = database;
    this.#report = report;
    locks.set(db, this);
  }

  /** BEGIN IMMEDIATE has returned. */
  taken(db, asked) {
    const own = ofScope(db);
    this.#join(asked);
    this.#had = performance.now();
    this.#label = own?.label;
    this.#error = "";
    if (own) own.error = own.undone = undefined;
  }

  /** BEGIN IMMEDIATE has failed. */
  refused(db, asked, error) {
    const own = ofScope(db);
    this.#join(asked);
    this.#refused = performance.now();
    if (own) {
      own.asked ||= asked;
      own.error = error;
    } else this.#failed(asked, error, undefined);
  }

  /** The gateway's function throws: nobody tries again. What made the work fail is the error where SQLite said it. */
  ended(own, error) {
    if (own.error) this.#failed(own.asked, own.error, own.label);
    else this.#tell(own.undone.now, { ...own.undone, error: own.undone.error || (error?.errcode ? wordOf(error) : "") });
  }

  #failed(asked, error, label) {
    const now = performance.now();
    const word = wordOf(error);
    if (word === "busy" && now - asked < PATIENT_MS) return;
    this.#tell(now, { op: label, wait: now - Math.min(asked, this.#asked), held: 0, rows: 0, error: word });
    this.#refused = -Infinity;
  }

  /** COMMIT has failed: who made the transaction rolls it back, or tries again. */
  broken(error) {
    this.#error = wordOf(error);
  }

  /** COMMIT has returned. */
  committed(rows) {
    if (this.#had) this.#tell(performance.now(), this.#over(rows, ""));
  }

  /** ROLLBACK was called. */
  rolledBack(db) {
    if (this.#had === 0) return;
    const now = performance.now();
    const over = this.#over(0, this.#error);
    const own = ofScope(db);
    if (own) own.undone = { now, ...over };
    else this.#tell(now, over);
  }

  #over(rows, error) {
    const [wait, held] = [this.#had - this.#asked, performance.now() - this.#had];
    this.#had = 0;
    return { op: this.#label, wait, held, rows, error };
  }

  #join(asked) {
    if (asked - this.#refused > AGAIN_MS) this.#asked = asked;
  }

  #tell(now, { op, wait, held, rows, error }) {
    const fields = { database: this.database, writer: currentWriter(), wait: ns(wait) };
    if (held) fields.held = ns(held);
    if (typeof op === "string" && NAME.test(op)) fields.op = op;
    if (!isMainThread) fields.thread = threadId;
    if (rows) fields.stored = rows;
    if (error) fields.error = error;
    this.#report(fields, now);
  }
}

function ofScope(db) {
  return scope?.db === db ? scope : undefined;
}

/** SQLite's own patience is over. */
export function isBusy(error) {
  return wordOf(error) === "busy";
}

/** Milliseconds as the wire has them. */
export function ns(ms) {
  return String(Math.round(Math.max(0, ms) * 1e6));
}

function wordOf(error) {
  return ERRORS.get(error?.errcode & 0xff) ?? "other";
}

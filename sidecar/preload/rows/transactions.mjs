// The account of what this process commits to transcripts. SQLite's session extension says which rows a transaction has
// changed, whatever statement, trigger or foreign key did it; they are read back over the connection that wrote them, and
// reported once COMMIT has returned.
import fs from "node:fs";
import { createRequire } from "node:module";

import { safely } from "../guard.mjs";
import { currentRun, currentWriter } from "../writers/writers.mjs";
import { changedKeys } from "./changeset.mjs";
import { DatabaseLock, PATIENT_MS, isBusy, ns } from "./db_lock.mjs";
import { described, readerOf, stateOf, versionText } from "./stored_rows.mjs";

const { DatabaseSync } = createRequire(import.meta.url)("node:sqlite");
const { exec, createSession } = DatabaseSync.prototype;

const AGENT_DATABASE = /[/\\]openclaw-agent\.sqlite$/;
const TABLE = { table: "transcript_events" };
const BEGIN = "BEGIN IMMEDIATE";
const COMMIT = "COMMIT";
const ROLLBACK = "ROLLBACK";
const ACCOUNT = "account";
const MAX_ROWS = 400; // of one message

const watched = new WeakMap(); // connection -> {lock, recording} where it is to an agent's database, else null
let changes = 0;

/**
 * Report what is committed from now on, and what each write transaction waited for the database and held it.
 * @param committed ({transcript, version, rows, gone, run, session}, fields of a `rows` message) => void
 * @param locked (fields of a `db.lock` message, when by `performance.now()`) => void
 * @param patience (path of a database) => how often more the present run may ask for it; see RowWindows
 */
export function watchTransactions(committed, locked, patience = () => undefined) {
  DatabaseSync.prototype.exec = function execWatched(sql) {
    if (sql === BEGIN) {
      const known = watched.get(this) ?? safely(ACCOUNT, opened, this, locked);
      return known ? begin(this, known, patience) : exec.call(this, sql);
    }
    if (sql !== COMMIT && sql !== ROLLBACK) return exec.call(this, sql);
    const known = watched.get(this);
    if (!known) return exec.call(this, sql);
    return sql === COMMIT ? commit(this, known, committed) : rollback(this, known);
  };
}

function begin(db, known, patience) {
  const asked = performance.now();
  let result;
  try {
    result = exec.call(db, BEGIN);
  } catch (error) {
    const late = isBusy(error) && performance.now() - asked >= PATIENT_MS;
    const more = late ? safely("lock", patience, known.lock.database) : undefined;
    if (!more || !askAgain(db, asked, more)) {
      safely("lock", () => known.lock.refused(db, asked, error));
      throw error;
    }
  }
  safely("lock", () => known.lock.taken(db, asked));
  if (!known.recording) safely(ACCOUNT, record, db, known);
  return result;
}

/** Ask as often more as the sidecar has said ahead, each time for as long as the gateway waits. True where it is had. */
function askAgain(db, asked, { tries, tell }) {
  let had = false;
  let made = 0;
  while (!had && made < tries) {
    made += 1;
    try {
      exec.call(db, BEGIN);
      had = true;
    } catch (error) {
      if (!isBusy(error)) break;
    }
  }
  safely("lock", () => tell(had, ns(performance.now() - asked), made));
  return had;
}

function commit(db, known, committed) {
  const found = safely(ACCOUNT, recorded, db, known);
  let result;
  try {
    result = exec.call(db, COMMIT);
  } catch (error) {
    safely("lock", () => known.lock.broken(error));
    throw error;
  }
  safely("lock", () => known.lock.committed(found ? found.reduce((count, { rows }) => count + rows.length, 0) : 0));
  if (found) {
    safely(ACCOUNT, renew, db, known);
    for (const change of found) safely(ACCOUNT, () => committed(changeOf(change)));
  }
  return result;
}

function rollback(db, known) {
  try {
    return exec.call(db, ROLLBACK);
  } finally {
    safely("lock", () => known.lock.rolledBack(db));
  }
}

/** A connection is used for the first time. */
function opened(db, locked) {
  if (watched.has(db)) return null;
  const location = db.location();
  const known =
    location === null || !AGENT_DATABASE.test(location)
      ? null
      : { lock: new DatabaseLock(db, fs.realpathSync.native(location), locked), recording: undefined };
  watched.set(db, known);
  return known;
}

function record(db, known) {
  if (readerOf(db)) known.recording = createSession.call(db, TABLE);
}

/** Another recording, once COMMIT has returned: the one before goes on to hold what it has recorded. */
function renew(db, known) {
  known.recording.close();
  known.recording = createSession.call(db, TABLE);
}

/**
 * What the transaction is about to commit, a change for each transcript. Its rows are only taken here, as they are stored:
 * what is made of them can wait until nobody waits for the database.
 */
function recorded(db, { recording }) {
  if (!recording) return undefined;
  const changeset = recording.changeset();
  if (changeset.length === 0) return undefined;
  const reader = readerOf(db);
  const sessions = new Map();
  for (const { session, seq, deleted } of changedKeys(changeset)) {
    if (!sessions.has(session)) sessions.set(session, { kept: [], gone: [] });
    sessions.get(session)[deleted ? "gone" : "kept"].push(seq);
  }
  return [...sessions].map(([session, { kept, gone }]) => taken(reader, session, kept, gone));
}

function taken(reader, session, kept, gone) {
  const places = new Set(kept);
  const rows = kept.length === 0 ? [] : reader.stored(session, least(kept), greatest(kept)).filter((row) => places.has(row.seq));
  return { reader, session, rows, gone, state: reader.storedState(session, rows) };
}

function changeOf({ reader, session, rows: stored, gone, state: { generation, last } }) {
  const rows = stored.map(described);
  const state = stateOf({ generation, last }, stored.at(-1) === last ? rows.at(-1)?.digest : undefined);
  return {
    session,
    reader,
    transcript: `${reader.database}#${session}`,
    version: versionText(state),
    // Rows that were there before come first: only what adds behind all of them appends.
    appends: gone.length === 0 && rows.length > 0 && rows[0].seq === state.seq - rows.length + 1,
    empty: state.seq < 0,
    rows,
    gone: runsOf(gone),
    writer: currentWriter(),
    run: currentRun(),
  };
}

const least = (numbers) => numbers.reduce((one, other) => Math.min(one, other));
const greatest = (numbers) => numbers.reduce((one, other) => Math.max(one, other));

/** Numbers as runs of adjoining ones: first and last of each. */
function runsOf(numbers) {
  const runs = [];
  for (const number of numbers.sort((one, other) => one - other)) {
    const last = runs.at(-1);
    if (last && last[1] === number - 1) last[1] = number;
    else runs.push([number, number]);
  }
  return runs;
}

/** Send a change, in as many messages as its rows need. */
export function reportChange(link, { transcript, version, appends, empty, rows, gone, writer }) {
  const change = `r${(changes += 1)}`;
  const op = empty ? "remove" : appends ? "append" : "rewrite";
  for (let first = 0; first === 0 || first < rows.length; first += MAX_ROWS) {
    const part = rows.slice(first, first + MAX_ROWS).map(({ digest, ...row }) => ({ ...row, sha256: digest }));
    const more = first + MAX_ROWS < rows.length;
    link.sendSoon("rows", { file: transcript, change, op, after: version, rows: part, gone: more ? [] : gone, writer, more });
  }
}


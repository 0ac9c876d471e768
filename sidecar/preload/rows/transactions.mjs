// The account of what this process commits to transcripts. SQLite's session extension says which rows a transaction has
// changed, whatever statement, trigger or foreign key did it; they are read back over the connection that wrote them, and
// reported once COMMIT has returned.
import { createRequire } from "node:module";

import { safely } from "../guard.mjs";
import { currentRun, currentWriter } from "../writers/writers.mjs";
import { changedKeys } from "./changeset.mjs";
import { readerOf, versionText } from "./stored_rows.mjs";

const { DatabaseSync } = createRequire(import.meta.url)("node:sqlite");
const { exec, createSession } = DatabaseSync.prototype;

const AGENT_DATABASE = /[/\\]openclaw-agent\.sqlite$/;
const TABLE = { table: "transcript_events" };
const BEGIN = "BEGIN IMMEDIATE";
const COMMIT = "COMMIT";
const ACCOUNT = "account";
const MAX_ROWS = 400; // of one message

const recorders = new WeakMap(); // connection -> its recording, or null where there are no transcripts
let changes = 0;

/**
 * Report what is committed from now on.
 * @param committed ({transcript, version, rows, gone, run, session}, fields of a `rows` message) => void
 */
export function watchTransactions(committed) {
  DatabaseSync.prototype.exec = function execWatched(sql) {
    if (sql === BEGIN) {
      const result = exec.call(this, sql);
      safely(ACCOUNT, () => record(this));
      return result;
    }
    if (sql !== COMMIT) return exec.call(this, sql);
    const found = safely(ACCOUNT, () => recorded(this));
    const result = exec.call(this, sql);
    if (found) {
      safely(ACCOUNT, () => renew(this));
      for (const change of found) safely(ACCOUNT, () => committed(change));
    }
    return result;
  };
}

function record(db) {
  if (recorders.has(db)) return;
  const location = db.location();
  if (location === null || !AGENT_DATABASE.test(location)) recorders.set(db, null);
  else if (readerOf(db)) recorders.set(db, createSession.call(db, TABLE));
}

/** Another recording, once COMMIT has returned: the one before goes on to hold what it has recorded. */
function renew(db) {
  recorders.get(db).close();
  recorders.set(db, createSession.call(db, TABLE));
}

/** What the transaction is about to commit, a change for each transcript. */
function recorded(db) {
  const recording = recorders.get(db);
  if (!recording) return undefined;
  const changeset = recording.changeset();
  if (changeset.length === 0) return undefined;
  const reader = readerOf(db);
  const sessions = new Map();
  for (const { session, seq, deleted } of changedKeys(changeset)) {
    if (!sessions.has(session)) sessions.set(session, { kept: [], gone: [] });
    sessions.get(session)[deleted ? "gone" : "kept"].push(seq);
  }
  return [...sessions].map(([session, { kept, gone }]) => described(reader, session, kept, gone));
}

function described(reader, session, kept, gone) {
  const places = new Set(kept);
  const rows = kept.length === 0 ? [] : reader.rows(session, least(kept), greatest(kept)).filter((row) => places.has(row.seq));
  const state = reader.state(session);
  return {
    session,
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
    link.send("rows", { file: transcript, change, op, after: version, rows: part, gone: more ? [] : gone, writer, more });
  }
}


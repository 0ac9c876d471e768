// A MODEL of the transcripts of 2026.9.4 to 9.6: the tables that the gateway's question reads, the question, and how
// rows are committed. SQLite is Node's own. tests/e2e drives the bundle's functions on whole gateways.
import { DatabaseSync } from "node:sqlite";

const COLUMNS = "session_id TEXT NOT NULL, seq INTEGER NOT NULL, event_json TEXT, created_at INTEGER";

export function open(path, compressed = true) {
  const db = new DatabaseSync(path);
  const more = compressed ? ", event_zstd BLOB, event_utf8_bytes INTEGER, navigation_json TEXT" : "";
  db.exec(`PRAGMA journal_mode=WAL; PRAGMA foreign_keys=ON;
    CREATE TABLE IF NOT EXISTS session_windows (session_id TEXT PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS transcript_events (${COLUMNS}${more}, PRIMARY KEY (session_id, seq),
      FOREIGN KEY (session_id) REFERENCES session_windows(session_id) ON DELETE CASCADE);
    CREATE TABLE IF NOT EXISTS transcript_event_identities (session_id TEXT NOT NULL, event_id TEXT NOT NULL,
      seq INTEGER NOT NULL, event_type TEXT, parent_id TEXT, message_idempotency_key TEXT, created_at INTEGER,
      PRIMARY KEY (session_id, event_id),
      FOREIGN KEY (session_id, seq) REFERENCES transcript_events(session_id, seq) ON DELETE CASCADE);
    CREATE TABLE IF NOT EXISTS transcript_rewrite_watermarks (session_id TEXT PRIMARY KEY, generation TEXT, updated_at INTEGER)`);
  return db;
}

/** A transaction, as the gateway makes one. */
export function transaction(db, work) {
  db.exec("BEGIN IMMEDIATE");
  try {
    const result = work();
    db.exec("COMMIT");
    return result;
  } catch (error) {
    try {
      db.exec("ROLLBACK");
    } catch {
      // SQLite has done so itself.
    }
    throw error;
  }
}

/** The gateway's own way to one: it names what it is for, and asks again while others are to be served. */
function runSqliteImmediateTransactionSync(db, work, options) {
  for (let left = options?.tries ?? 1; ; left -= 1) {
    try {
      return transaction(db, work);
    } catch (error) {
      if (left <= 1 || error.errcode !== 5) throw error;
    }
  }
}

function appendTranscriptEventInTransaction(db, session, { id, parent, role, key, type = "message", provider, model, zstd }) {
  const run = (sql, ...values) => db.prepare(sql).run(...values);
  run("INSERT OR IGNORE INTO session_windows VALUES (?)", session);
  run("INSERT OR IGNORE INTO transcript_rewrite_watermarks VALUES (?, ?, 0)", session, "g1");
  const seq = (db.prepare("SELECT max(seq) AS seq FROM transcript_events WHERE session_id = ?").get(session).seq ?? -1) + 1;
  const event = { type, id, parentId: parent ?? null, message: { role, content: `text of ${id}`, provider, model } };
  const json = JSON.stringify(event);
  run("INSERT INTO transcript_events (session_id, seq, event_json, created_at) VALUES (?, ?, ?, 0)", session, seq, json);
  if (zstd) {
    const navigation = JSON.stringify({ version: 1, navigation: { message: { role } }, model: { message: { role, provider, model } } });
    const change = "UPDATE transcript_events SET event_json = NULL, event_zstd = ?, navigation_json = ? WHERE session_id = ? AND seq = ?";
    run(change, Buffer.from(json), navigation, session, seq);
  }
  if (id) run("INSERT INTO transcript_event_identities VALUES (?, ?, ?, ?, ?, ?, 0)", session, id, seq, type, parent ?? null, key ?? null);
  return seq;
}

function canRebasePreparedAssistantInTransaction(database, session, preparedParent, admitted) {
  const seq = database.db.prepare("SELECT seq FROM transcript_event_identities WHERE session_id = ? AND event_id = ?").get(session, preparedParent)?.seq;
  if (seq === undefined) return false;
  const newer = database.db
    .prepare(
      "SELECT i.event_id AS id, json_extract(e.event_json, '$.message.role') AS role FROM transcript_events AS e " +
        "JOIN transcript_event_identities AS i ON i.session_id = e.session_id AND i.seq = e.seq WHERE e.session_id = ? AND e.seq > ?",
    )
    .all(session, seq);
  return newer.every((row) => row.role !== "user" || row.id === admitted);
}

async function runEmbeddedAttempt(params) {
  return await params.attempt();
}

async function handleCommands({ result, work }) {
  await work?.();
  return result;
}

function guardSessionManager(manager) {
  return manager;
}

export {
  appendTranscriptEventInTransaction,
  canRebasePreparedAssistantInTransaction,
  guardSessionManager,
  handleCommands,
  runEmbeddedAttempt,
  runSqliteImmediateTransactionSync,
};

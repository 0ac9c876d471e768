// Whether the bundle's question about newer rows is the one that we know: asked on a database in memory, by the
// bundle's own function, before anything of it is wrapped.
import { createRequire } from "node:module";

const { DatabaseSync } = createRequire(import.meta.url)("node:sqlite");

// The columns that the question reads, of every schema that has it.
const SCHEMA = `
  CREATE TABLE transcript_events (session_id TEXT NOT NULL, seq INTEGER NOT NULL, event_json TEXT, created_at INTEGER,
    event_zstd BLOB, event_utf8_bytes INTEGER, navigation_json TEXT, PRIMARY KEY (session_id, seq));
  CREATE TABLE transcript_event_identities (session_id TEXT NOT NULL, event_id TEXT NOT NULL, seq INTEGER NOT NULL,
    event_type TEXT, parent_id TEXT, message_idempotency_key TEXT, created_at INTEGER, PRIMARY KEY (session_id, event_id));
  CREATE TABLE session_transcript_active_events (session_id TEXT NOT NULL, active_position INTEGER NOT NULL,
    event_seq INTEGER NOT NULL, message_position INTEGER, context_eligible INTEGER, PRIMARY KEY (session_id, active_position));
  CREATE TABLE session_transcript_index_state (session_id TEXT PRIMARY KEY, indexed_seq INTEGER, leaf_event_id TEXT,
    needs_rebuild INTEGER, active_event_count INTEGER, active_message_count INTEGER, updated_at INTEGER);
  CREATE TABLE transcript_rewrite_watermarks (session_id TEXT PRIMARY KEY, generation TEXT, updated_at INTEGER);
  CREATE TABLE session_windows (session_id TEXT PRIMARY KEY, session_key TEXT, transcript_updated_at INTEGER);
`;
const SESSION = "selfcheck";

/**
 * Ask about a user row that the run stands on: nothing newer, a newer assistant row, a newer user row.
 * @returns why the function is not the question that we know; undefined where it is.
 */
export function misfit(question) {
  const database = new DatabaseSync(":memory:");
  try {
    database.exec(SCHEMA);
    const asked = (admitted) => question({ db: database, path: ":memory:", agentId: "main" }, SESSION, "user-1", admitted);
    append(database, 0, "user-1", null, { role: "user", content: "one" });
    if (asked("user-1") !== true) return "it forbids an answer behind the run's own row";
    append(database, 1, "note-1", "user-1", { role: "assistant", content: [{ type: "text", text: "two" }] });
    if (asked("user-1") !== true) return "it forbids an answer behind an assistant's row";
    append(database, 2, "user-2", "note-1", { role: "user", content: "three" });
    if (asked("user-1") !== false) return "it allows an answer behind a user's row";
    return undefined;
  } catch (error) {
    return `it can't be asked (${error?.code ?? error?.name})`;
  } finally {
    database.close();
  }
}

function append(database, seq, id, parent, message) {
  const event = JSON.stringify({ type: "message", id, parentId: parent, timestamp: new Date(0).toISOString(), message });
  const run = (sql, ...values) => database.prepare(sql).run(...values);
  run("INSERT INTO transcript_events VALUES (?, ?, ?, 0, NULL, NULL, NULL)", SESSION, seq, event);
  run("INSERT INTO transcript_event_identities VALUES (?, ?, ?, 'message', ?, NULL, 0)", SESSION, id, seq, parent);
  run("INSERT INTO session_transcript_active_events VALUES (?, ?, ?, ?, 1)", SESSION, seq, seq, seq);
  run("REPLACE INTO session_transcript_index_state VALUES (?, ?, ?, 0, ?, ?, 0)", SESSION, seq, id, seq + 1, seq + 1);
}

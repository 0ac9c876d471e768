// The rows of a transcript as the gateway's database stores them, read over the gateway's own open connection. Only
// digests of them leave the process (rule 7). sidecar/watch/database/reader.py makes the same digests from outside.
import { createHash, hash } from "node:crypto";
import fs from "node:fs";
import { createRequire } from "node:module";

const { DatabaseSync } = createRequire(import.meta.url)("node:sqlite");
const { prepare } = DatabaseSync.prototype; // as it was before anybody wrapped it

// All that says what a row is. A schema may lack the later ones.
const STORED = ["event_json", "event_zstd", "navigation_json"];
const IDENTITY = ["event_id", "parent_id", "event_type", "message_idempotency_key"];
const COLUMNS = [...IDENTITY, ...STORED];
const ABSENT = "absent";

const readers = new WeakMap(); // connection -> Reader
const connected = new Set(); // readers, for as long as their connection is open

/** The version of a transcript: `rows:GENERATION:SEQ:DIGEST` of its last row; "absent" without rows. */
export function versionText({ generation, seq, digest }) {
  return seq < 0 ? ABSENT : `rows:${generation}:${seq}:${digest}`;
}

/** Place of the last row that a version tells; -1 for "absent". */
export function seqOf(version) {
  return version === ABSENT ? -1 : Number(version.split(":")[2]);
}

/** What ties an approval to exactly these rows, in this order. */
export function digestOfSpan(rows) {
  return hash("sha256", rows.map(({ seq, digest }) => `${seq}:${digest}\n`).join(""));
}

/** Digest of all that is stored of a row: each value with its length, so that no two rows give the same text. */
export function digestOf(row) {
  let text = "";
  let begun; // with the first value that is no text: one text is digested at once, which costs half
  for (const column of COLUMNS) {
    const value = row[column] ?? null;
    if (value === null) text += "-;";
    else if (typeof value === "string") text += `${Buffer.byteLength(value)}:${value}`;
    else {
      begun = (begun ?? createHash("sha256")).update(`${text}${value.length}:`).update(value);
      text = "";
    }
  }
  return begun ? begun.update(text).digest("hex") : hash("sha256", text);
}

/**
 * A reader of the transcripts in the database of a connection; undefined while that has no table of them.
 * @throws where the database can't be asked.
 */
export function readerOf(db) {
  const known = readers.get(db);
  if (known) return known;
  const columns = prepare.call(db, "PRAGMA table_info(transcript_events)").all();
  if (columns.length === 0) return undefined;
  const reader = new Reader(db, new Set(columns.map((column) => column.name)));
  readers.set(db, reader);
  connected.add(reader);
  return reader;
}

/**
 * The transcript that has a row, and its version with that row as its last.
 * @returns {transcript, reader, version}; undefined where no open database has the row, or more than one.
 */
export function placeOfRow(session, id) {
  const found = new Map(); // of each database once, whatever other connections there are to it
  for (const reader of connected) {
    if (!reader.open) connected.delete(reader);
    else if (!found.has(reader.database)) {
      const version = reader.versionAt(session, id);
      if (version) found.set(reader.database, { transcript: `${reader.database}#${session}`, reader, version });
    }
  }
  return found.size === 1 ? found.values().next().value : undefined;
}

class Reader {
  #db;
  #place;
  #rows;
  #state;

  constructor(db, columns) {
    this.#db = db;
    /** Real path of the database. */
    this.database = fs.realpathSync.native(db.location());
    const stored = STORED.map((name) => (columns.has(name) ? `e.${name}` : `NULL AS ${name}`));
    const selected = ["e.seq", ...IDENTITY.map((name) => `i.${name}`), ...stored].join(", ");
    this.#rows = prepare.call(
      db,
      `SELECT ${selected} FROM transcript_events AS e LEFT JOIN transcript_event_identities AS i ` +
        "ON i.session_id = e.session_id AND i.seq = e.seq " +
        "WHERE e.session_id = ? AND e.seq BETWEEN ? AND ? ORDER BY e.seq",
    );
    this.#place = prepare.call(
      db,
      "SELECT seq FROM transcript_event_identities WHERE session_id = ? AND event_id = ?",
    );
    this.#state = prepare.call(
      db,
      "SELECT (SELECT max(seq) FROM transcript_events WHERE session_id = ?1) AS seq, " +
        "(SELECT generation FROM transcript_rewrite_watermarks WHERE session_id = ?1) AS generation",
    );
  }

  /** The gateway closes a connection that it has not used for a while. */
  get open() {
    return this.#db.isOpen;
  }

  /** The version of a session when a row of it was the last; undefined where it has no such row. */
  versionAt(session, id) {
    const place = this.#place.get(session, id);
    const row = place && this.rows(session, place.seq, place.seq)[0];
    return row && versionText({ ...row, generation: this.#state.get(session).generation ?? "" });
  }

  /** The rows of a session between two places, both included. */
  rows(session, first, last) {
    return this.stored(session, first, last).map(described);
  }

  /** Generation of a session, and place and digest of its last row; the place is -1 without rows. */
  state(session) {
    return stateOf(this.storedState(session));
  }

  /** The same as `rows`, as it is stored: see `described`. */
  stored(session, first, last) {
    return this.#rows.all(session, first, last);
  }

  /**
   * The same as `state`, as it is stored: see `stateOf`.
   * @param read stored rows of it that were read since the last change, in order: the last one of all may be among them.
   */
  storedState(session, read = []) {
    const { seq, generation } = this.#state.get(session);
    const last = read.at(-1)?.seq === seq ? read.at(-1) : seq === null ? undefined : this.stored(session, seq, seq)[0];
    return { generation, last };
  }
}

/** What `Reader.state` gives, of what `Reader.storedState` has read; `digest` of the last row, where it is known. */
export function stateOf({ generation, last }, digest = last ? digestOf(last) : "") {
  return { generation: generation ?? "", seq: last?.seq ?? -1, digest };
}

/** What `Reader.rows` gives, of one of `Reader.stored`. */
export function described(row) {
  const message = row.event_type === "message" ? messageOf(row) : undefined;
  const stored = row.event_json ?? row.event_zstd;
  return {
    seq: row.seq,
    id: row.event_id ?? "",
    parent: row.parent_id ?? "",
    kind: row.event_type ?? "",
    role: typeof message?.role === "string" ? message.role : "",
    injected: message?.provider === "openclaw" && message?.model === "gateway-injected",
    key: row.message_idempotency_key ? keyDigest(row.message_idempotency_key) : "",
    size: typeof stored === "string" ? Buffer.byteLength(stored) : (stored?.length ?? 0),
    digest: digestOf(row),
  };
}

/** The key of a user's input and of the gateway's reply to it is the same but for its end. */
export function keyDigest(key) {
  return createHash("sha256").update(key.replace(/:user$/, "")).digest("hex").slice(0, 16);
}

/** Of a compressed row, what the gateway itself reads of it without its contents: who speaks, and which model. */
function messageOf({ event_json: whole, navigation_json: navigation }) {
  return whole === null ? JSON.parse(navigation).model?.message : JSON.parse(whole).message;
}

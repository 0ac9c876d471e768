// The windows of runs on transcripts in the database, and the gateway's own question before a run's answer is appended.
//
// A run stands on the row that it committed last; before it has committed any, on the last row of the history that it has
// loaded. Before it appends an answer the gateway asks, synchronously, whether the rows that came behind that one forbid
// it. The original is asked first, and only its no is looked at again: it becomes a yes where the sidecar has approved
// exactly these rows ahead (rule 2). The gateway's own compare-and-set and reload follow.
import { threadId } from "node:worker_threads";

import { reasonOf, safely, trouble } from "../guard.mjs";
import { Remembered } from "../writers/redact.mjs";
import { currentRun, describeRun } from "../writers/writers.mjs";
import { digestOfSpan, keyDigest, placeOfRow, readerOf, seqOf, versionText } from "./stored_rows.mjs";

const MAX_ROWS = 256; // the gateway's own bounds, which stand ahead of its question
const MAX_BYTES = 1 << 20;
const MAX_TRIES = 3;
const REMEMBERED = 512;

const windows = new Map(); // id -> window
const transcripts = new Remembered(REMEMBERED); // hash of a session key -> transcript
const inputs = new Remembered(REMEMBERED); // digest of an input's key, which is the id of its run -> where it is
let nextWindow = 0;

export class RowWindows {
  #link;

  constructor(link) {
    this.#link = link;
  }

  /** A transaction of this process was committed. What a run commits becomes its fence. */
  committed(change) {
    const { transcript, session, reader, version, rows: changed, run } = change;
    if (version === "absent") return;
    if (!run?.live || run.runContext !== run) {
      const last = changed.at(-1);
      if (last?.role === "user" && last.key) inputs.set(last.key, { transcript, session, reader, version });
      return;
    }
    const window = this.#windowOf(run, transcript, session);
    window.answer = changed.findLast(({ role }) => role === "assistant" || role === "toolResult")?.seq ?? window.answer;
    this.#moveTo(window, change);
  }

  /** A run begins. What a person types in the gateway's own chat is committed ahead of its run, which stands on that. */
  openRun(run) {
    const key = keyDigest(run.run);
    const input = inputs.get(key);
    inputs.delete(key); // another attempt of the same run goes on behind what the first has committed
    if (input) this.#moveTo(this.#windowOf(run, input.transcript, input.session), input);
  }

  /**
   * A run has loaded its history, and stands on the last row of that until it commits one. A heartbeat commits none before
   * its answer.
   * @param manager session manager of the gateway, which knows its session and the row that an append would follow.
   */
  loaded(run, manager) {
    for (const window of windows.values()) if (window.run === run) return;
    const session = manager.getSessionTarget?.()?.sessionId;
    const last = session && manager.getAppendParentId?.();
    const place = last && placeOfRow(session, last);
    if (place) this.#moveTo(this.#windowOf(run, place.transcript, session), place);
  }

  /**
   * Where a run stands: its window and transcript, empty where it has not come to them, the row of the last answer that it
   * has stored, and the first row in its way; -1 where there is none.
   */
  placeOf(run) {
    const window = [...windows.values()].findLast((known) => known.run === run);
    if (!window) return { window: "", file: transcripts.get(run.session) ?? "", stored: () => -1, inTheWay: () => -1 };
    const { id, transcript, session, reader, fence, answer } = window;
    return {
      window: id,
      file: transcript,
      stored: () => answer,
      inTheWay() {
        const newer = reader.rows(session, seqOf(fence) + 1, seqOf(fence) + MAX_ROWS);
        return (newer.find(({ role }) => role === "user") ?? newer[0])?.seq ?? -1;
      },
    };
  }

  /** A command of the sidecar. It is kept until the question that it was made for, or taken back. */
  onCommand(message) {
    const window = windows.get(message.window);
    if (!window) return;
    if (message.t === "patience") {
      window.tries = Math.min(MAX_TRIES, Math.max(0, Number(message.tries) || 0));
      return;
    }
    const { fence, current, span } = message;
    window.approved = message.t === "approve" ? { fence, current, span } : undefined;
  }

  /** The link is gone, and with it everything that was approved over it. */
  forgetApprovals() {
    for (const window of windows.values()) Object.assign(window, { approved: undefined, tries: 0 });
  }

  /** The open windows are said again, to whoever has not heard of them. */
  repeat() {
    for (const window of windows.values()) this.#tell(window);
  }

  /** The run is over, and so are its windows. */
  closeRun(run) {
    for (const window of windows.values()) {
      if (window.run !== run) continue;
      windows.delete(window.id);
      this.#link.send("fence.closed", { window: window.id, takeover: window.stopped });
    }
  }

  /**
   * The present run did not get the write lock of its database. What the sidecar has said ahead is good for once.
   * @returns {tries, tell(had, waitedNs, tries)}; undefined where it gives up as unpatched.
   */
  patience(database) {
    const run = currentRun();
    if (!run?.live || !this.#link.recovers) return undefined;
    const mine = (window) => window.run === run && window.transcript.startsWith(`${database}#`);
    const window = [...windows.values()].find((known) => known.tries > 0 && mine(known));
    if (!window) return undefined;
    const { id, tries } = window;
    window.tries = 0;
    return { tries, tell: (ok, waited, made) => this.#link.send("lock.waited", { window: id, ok, waited, tries: made }) };
  }

  wrapQuestion(original) {
    const self = this;
    return function canRebasePreparedAssistantInTransaction(database, session, preparedParent, ...rest) {
      const said = original.call(this, database, session, preparedParent, ...rest);
      if (said) return said;
      return safely("fence", () => self.#asked(database, session, preparedParent)) ?? said;
    };
  }

  #windowOf(run, transcript, session) {
    for (const window of windows.values()) if (window.run === run && window.transcript === transcript) return window;
    const id = `${process.pid}.${threadId}.${performance.timeOrigin.toFixed(0)}.r${(nextWindow += 1)}`;
    const window = { id, run, transcript, session, fence: "", approved: undefined, tries: 0, stopped: false, answer: -1 };
    windows.set(id, window);
    return window;
  }

  #moveTo(window, { version, reader, transcript }) {
    window.fence = version;
    window.reader = reader;
    window.approved = undefined;
    transcripts.set(window.run.session, transcript);
    this.#tell(window);
  }

  #tell({ id, transcript, fence, run }) {
    this.#link.sendSoon("fence.set", { window: id, file: transcript, fence, run: describeRun(run) });
  }

  /** The gateway says no. @returns true where these rows were approved; undefined leaves the no. */
  #asked(database, session, preparedParent) {
    const run = currentRun();
    const window = run && [...windows.values()].find((known) => known.run === run && known.session === session);
    const reader = window && readerOf(database.db);
    if (!reader || `${reader.database}#${session}` !== window.transcript) return undefined;
    const since = process.hrtime.bigint();
    const { approved, fence } = window;
    const state = reader.state(session);
    const current = versionText(state);
    if (!approved || !this.#link.recovers) {
      this.#stop(window, current);
      return undefined;
    }
    window.approved = undefined;
    const from = seqOf(fence);
    let reason;
    let rows = [];
    try {
      if (state.seq - from > MAX_ROWS) reason = "too many rows";
      else {
        rows = reader.rows(session, from, state.seq);
        reason = refusal({ fence, current, from, rows, approved, preparedParent });
      }
    } catch (error) {
      trouble("fence", error);
      reason = reasonOf(error);
    }
    const taken = rows.slice(1);
    const latency = String(process.hrtime.bigint() - since);
    this.#link.send("applied", {
      window: window.id,
      ok: reason === undefined,
      fence,
      current,
      pushed: true,
      latency,
      reason: reason ?? "",
      records: reason === undefined ? taken.map((row) => row.id).filter((id) => id !== "") : [],
    });
    if (reason === undefined) return true;
    this.#stop(window, current);
    return undefined;
  }

  /** The gateway's own fence stops the turn: what it throws now ends the run. */
  #stop(window, current) {
    if (window.stopped) return;
    window.stopped = true;
    const { id, transcript, fence, run } = window;
    this.#link.send("tripped", { window: id, file: transcript, fence, current, run: describeRun(run) });
  }
}

/** Why these rows are not what was approved; undefined where they are. The first of them is the fence's. */
function refusal({ fence, current, from, rows, approved, preparedParent }) {
  if (approved.fence !== fence) return "the fence is another one";
  if (approved.current !== current) return "the transcript changed after the approval";
  const [head, ...newer] = rows;
  if (head?.seq !== from || newer.length === 0) return "the row at the fence is gone";
  if (digestOfSpan(newer) !== approved.span) return "the rows are not those that were approved";
  if (newer.reduce((size, row) => size + row.size, 0) > MAX_BYTES) return "the rows are too large";
  for (let index = 1; index < rows.length; index += 1) {
    if (rows[index - 1].id === "" || rows[index].parent !== rows[index - 1].id) return "the rows are not one line";
  }
  if (!rows.some((row) => row.id === preparedParent)) return "the run stands on another row";
  return undefined;
}

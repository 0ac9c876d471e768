// The client end of the link. It never blocks: what can't be sent is dropped and counted, and a broken link means that
// the gateway behaves as it does unpatched.
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { threadId } from "node:worker_threads";

import { safely } from "./guard.mjs";
import * as own from "./key.mjs";
import { whyNotOurs } from "./owner.mjs";

/** Newest and oldest version of the protocol that are spoken here; see sidecar/wire/messages.py. */
export const PROTOCOL = 3;
const OLDEST = 1;
const VERIFYING = 3; // the oldest whose welcome says whether this process is verified
export const PRELOAD_VERSION = "0.1.0";

const MAX_QUEUED_BYTES = 4 << 20;
const MAX_LINE_BYTES = 1 << 20;
const SAID = "OPENCLAW_SIDECAR_SAID";
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 1000;
// How long a hello waits: for the main thread to get the key of this process, and for what the key is proven with.
const KEY_MS = 2000;
const CHALLENGE_MS = 250;
// Reports of what is over are written several at once: when a lock was given back, and at most so often; else when the
// first has waited so long; and ahead of any other message. Nothing is concluded without them: a sidecar that saw the bytes
// first asks (`sync`), and a process that is killed before has said no goodbye. (A timer that is due before the kernel's
// next tick makes each wait of the event loop dearer.)
const OVER = new Set(["lock.taken", "lock.released", "change", "db.lock"]);
const APART_MS = 20;
const OVER_MS = 25;
const MAX_UNWRITTEN = 256;
const SIDECAR = "sidecar"; // trouble here: the gateway does not obey the one that hears of it
const MAX_EARLY = 1000; // messages that are kept for the first connection
const MAX_LATE = 32; // questions that nobody waits for any more, and whose answer may still come

/** Where the gateway keeps its state: it trims the variable and expands a leading tilde, and so do we. */
export function stateDir() {
  const named = (process.env.OPENCLAW_STATE_DIR ?? "").trim();
  if (!named) return path.join(os.homedir(), ".openclaw");
  return path.resolve(named.replace(/^~(?=$|[/\\])/, os.homedir()));
}

export function socketPath() {
  return process.env.OPENCLAW_SIDECAR_SOCKET || path.join(stateDir(), "openclaw-sidecar.sock");
}

/** The time that a clock reading means, to the microsecond: a number holds no more of it. */
function toNs(reading) {
  return `${Math.round((performance.timeOrigin + reading) * 1000)}000`;
}

/** JSON that is UTF-8 to its end: half of a surrogate pair, left by a cut or by a strange name, can't be read back. */
function toJson(fields) {
  const json = JSON.stringify(fields);
  if (!/\\ud[89a-f]/.test(json)) return json;
  return JSON.stringify(fields, (_key, value) => (typeof value === "string" ? value.toWellFormed() : value));
}

export class Link {
  #socket = null;
  #begun = false;
  #open = false;
  #nonce = ""; // what the sidecar proves itself with
  #challenge = ""; // what we prove ourselves with
  #shown = ""; // the key that the hello named
  #proven = false;
  #due = false; // connected, and the hello is still to be said
  #waiting; // the timer of a hello that waits for the challenge
  #welcome = false;
  #obeyed = false;
  #recovers = false;
  #seq = 0;
  #unwritten = [];
  #writing = false;
  #release = 0; // when the last one was written that did not wait
  #timer;
  #soon = false;
  #lost = 0;
  #full = false;
  #early = [];
  #retryMs = FIRST_RETRY_MS;
  #asks = new Map();
  #late = new Map(); // question -> a function that reports it as late
  #nextAsk = 0;
  #buffer = "";
  #rejected = false;
  #answers = [];

  /** @param describe () => fields of the hello; @param onCommand (message) => void */
  constructor(describe, onCommand) {
    this.describe = describe;
    this.onCommand = onCommand;
    this.path = socketPath();
  }

  /** A sidecar has answered our hello: there is somebody to report to. */
  get heard() {
    return this.#welcome;
  }

  /** It is one that we know, and that has verified us: a question makes sense. */
  get ready() {
    return this.#obeyed;
  }

  /** It recovers, and does not only look. */
  get recovers() {
    return this.#obeyed && this.#recovers;
  }

  /** What is said now is heard: by the sidecar, or by the one that the first connection leads to. */
  get hears() {
    return this.#open || (this.#early !== null && this.#early.length < MAX_EARLY);
  }

  connect() {
    if (this.#begun && this.#socket && !this.#socket.destroyed) return;
    this.#begun = true;
    const socket = net.connect({ path: this.path });
    socket.unref();
    this.#socket = socket;
    socket.setEncoding("utf8");
    // Whatever a message makes of us, it must not be thrown where nobody of the gateway's catches it.
    socket.on("connect", () => safely("link", () => this.#connected()));
    socket.on("data", (chunk) => safely("link", () => this.#received(chunk)));
    socket.on("error", (error) => safely("link", () => this.#sayAbsent(error)));
    socket.on("close", () => safely("link", () => this.#closed()));
  }

  /** Say something that is so since `at`. Order is kept; before the first connection a little is kept for it. */
  send(type, fields, at = performance.now()) {
    this.#take({ type, at, fields, soon: false });
  }

  /**
   * The same, of a commit: it is written as soon as the work that made it lets go of the thread, with all that was
   * committed besides, and does not hold up the answer of a COMMIT.
   */
  sendSoon(type, fields) {
    this.#take({ type, at: performance.now(), fields, soon: true });
  }

  #take(message) {
    if (!this.hears) this.#lost += 1;
    else if (this.#open) this.#say(message);
    else this.#keep(message);
  }

  /** A worker thread links when it has something to say: most never do. */
  #keep(message) {
    this.#early.push(message);
    if (!this.#begun) this.connect();
  }

  /**
   * Ask, and wait at most `boundMs`. Resolves to the answer, or undefined: then stock behaviour follows, and the
   * sidecar is told that its answer is late. An older sidecar does not know every question, and is not asked those.
   */
  ask(fields, boundMs, type = "ask") {
    if (!this.#obeyed || !(type === "ask" || this.#answers.includes(type))) return Promise.resolve(undefined);
    const ask = `${threadId}.${(this.#nextAsk += 1)}`;
    const since = process.hrtime.bigint();
    const late = () => {
      const { window, fence, current = fence } = fields;
      const latency = String(process.hrtime.bigint() - since);
      this.send("applied", { window, ok: false, fence, current, latency, ask, reason: "nobody waits for the answer" });
    };
    return new Promise((resolve) => {
      // A busy process runs its timers ahead of what has come in meanwhile: an answer that is there is heard first.
      const giveUp = () => setImmediate(() => this.#giveUp(ask, late));
      const timer = setTimeout(giveUp, boundMs);
      this.#asks.set(ask, { resolve, timer });
      this.send(type, { ask, ...fields });
    });
  }

  /** A report that could not even be made. Told as lost ahead of the next one. */
  lose() {
    this.#lost += 1;
  }

  /** The process ends: everything has been said. */
  bye() {
    if (this.#due) this.#greet();
    if (this.#open) this.#say({ type: "bye", at: performance.now(), fields: {} });
  }

  #connected() {
    this.#buffer = "";
    this.#challenge = "";
    this.#due = true;
    if (own.isKeyAwaited()) this.#awaitKey(this.#socket);
    else this.#awaitChallenge();
  }

  async #awaitKey(socket) {
    await own.keyKnown(KEY_MS);
    if (socket === this.#socket && !socket.destroyed) safely("link", () => this.#awaitChallenge());
  }

  #awaitChallenge() {
    if (!own.heldKey() || this.#challenge) this.#greet();
    else this.#waiting = setTimeout(() => safely("link", () => this.#greet()), CHALLENGE_MS).unref();
  }

  #greet() {
    this.#noLongerDue();
    this.#open = true;
    this.#seq = 0;
    this.#unwritten = [];
    this.#nonce = own.newNonce();
    this.#shown = own.heldKey();
    const proof = this.#shown && this.#challenge ? own.proofOf("gateway", this.#challenge) : "";
    this.#proven = proof !== "";
    const fields = {
      protocol: PROTOCOL,
      oldest: OLDEST,
      pid: process.pid,
      thread: threadId,
      started: String(BigInt(Math.round(performance.timeOrigin)) * 1000000n),
      node: process.version,
      preload: PRELOAD_VERSION,
      state_dir: stateDir(),
      lost: this.#lost,
      script: own.SCRIPT,
      key: this.#shown,
      proof,
      nonce: this.#nonce,
      ...this.describe.hello(),
    };
    this.#say({ type: "hello", at: performance.now(), fields });
    const again = this.#early === null || this.#lost > 0;
    this.#lost = 0;
    this.#full = false;
    const early = this.#early ?? [];
    this.#early = null;
    for (const message of early) this.#say(message);
    this.describe.connected(again);
  }

  #noLongerDue() {
    this.#due = false;
    clearTimeout(this.#waiting);
    this.#waiting = undefined;
  }

  #say(message) {
    this.#unwritten.push(message);
    if (message.soon && this.#unwritten.length <= MAX_UNWRITTEN) {
      this.#writeSoon();
      return;
    }
    // What is only announced is not over: no byte may be there of which nothing was said.
    const over = OVER.has(message.type) && message.fields.phase !== "begin";
    if (!over || this.#unwritten.length > MAX_UNWRITTEN || this.#first(message)) this.#write();
    else if (this.#unwritten.length === 1) this.#wait();
  }

  /** The first lock that was given back in some time: nothing else of it comes. */
  #first({ type, at }) {
    if (type !== "lock.released" || at - this.#release < APART_MS) return false;
    this.#release = at;
    return true;
  }

  #writeSoon() {
    if (this.#soon) return;
    this.#soon = true;
    queueMicrotask(() => {
      this.#soon = false;
      if (this.#open) safely("link", () => this.#write());
    });
  }

  #wait() {
    if (this.#timer) this.#timer.refresh();
    else this.#timer = setTimeout(() => this.#open && safely("link", () => this.#write()), OVER_MS).unref();
  }

  /** One write for all: each costs the gateway as much as all else about a report. */
  #write() {
    if (this.#writing) return;
    this.#writing = true;
    let lines = "";
    try {
      while (this.#unwritten.length > 0) lines += this.#next(lines.length);
    } finally {
      this.#writing = false;
      // As bytes: a text that is written stays in memory until the next full collection, with what it is made of.
      if (lines) this.#socket.write(Buffer.from(lines));
    }
  }

  /** The next line; empty when its message is dropped, or others must go ahead of it. */
  #next(ahead) {
    if (this.#socket.writableLength + ahead > MAX_QUEUED_BYTES) {
      this.#lost += this.#unwritten.length;
      this.#full = true;
      this.#unwritten = [];
      return "";
    }
    if (this.#lost > 0 && this.#unwritten[0].type !== "hello") return this.#lostLine();
    const { type, at, fields } = this.#unwritten.shift();
    const line = this.#line(type, at, fields);
    if (line.length <= MAX_LINE_BYTES) return line;
    this.#seq -= 1;
    this.#lost += 1;
    return "";
  }

  #lostLine() {
    const [count, full, waiting] = [this.#lost, this.#full, this.#unwritten];
    this.#lost = 0;
    this.#full = false;
    this.#unwritten = [];
    // What began meanwhile would look like a stranger's deed until it ends.
    if (full) this.describe.missed();
    this.#unwritten.push(...waiting);
    return this.#line("lost", performance.now(), { count });
  }

  /** A message as the wire has it. Its fields are not copied: they are many, and come often. */
  #line(type, at, fields) {
    const head = `{"t":"${type}","seq":${(this.#seq += 1)},"at":"${toNs(at)}"`;
    const body = toJson(fields);
    return body === "{}" ? `${head}}\n` : `${head},${body.slice(1)}\n`;
  }

  #received(chunk) {
    this.#buffer += chunk;
    // What follows on something that can't be understood is not listened to.
    while (!this.#socket.destroyed) {
      const end = this.#buffer.indexOf("\n");
      const length = end < 0 ? this.#buffer.length : end;
      if (length > MAX_LINE_BYTES) this.#socket.destroy();
      if (end < 0 || length > MAX_LINE_BYTES) return;
      const line = this.#buffer.slice(0, end);
      this.#buffer = this.#buffer.slice(end + 1);
      this.#handle(line);
    }
  }

  #handle(line) {
    let message;
    try {
      message = JSON.parse(line);
    } catch {
      this.#socket.destroy();
      return;
    }
    if (message === null || typeof message !== "object") return;
    if (message.t === "challenge") this.#challenged(message);
    if (!this.#open && message.t !== "reject") return;
    switch (message.t) {
      case "welcome":
        this.#welcomed(message);
        return;
      case "reject":
        this.#rejected = true;
        this.#sayAbsent({ code: typeof message.reason === "string" ? message.reason : "rejected" });
        this.#socket.destroy();
        return;
      case "sync":
        if (typeof message.sync !== "string") return;
        this.describe.syncing();
        this.send("synced", { sync: message.sync });
        return;
      case "approve":
      case "refuse":
      case "wait":
      case "patience":
        if (!this.#obeyed) return;
        if (message.ask) this.#settle(message.ask, message);
        else this.onCommand(message);
        return;
      default:
      // A newer sidecar may say things that we do not know; they are none of ours.
    }
  }

  #challenged({ nonce }) {
    if (this.#challenge || typeof nonce !== "string" || !/^[0-9a-f]{32}$/.test(nonce)) return;
    this.#challenge = nonce;
    if (this.#waiting) this.#greet();
  }

  #welcomed(message) {
    const { protocol } = message;
    this.#obeyed = false; // until all of it is seen to be right
    this.#welcome = Number.isInteger(protocol) && protocol >= OLDEST && protocol <= PROTOCOL;
    this.#recovers = message.mode === "recover";
    this.#answers = Array.isArray(message.answers) ? message.answers : [];
    this.#retryMs = FIRST_RETRY_MS;
    if (this.#welcome) this.#judge(message);
    if (!this.#obeyed) this.#forget();
    else if (!this.#shown) own.keepKey(message.key, message.secret);
    if (threadId === 0) own.settleKey(true);
  }

  /** Whether this is a sidecar to obey; if not, why not. */
  #judge(message) {
    // The one that gave us our key or, where we have none, one that we may take one from.
    const strange = this.#shown ? this.#whyUnproven(message.proof) : whyNotOurs(this.path);
    const doubt = this.#whyUnverified(message);
    this.#obeyed = strange === undefined && doubt === undefined;
    if (this.#obeyed) return;
    if (this.#hasMoreToShow()) {
      this.#retryMs = LAST_RETRY_MS;
      this.#socket.destroy();
    } else if (strange !== undefined) {
      this.send("trouble", { where: SIDECAR, reason: strange.slice(0, 300) });
      this.#sayOnce("unknown", `the sidecar at ${this.path} is not obeyed, because ${strange}`);
    } else {
      this.#sayOnce("unverified", `the sidecar at ${this.path} does not believe this process: ${doubt}`);
    }
  }

  /** A key that another thread got meanwhile, or one that could not be proven as its challenge came late. */
  #hasMoreToShow() {
    return own.heldKey() !== this.#shown || (this.#shown && this.#challenge && !this.#proven);
  }

  #whyUnproven(proof) {
    if (own.isProof(proof, "sidecar", this.#nonce)) return undefined;
    return "it does not prove that it is the one that gave this process its key; if it is, restart the gateway";
  }

  /** What an older sidecar says it says to all; a newer one only to whom it has verified. */
  #whyUnverified({ protocol, verified, reason }) {
    if (protocol < VERIFYING || verified === true) return undefined;
    return typeof reason === "string" ? reason : "";
  }

  /** Said ahead of all that the gateway does without an answer. */
  #giveUp(ask, late) {
    if (!this.#asks.has(ask)) return;
    if (this.#late.size >= MAX_LATE) this.#late.delete(this.#late.keys().next().value);
    this.#late.set(ask, late);
    safely("link", late);
    this.#settle(ask, undefined);
  }

  #settle(ask, answer) {
    const waiting = this.#asks.get(ask);
    if (!waiting) {
      this.#late.get(ask)?.();
      this.#late.delete(ask);
      return;
    }
    this.#asks.delete(ask);
    clearTimeout(waiting.timer);
    waiting.resolve(answer);
  }

  #closed() {
    this.#noLongerDue();
    this.#open = false;
    this.#welcome = false;
    if (threadId === 0) own.settleKey(false);
    if (this.#early) {
      this.#lost += this.#early.length;
      this.#early = null;
    }
    this.#forget();
    if (this.#rejected) this.#retryMs = LAST_RETRY_MS;
    setTimeout(() => safely("link", () => this.connect()), this.#retryMs).unref();
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS);
  }

  /** Nobody is there whose answers count: nothing is waited for, and nothing stays approved. */
  #forget() {
    this.#obeyed = false;
    this.#late.clear();
    for (const ask of [...this.#asks.keys()]) this.#settle(ask, undefined);
    this.describe.disconnected();
  }

  #sayAbsent(error) {
    this.#sayOnce("absent", `no sidecar at ${this.path} (${String(error?.code ?? error?.message)})`);
  }

  /** One line of each kind in the life of a gateway, however often the link fails: its children know it was said. */
  #sayOnce(kind, what) {
    const said = (process.env[SAID] ?? "").split(" ");
    if (threadId !== 0 || said.includes(kind)) return;
    process.env[SAID] = [...said, kind].join(" ").trim();
    const line = what.replace(/[^\x20-\x7e]+/g, " ").slice(0, 600);
    process.stderr.write(`[openclaw-sidecar] ${line}; the gateway goes on as unpatched\n`);
  }
}

// The key that this process and its sidecar know each other by. The sidecar gives it to a process that it has verified.
//
// It lies in memory that the threads of this process share, and nowhere else: no environment variable, no file, no child
// process and no line of output has it. It stays bytes here, so that no text of it lies about in the heap.
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import fs from "node:fs";
import { getEnvironmentData, isMainThread, setEnvironmentData } from "node:worker_threads";

const NAME = "openclaw-sidecar.process";
const ID_BYTES = 16;
const SECRET_BYTES = 32;
// What becomes of the key. SETTLED: the main thread is linked, and was given none.
const AWAITED = 0;
const SETTLED = 1;
const WRITING = 2;
const HELD = 3;

/** What the threads of this process share: the key's memory and the script that the process was started with. */
function shared() {
  const found = getEnvironmentData(NAME);
  if (found) return found;
  // A thread that is older than the preload of the main thread has a room of its own, and nobody to wait for.
  const made = { memory: new SharedArrayBuffer(4 + ID_BYTES + SECRET_BYTES), script: isMainThread ? mainScript() : "" };
  setEnvironmentData(NAME, made);
  if (!isMainThread) Atomics.store(new Int32Array(made.memory, 0, 1), 0, SETTLED);
  return made;
}

function mainScript() {
  try {
    return fs.realpathSync(process.argv[1]);
  } catch {
    return "";
  }
}

const { memory, script } = shared();
const state = new Int32Array(memory, 0, 1);
const keyId = new Uint8Array(memory, 4, ID_BYTES);
const secret = new Uint8Array(memory, 4 + ID_BYTES, SECRET_BYTES);

/** The real path of the process' main script; empty where it is not known. */
export const SCRIPT = script;

/** The id of the key, in hexadecimal; empty while there is none. */
export function heldKey() {
  return Atomics.load(state, 0) === HELD ? Buffer.from(keyId).toString("hex") : "";
}

/** Keep a key for the life of this process. The first one stays. */
export function keepKey(idHex, secretHex) {
  const given = [Buffer.from(String(idHex), "hex"), Buffer.from(String(secretHex), "hex")];
  if (given[0].length !== ID_BYTES || given[1].length !== SECRET_BYTES) return;
  const before = Atomics.load(state, 0);
  if (before >= WRITING || Atomics.compareExchange(state, 0, before, WRITING) !== before) return;
  keyId.set(given[0]);
  secret.set(given[1]);
  Atomics.store(state, 0, HELD);
  Atomics.notify(state, 0);
}

/** The main thread says whether it may still get a key: not while it is linked without one. */
export function settleKey(settled) {
  const [from, to] = settled ? [AWAITED, SETTLED] : [SETTLED, AWAITED];
  if (Atomics.compareExchange(state, 0, from, to) === from) Atomics.notify(state, 0);
}

/** Resolves when it is known whether there is a key, or when `boundMs` are over. It keeps no thread alive. */
export async function keyKnown(boundMs) {
  const until = performance.now() + boundMs;
  for (let now = Atomics.load(state, 0); now === AWAITED || now === WRITING; now = Atomics.load(state, 0)) {
    const left = until - performance.now();
    if (left <= 0) return;
    await Atomics.waitAsync(state, 0, now, left).value;
  }
}

/** Whether a thread has to wait for the main thread, which may still get a key. */
export function isKeyAwaited() {
  return !isMainThread && Atomics.load(state, 0) !== SETTLED && !heldKey();
}

export function newNonce() {
  return randomBytes(ID_BYTES).toString("hex");
}

/** What shows that `speaker` ("gateway" or "sidecar") has the key. */
export function proofOf(speaker, nonce) {
  return createHmac("sha256", Buffer.from(secret)).update(`${speaker}\n${nonce}`).digest("hex");
}

/** Whether it does; compared in constant time. */
export function isProof(proof, speaker, nonce) {
  const given = Buffer.from(typeof proof === "string" ? proof : "", "hex");
  const right = Buffer.from(proofOf(speaker, nonce), "hex");
  return given.length === right.length && timingSafeEqual(given, right);
}

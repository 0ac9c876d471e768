// One OpenClaw process of the benchmark: the release's own lock, fence and session manager (tests/compat/harness), told
// in lines of JSON what to do. It plays runs (`play`, then `go`) and writes as a co-tenant under the lock (`write`).
import { AsyncResource } from "node:async_hooks";
import fs from "node:fs";
import readline from "node:readline";

const { where, run } = globalThis[Symbol.for("compat.bundle")];
const bundle = {};
for (const [name, url] of Object.entries(where)) bundle[name] = (await import(url))[name];
const { runEmbeddedAttempt } = await import(run);
const { answer, begin, prompt } = await import(process.env.BENCH_OPERATIONS);

const TIMEOUT_MS = 30_000;
const outside = new AsyncResource("bench.outside");
const waiting = new Map();

function say(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

/** The last record that can be read: a stranger may have left anything in the file. */
function tip(file) {
  for (const line of fs.readFileSync(file, "utf8").split("\n").reverse()) {
    try {
      const { id } = JSON.parse(line);
      if (id) return id;
    } catch {
      // Not this one.
    }
  }
  return null;
}

const queues = new Map();

/** One at a time for each file, as the gateway queues its transcript writers: its lock is for processes only. */
async function write(command) {
  const { file } = command;
  const ahead = queues.get(file) ?? Promise.resolve();
  const turn = ahead.then(() => writeLocked(command));
  const settled = turn.catch(() => {});
  queues.set(file, settled);
  try {
    return await turn;
  } finally {
    if (queues.get(file) === settled) queues.delete(file);
  }
}

async function writeLocked({ file, marker }) {
  const lock = await bundle.acquireSessionWriteLock({ sessionFile: file, timeoutMs: TIMEOUT_MS });
  try {
    const content = [{ type: "text", text: "a note" }];
    const message = { role: "user", content, timestamp: Date.now() };
    const record = { id: marker, parentId: tip(file), timestamp: new Date().toISOString(), type: "message", message };
    fs.appendFileSync(file, `${JSON.stringify(record)}\n`);
  } finally {
    await lock.release();
  }
  return {};
}

async function play({ id, file, session }) {
  begin(file);
  return runEmbeddedAttempt({
    bundle,
    sessionFile: file,
    sessionId: session,
    hadSessionFile: true,
    sessionKey: `agent:main:${session}`,
    runId: session,
    trigger: "user",
    timeoutMs: TIMEOUT_MS,
    prompt: prompt(),
    answers: [answer()],
    window: () =>
      new Promise((resolve) => {
        waiting.set(id, resolve);
        say({ id, open: true });
      }),
  });
}

const DEEDS = { play, write };

async function obey(command) {
  const { id, deed } = command;
  if (deed === "go") {
    waiting.get(id)();
    waiting.delete(id);
    return;
  }
  try {
    say({ id, done: await DEEDS[deed](command) });
  } catch (error) {
    say({ id, error: String(error?.stack ?? error) });
  }
}

say({ id: "ready" });
for await (const line of readline.createInterface({ input: process.stdin })) {
  outside.runInAsyncScope(() => void obey(JSON.parse(line)));
}
process.exit(0);

// Has runs append messages to transcripts in databases, with the functions of an installed OpenClaw, and times each of
// their transactions from BEGIN to the return of COMMIT. There are two agents, each with a database of its own: what one
// does goes through the preload's hooks, what the other does passes them by. So both share all else. Answers with the
// times of a round, and with the processor time of the whole process for each append, in microseconds.
import { randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import path from "node:path";
import { performance } from "node:perf_hooks";
import readline from "node:readline";
import { setImmediate, setTimeout } from "node:timers/promises";

const { DatabaseSync } = createRequire(import.meta.url)("node:sqlite");
const stock = DatabaseSync.prototype.exec;

const { where, run } = globalThis[Symbol.for("compat.bundle")];
const bundle = {};
for (const [name, url] of Object.entries(where)) bundle[name] = (await import(url))[`driven_${name}`];
const { runEmbeddedAttempt } = await import(run);

const EXEC = { plain: timed(stock), hooked: timed(DatabaseSync.prototype.exec) };
const AGENTS = path.join(process.env.OPENCLAW_STATE_DIR, "agents");
const TEXT = "A longer answer, of some lines. ".repeat(50);

let times = [];

function timed(exec) {
  let began; // undefined in a transaction that only reads
  return function execTimed(sql) {
    if (sql === "BEGIN IMMEDIATE") began = performance.now();
    const result = exec.call(this, sql);
    if (sql !== "COMMIT") return result;
    if (began !== undefined) times.push((performance.now() - began) * 1000);
    began = undefined;
    return result;
  };
}

const content = (text) => [{ type: "text", text }];

function answer() {
  const cost = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, total: 0 };
  const usage = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, totalTokens: 0, cost };
  const about = { api: "openai-completions", provider: "mock", model: "slow", stopReason: "stop", usage };
  return { role: "assistant", content: content(TEXT), timestamp: Date.now(), ...about };
}

/** One run that appends so many answers; between two of them it awaits its model, or only lets the event loop turn. */
async function round(agentId, count, thinking) {
  DatabaseSync.prototype.exec = EXEC[agentId];
  const id = randomUUID();
  const storePath = path.join(AGENTS, agentId, "sessions", "sessions.json");
  const target = { agentId, sessionId: id, sessionKey: `agent:${agentId}:${id}`, storePath };
  const entry = { sessionId: id, updatedAt: Date.now(), status: "running", activeWriterRunId: id };
  await bundle.replaceSessionEntry({ agentId, sessionKey: target.sessionKey, storePath }, entry);
  let before;
  const { checks } = await runEmbeddedAttempt({
    bundle,
    target,
    runId: id,
    sessionKey: target.sessionKey,
    prompt: { role: "user", content: content("a question"), timestamp: Date.now(), idempotencyKey: `${id}:user` },
    before: [],
    answers: Array.from({ length: count }, answer),
    async window() {
      times = [];
      before = process.cpuUsage();
    },
    between: () => (thinking ? setTimeout(thinking) : setImmediate()),
  });
  if (checks.length !== count || checks.some((check) => check !== "ok")) throw new Error(checks.join(" "));
  const { user, system } = process.cpuUsage(before);
  return { times, cpu: (user + system) / count };
}

process.stdout.write(`${JSON.stringify({ id: "ready" })}\n`);
for await (const command of readline.createInterface({ input: process.stdin })) {
  const { id, agent, count, thinking } = JSON.parse(command);
  process.stdout.write(`${JSON.stringify({ id, ...(await round(agent, Number(count), Number(thinking))) })}\n`);
}
process.exit(0);

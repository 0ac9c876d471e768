// Takes the session lock of a released OpenClaw, appends a record and gives the lock back, as often as it is told to.
// Answers with the wall time of each cycle and the processor time of all of them, in microseconds.
import fs from "node:fs";
import { performance } from "node:perf_hooks";
import readline from "node:readline";

const [module] = process.argv.slice(2);
const acquire = Object.values(await import(module)).find(({ name }) => name === "acquireSessionWriteLock");
const line = `${JSON.stringify({ type: "message", id: "x", message: { role: "user", content: "y".repeat(300) } })}\n`;

async function cycle(sessionFile) {
  const lock = await acquire({ sessionFile, timeoutMs: 10_000 });
  fs.appendFileSync(sessionFile, line);
  await lock.release();
}

async function cycles(file, count) {
  const times = [];
  const before = process.cpuUsage();
  for (let number = 0; number < count; number += 1) {
    const started = performance.now();
    await cycle(file);
    times.push((performance.now() - started) * 1000);
  }
  const { user, system } = process.cpuUsage(before);
  return { times, cpu: (user + system) / count };
}

process.stdout.write(`${JSON.stringify({ id: "ready" })}\n`);
for await (const command of readline.createInterface({ input: process.stdin })) {
  const { id, file, count } = JSON.parse(command);
  process.stdout.write(`${JSON.stringify({ id, ...(await cycles(file, Number(count))) })}\n`);
}
process.exit(0);

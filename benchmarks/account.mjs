// Appends through node:fs with and without the account of writes, in turns within one process, so that the machine's
// mood meets both alike. Prints one JSON object.
import fs from "node:fs";
import path from "node:path";
import { performance } from "node:perf_hooks";

const [directory, preload, roundsText] = process.argv.slice(2);
const rounds = Number(roundsText);
const sessions = path.join(directory, "sessions");
fs.mkdirSync(sessions, { recursive: true });
const line = `${JSON.stringify({ type: "message", id: "x", message: { role: "user", content: "y".repeat(1500) } })}\n`;
const plain = fs.writeFileSync; // appendFileSync calls it by its public, watched name
const { watchFileSystem } = await import(`file://${preload}/filesystem.mjs`);
let reports = 0;
watchFileSystem(() => (reports += 1));
const watched = fs.writeFileSync;

function time(append, file) {
  const started = performance.now();
  append(file, line, { flag: "a" });
  return (performance.now() - started) * 1000;
}

function median(values) {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}

const results = {};
for (const [name, file] of [
  ["session", path.join(sessions, "a.jsonl")],
  ["other", path.join(directory, "other.txt")],
]) {
  const before = [];
  const after = [];
  for (let round = 0; round < rounds; round += 1) {
    before.push(time(plain, file));
    after.push(time(watched, file));
  }
  results[name] = { plain_us: median(before), watched_us: median(after) };
}
console.log(JSON.stringify({ ...results, reports }));

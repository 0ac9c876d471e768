// Times appends through node:fs, with the account of writes ("watched") or without. Prints one JSON object with the
// median in microseconds for a session file and for another file.
import fs from "node:fs";
import path from "node:path";
import { performance } from "node:perf_hooks";

const [directory, preload, mode, roundsText] = process.argv.slice(2);
const rounds = Number(roundsText);
const sessions = path.join(directory, "sessions");
fs.mkdirSync(sessions, { recursive: true });
const line = `${JSON.stringify({ type: "message", id: "x", message: { role: "user", content: "y".repeat(1500) } })}\n`;
let reports = 0;
if (mode === "watched") {
  const { watchFileSystem } = await import(`file://${preload}/account/fs_hooks.mjs`);
  watchFileSystem(() => (reports += 1));
}

function median(file) {
  const times = [];
  for (let round = 0; round < rounds; round += 1) {
    const started = performance.now();
    fs.appendFileSync(file, line);
    times.push((performance.now() - started) * 1000);
  }
  return times.sort((a, b) => a - b)[rounds >> 1];
}

console.log(
  JSON.stringify({
    session: median(path.join(sessions, "a.jsonl")),
    other: median(path.join(directory, "other.txt")),
    reports,
  }),
);

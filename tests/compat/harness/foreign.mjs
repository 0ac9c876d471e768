// A process of its own that writes to session files: no lock, no preload.
import fs from "node:fs";
import readline from "node:readline";

import { OPERATIONS } from "./operations.mjs";

/** Take the session lock as an OpenClaw process does, and keep it. The gateway goes by the process' arguments. */
function lockTimeout(file) {
  const payload = { pid: process.pid, createdAt: new Date().toISOString() };
  fs.writeFileSync(`${file}.lock`, `${JSON.stringify(payload, null, 2)}\n`, { flag: "wx" });
  return [];
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { id, operation, file } = JSON.parse(line);
  let answer;
  try {
    answer = { id, records: { ...OPERATIONS, lockTimeout }[operation](file) };
  } catch (error) {
    answer = { id, error: String(error?.stack ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

// A process of its own that writes to session files: no lock, no preload.
import readline from "node:readline";

import { OPERATIONS } from "./operations.mjs";

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { id, operation, file } = JSON.parse(line);
  let answer;
  try {
    answer = { id, records: OPERATIONS[operation](file) };
  } catch (error) {
    answer = { id, error: String(error?.stack ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

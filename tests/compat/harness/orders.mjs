// Orders for a gateway's process, one JSON line for each, and what came of them.
import { AsyncResource } from "node:async_hooks";
import readline from "node:readline";

const outside = new AsyncResource("compat.outside");

/** In the async context of everything that is not part of a run. */
export const apart = (work) => outside.runInAsyncScope(work);

export function say(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

/** Say these facts, then play what is ordered until there are no more orders. `go` lets a run that waits go on. */
export async function obeyAll(facts, play, go) {
  async function obey(message) {
    if (message.go) {
      go();
      return;
    }
    try {
      say({ result: await play(message) });
    } catch (error) {
      say({ error: String(error?.stack ?? error) });
    }
  }

  say({ ready: true, ...facts });
  const pending = new Set();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const message = JSON.parse(line);
    const done = apart(() => obey(message)).finally(() => pending.delete(done));
    pending.add(done);
  }
  await Promise.all(pending);
  process.exit(0);
}

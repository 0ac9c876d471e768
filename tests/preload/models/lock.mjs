// A MODEL of the session lock, after facts/openclaw.md, 5: <session>.jsonl.lock, made with O_EXCL, unlinked at the end.
import fs from "node:fs/promises";
import { SessionWriteLockTimeoutError } from "./shared.mjs";

const holders = new Map(); // path -> how many of this process are in (facts/openclaw.md, 5: from 2026.5.22 on)

async function acquireSessionWriteLock({ sessionFile, timeoutMs = 5000, allowReentrant = false }) {
  const path = `${sessionFile}.lock`;
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      await fs.writeFile(path, JSON.stringify({ pid: process.pid }), { flag: "wx" });
      holders.set(path, 1);
      return { release: () => leave(path) };
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
      if (allowReentrant && holders.has(path)) {
        holders.set(path, holders.get(path) + 1);
        return { release: () => leave(path) };
      }
      if (performance.now() > deadline) throw new SessionWriteLockTimeoutError(path);
      await new Promise((later) => setTimeout(later, 2));
    }
  }
}

async function leave(path) {
  const left = holders.get(path) - 1;
  if (left > 0) holders.set(path, left);
  else {
    holders.delete(path);
    await fs.unlink(path);
  }
}

async function appendInjectedAssistantMessageToTranscript(params) {
  const { sessionFile, allowReentrant, whenIn } = params;
  const lock = await acquireSessionWriteLock({ sessionFile, allowReentrant });
  try {
    await whenIn?.(params.record); // not in the bundle: lets a test do something in the lock
    await fs.appendFile(params.sessionFile, `${JSON.stringify(params.record)}\n`);
  } finally {
    await lock.release();
  }
}

export { acquireSessionWriteLock, appendInjectedAssistantMessageToTranscript };

// A MODEL of the session lock, after facts/openclaw.md, 5: <session>.jsonl.lock, made with O_EXCL, unlinked at the end.
import fs from "node:fs/promises";
import { SessionWriteLockTimeoutError } from "./shared.mjs";

async function acquireSessionWriteLock({ sessionFile, timeoutMs = 5000 }) {
  const path = `${sessionFile}.lock`;
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      await fs.writeFile(path, JSON.stringify({ pid: process.pid }), { flag: "wx" });
      return { release: () => fs.unlink(path) };
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
      if (performance.now() > deadline) throw new SessionWriteLockTimeoutError(path);
      await new Promise((later) => setTimeout(later, 2));
    }
  }
}

async function appendInjectedAssistantMessageToTranscript(params) {
  const lock = await acquireSessionWriteLock({ sessionFile: params.sessionFile });
  try {
    await fs.appendFile(params.sessionFile, `${JSON.stringify(params.record)}\n`);
  } finally {
    await lock.release();
  }
}

export { acquireSessionWriteLock, appendInjectedAssistantMessageToTranscript };

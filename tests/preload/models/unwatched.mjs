// A MODEL of the fence of 2026.5.22 to 5.27 as far as it differs from that of 5.18 (swap.mjs): the check is put around a
// method that the agent's session may not have, and what a run writes beside it sets the fence anew. The real 2026.5.22
// is run in tests/e2e/test_unwatched_fence.py.
import { AsyncLocalStorage } from "node:async_hooks";
import { statSync } from "node:fs";
import { acquireSessionWriteLock, appendInjectedAssistantMessageToTranscript } from "./lock.mjs";
import { SessionWriteLockTimeoutError, Takeover, readFingerprint, same } from "./shared.mjs";

async function readSessionFileFingerprint(sessionFile) {
  return await readFingerprint(sessionFile);
}

function readSessionFileFingerprintSync(sessionFile) {
  const { dev, ino, size, mtimeNs, ctimeNs } = statSync(sessionFile, { bigint: true });
  return { exists: true, dev, ino, size, mtimeNs, ctimeNs };
}

function sameSessionFileFingerprint(left, right) {
  return same(left, right);
}

function installSessionEventWriteLock({ session, withSessionWriteLock }) {
  const original = session._processAgentEvent;
  if (typeof original !== "function") return;
  session.__openclawSessionEventWriteLockInstalled = true;
  session._processAgentEvent = (event) => withSessionWriteLock(() => original.call(session, event));
}

async function createEmbeddedAttemptSessionLockController(params) {
  const { lockOptions } = params;
  const file = lockOptions.sessionFile;
  const acquire = () => params.acquireSessionWriteLock({ ...lockOptions });
  const active = new AsyncLocalStorage();
  let held = await acquire();
  let fence;
  let fenced = false;
  let takeover = false;

  async function acquireOrTrip() {
    try {
      return await acquire();
    } catch (error) {
      if (error instanceof SessionWriteLockTimeoutError) takeover = true;
      throw error;
    }
  }
  async function check() {
    if (!fenced) return;
    const current = await readSessionFileFingerprint(file);
    if (sameSessionFileFingerprint(fence, current)) return;
    takeover = true;
    throw new Takeover(file);
  }
  return {
    async releaseForPrompt() {
      if (!held) return;
      const lock = held;
      held = undefined;
      fence = await readSessionFileFingerprint(file);
      fenced = true;
      await lock.release();
    },
    async withSessionWriteLock(run) {
      if (takeover) throw new Takeover(file);
      if (active.getStore()) return await run();
      const owned = !held;
      const lock = held ?? (await acquireOrTrip());
      try {
        await check();
        const result = await active.run(lock, run);
        if (fenced && !takeover) fence = await readSessionFileFingerprint(file);
        return result;
      } finally {
        if (owned) await lock.release();
      }
    },
    async acquireForCleanup() {
      const nothing = { release: async () => {} };
      if (takeover) return nothing;
      const lock = held ?? (await acquireOrTrip());
      held = undefined;
      try {
        await check();
      } catch (error) {
        await lock.release();
        if (error instanceof Takeover) return nothing;
        throw error;
      }
      return lock;
    },
    refreshAfterOwnedSessionWrite() {
      if (fenced && !takeover) fence = readSessionFileFingerprintSync(file);
    },
    hasSessionTakeover: () => takeover,
  };
}

async function runEmbeddedAttempt(params) {
  return await params.attempt();
}

export {
  acquireSessionWriteLock,
  appendInjectedAssistantMessageToTranscript,
  createEmbeddedAttemptSessionLockController,
  installSessionEventWriteLock,
  readSessionFileFingerprint,
  readSessionFileFingerprintSync,
  runEmbeddedAttempt,
  Takeover,
};
export * from "./work.mjs";

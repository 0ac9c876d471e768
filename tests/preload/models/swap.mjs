// A MODEL of the fence of 2026.5.18 to 5.20, after facts/openclaw.md, 3: the functions have the names and the behaviour
// of the bundle's, and nothing else of it. The real controllers are driven end to end in tests/e2e.
import { AsyncLocalStorage } from "node:async_hooks";
import { acquireSessionWriteLock, appendInjectedAssistantMessageToTranscript } from "./lock.mjs";
import { SessionWriteLockTimeoutError, Takeover, readFingerprint, same } from "./shared.mjs";

async function readSessionFileFingerprint(sessionFile) {
  return await readFingerprint(sessionFile);
}

function sameSessionFileFingerprint(left, right) {
  return same(left, right);
}

function installSessionEventWriteLock(params) {
  return params.session;
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
    hasSessionTakeover: () => takeover,
    /** Not in the bundle: a fence that no watched reading has seen. */
    forgeFence(other) {
      fence = other;
    },
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
  runEmbeddedAttempt,
  Takeover,
};
export * from "./work.mjs";

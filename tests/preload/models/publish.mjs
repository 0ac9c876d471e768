// A MODEL of the fence of the releases that have a registry of owned writes and a reload (2026.6.9 to 7.x), after
// facts/openclaw.md, 3 and 4. The real controllers are driven end to end in tests/e2e.
import { acquireSessionWriteLock, appendInjectedAssistantMessageToTranscript } from "./lock.mjs";
import { SessionWriteLockTimeoutError, Takeover, readFingerprint, same } from "./shared.mjs";

export const owned = new Map();

async function readSessionFileFingerprint(sessionFile) {
  return await readFingerprint(sessionFile);
}

function sameSessionFileFingerprint(left, right) {
  return same(left, right);
}

function resolveSessionFileFenceKey(sessionFile) {
  return `key:${sessionFile}`;
}

function recordOwnedSessionFileWrite(key, fingerprint, entries, requiresReload) {
  owned.set(key, { fingerprint, entries, requiresReload });
}

function guardSessionManager(manager) {
  return manager;
}

async function createEmbeddedAttemptSessionLockController(params) {
  const file = params.lockOptions.sessionFile;
  const acquire = () => params.acquireSessionWriteLock({ ...params.lockOptions });
  let held = await acquire();
  let fence;
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
    const current = await readSessionFileFingerprint(file);
    if (sameSessionFileFingerprint(fence, current)) return;
    const published = owned.get(resolveSessionFileFenceKey(file));
    if (published?.requiresReload && sameSessionFileFingerprint(published.fingerprint, current)) {
      params.reloadPromptReleasedSessionFile();
      fence = current;
      return;
    }
    takeover = true;
    throw new Takeover(file);
  }
  return {
    async releaseForPrompt() {
      const lock = held;
      held = undefined;
      fence = await readSessionFileFingerprint(file);
      await lock.release();
    },
    async withSessionWriteLock(run) {
      if (takeover) throw new Takeover(file);
      const lock = await acquireOrTrip();
      try {
        await check();
        const result = await run();
        fence = await readSessionFileFingerprint(file);
        return result;
      } finally {
        await lock.release();
      }
    },
    async dispose() {},
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
  guardSessionManager,
  readSessionFileFingerprint,
  recordOwnedSessionFileWrite,
  resolveSessionFileFenceKey,
  runEmbeddedAttempt,
  Takeover,
};

// A run, driven: the real one needs the whole gateway and a model. It is made of the real controller, lock, session
// manager and guard, in the order of the real `runEmbeddedAttempt`; what is left out is the agent between them.
// Loaded under an address in the bundle: the preload knows a run by the name of this function.
async function runEmbeddedAttempt(params) {
  const { bundle, sessionFile, sessionId, hadSessionFile, timeoutMs, prompt, answers, window } = params;
  let sessionManager;
  const controller = await bundle.createEmbeddedAttemptSessionLockController({
    acquireSessionWriteLock: bundle.acquireSessionWriteLock,
    lockOptions: { sessionFile, timeoutMs, staleMs: 1800000, maxHoldMs: 300000 },
    mergePromptReleasedSessionEntries: (entries) =>
      sessionManager.mergePromptReleasedSessionEntries(entries, { persistLeaf: true }),
    reloadPromptReleasedSessionFile: () => {
      sessionManager.setSessionFile(sessionFile);
    },
  });
  const facts = { checks: [], takeover: false, cleanup: "" };
  try {
    sessionManager = bundle.guardSessionManager(bundle.SessionManager.open(sessionFile), {
      agentId: "main",
      sessionKey: params.sessionKey,
      onMessagePersisted: () => controller.refreshAfterOwnedSessionWrite?.(),
      withCompactionPersistence: (append, validate) => controller.withOwnedSessionFileWrite(append, validate),
    });
    const session = { sessionManager, _processAgentEvent: async () => {} };
    bundle.installSessionEventWriteLock?.({
      session,
      withSessionWriteLock: (run) => controller.withSessionWriteLock(run),
    });
    await controller.withSessionWriteLock(() =>
      bundle.prepareSessionManagerForRun({ sessionManager, sessionFile, hadSessionFile, sessionId, cwd: "/" }),
    );
    await controller.withSessionWriteLock(() => sessionManager.appendMessage(prompt));
    await controller.releaseForPrompt();
    await window({ controller, sessionManager, facts, timeoutMs });
    // From 2026.5.22 the run takes the lock again as soon as the model begins to answer: the first check there is.
    const again = controller.reacquireAfterPrompt && (await outcome(() => controller.reacquireAfterPrompt()));
    if (again && again !== "ok") facts.checks.push(again);
    else {
      for (const answer of answers) {
        const write = () => controller.withSessionWriteLock(() => sessionManager.appendMessage(answer));
        facts.checks.push(await outcome(write));
      }
    }
    const lock = await controller.acquireForCleanup({ session: {} });
    await lock?.release?.();
    facts.cleanup = "ok";
  } finally {
    facts.takeover = controller.hasSessionTakeover();
    await controller.dispose?.();
  }
  return facts;
}

async function outcome(run) {
  try {
    await run();
    return "ok";
  } catch (error) {
    return String(error?.name ?? error);
  }
}

export { runEmbeddedAttempt, outcome };

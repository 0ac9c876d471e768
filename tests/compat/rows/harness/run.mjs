// A run, driven: the real one needs the whole gateway and a model. It is made of the real session manager, guard and
// writer context, in the order of the real `runEmbeddedAttempt`; what is left out is the agent between them.
// Loaded under an address in the bundle: the preload knows a run by the name of this function.
const CONTEXT_LIMITS = { maxBytes: 1_024_000, maxEvents: 10_000 }; // what the real one has for a usual context

async function runEmbeddedAttempt(params) {
  const { bundle, target, runId, prompt, before, answers, window, between = () => undefined } = params;
  const context = {
    sessionKey: target.sessionKey,
    sessionTarget: { ...target, expectedWriterRunId: runId },
    withTranscriptWrite: (write) => write(),
  };
  return await bundle.withOwnedSessionTranscriptWrites(context, async () => {
    const manager = bundle.guardSessionManager(bundle.SessionManager.open(target, "/", CONTEXT_LIMITS), {
      agentId: target.agentId,
      runId,
      sessionKey: target.sessionKey,
    });
    manager.appendMessage(prompt);
    for (const message of before) manager.appendMessage(message);
    await window();
    const checks = [];
    let promptError;
    for (const answer of answers) {
      // As the real one, this run goes no further when its answer could not be appended.
      try {
        manager.appendMessage(answer);
        checks.push("ok");
      } catch (error) {
        checks.push(nameOf(error));
        promptError = error;
        break;
      }
      await between();
    }
    return { checks, promptError };
  });
}

/** The name of an error, with SQLite's own code where it has one. */
function nameOf(error) {
  return error?.errcode === undefined ? String(error?.name ?? error) : `${error.name} ${error.errcode & 0xff}`;
}

export { runEmbeddedAttempt };

// A MODEL of what 2026.8.1 to 9.6 have around a run's claim of its session, and of the errors that cost a turn. Declared
// as there: a class is a variable. tests/e2e meets the bundle's own on whole gateways.
const claims = new Map(); // session key -> run
const cancels = new Map(); // run -> what stops it

var SqliteTranscriptMutationConflictError = class extends Error {
  constructor(session) {
    super(`SQLite transcript changed while preparing rewrite for ${session}`);
    this.name = "SqliteTranscriptMutationConflictError";
  }
};
var SessionTranscriptWriterClaimReboundError = class extends Error {
  constructor(refusal) {
    super("session writer claim changed before transcript persistence");
    this.refusal = refusal;
    this.name = "SessionTranscriptWriterClaimReboundError";
  }
};
var ActiveTurnClaimError = class extends Error {
  constructor(message) {
    super(message);
    this.name = "ActiveTurnClaimError";
  }
};
var SessionTranscriptProjectionUnavailableError = class extends Error {
  constructor(session) {
    super(`Session transcript projection is rebuilding: ${session}`);
    this.name = "SessionTranscriptProjectionUnavailableError";
  }
};

function runOpenClawAgentWriteTransaction(operation) {
  return operation();
}

function resolveTranscriptAppendRefusal(entry, resolved, scope) {
  if (entry?.sessionId === resolved.sessionId && entry.activeWriterRunId === scope.expectedWriterRunId) return undefined;
  return { code: entry ? "session-rebound" : "session-entry-missing" };
}

function supersedeEmbeddedAgentRunByRunId(run, beforeCancel) {
  const cancel = cancels.get(run);
  if (!cancel) return false;
  beforeCancel();
  cancel();
  return true;
}

async function claimAgentSessionWriter({ runId, sessionKey, changed }) {
  if (changed) throw new Error("Session changed before writer admission");
  const previous = claims.get(sessionKey);
  claims.set(sessionKey, runId);
  if (previous && previous !== runId) supersedeEmbeddedAgentRunByRunId(previous, () => {});
  return { expectedWriterRunId: runId };
}

async function runEmbeddedAgent(params) {
  await claimAgentSessionWriter(params);
  params.admit?.();
  return await params.run();
}

function transitionMainSessionRecovery(entry, command) {
  if (command.kind === "mark_interrupted") entry.activeWriterRunId = undefined;
  return { kind: "applied" };
}

async function performGatewaySessionReset({ key, refused }) {
  if (refused) return { ok: false };
  cancels.get(claims.get(key))?.();
  return { ok: true };
}

export const classes = () => ({
  ActiveTurnClaimError,
  SqliteTranscriptMutationConflictError,
  SessionTranscriptWriterClaimReboundError,
  SessionTranscriptProjectionUnavailableError,
});
export {
  cancels,
  claimAgentSessionWriter,
  performGatewaySessionReset,
  resolveTranscriptAppendRefusal,
  runEmbeddedAgent,
  runOpenClawAgentWriteTransaction,
  transitionMainSessionRecovery,
};

// Looks at the sources of modules as they load. Only a module that declares one of the hook points brings in the rest
// (runtime.mjs, or in a worker thread that writes rows rows/worker_rows.mjs).
import { createRequire, registerHooks } from "node:module";

// Names what a transaction is for.
const TRANSACTION = "runSqliteImmediateTransactionSync";
// A bundle that declares one of these has its transcripts in a database.
const ROW_POINTS = ["appendTranscriptEventInTransaction", "canRebasePreparedAssistantInTransaction"];
const HOOK_POINTS = [
  TRANSACTION,
  ...ROW_POINTS,
  "acquireSessionWriteLock",
  "createEmbeddedAttemptSessionLockController",
  "readSessionFileFingerprint",
  "readSessionFileFingerprintSync",
  "sameSessionFileFingerprint",
  "recordOwnedSessionFileWrite",
  "resolveSessionFileFenceKey",
  "installSessionEventWriteLock",
  "guardSessionManager",
  "runEmbeddedAttempt",
  "runGatewayLoop",
  "appendInjectedAssistantMessageToTranscript",
  "appendAssistantTranscriptMessage",
  "appendAssistantMessageToSessionTranscript",
  "appendExactAssistantMessageToSessionTranscript",
  "mirrorInternalSourceReplyToTranscript",
  "appendSessionTranscriptMessage",
  "appendVoiceTranscript",
  "appendDirectCronDeliveryTranscriptMirror",
  "persistTextTurnTranscript",
  "persistCliTurnTranscript",
  "persistTranscriptStateMutation",
  "truncateOversizedToolResultsInSession",
  "truncateOversizedToolResultsInSessionManager",
  "compactEmbeddedPiSessionDirect",
  "compactEmbeddedAgentSessionDirect",
];
// What begins work, and the bus: a worker thread has nothing to tell of these.
const MAIN_POINTS = [
  "handleGatewayRequest",
  "dispatchReplyFromConfig",
  "executeJobCore",
  "runHeartbeatOnce",
  "runSubagentAnnounceFlow",
  "agentCliCommand",
  "deliverOutboundPayloadsCore",
  "createMessageTool",
  "createSessionsSendTool",
  "enqueueCommandInLane",
  "callGateway",
  "handleCommands",
  "applyInlineDirectiveOverrides",
  "onInternalDiagnosticEvent",
];
// What a run loses its turn to. Of no use by themselves: they are kept until a module with one of the points above has
// loaded, which most processes of OpenClaw never do.
const LOSS_POINTS = [
  "runEmbeddedAgent",
  "claimAgentSessionWriter",
  "supersedeEmbeddedAgentRunByRunId",
  "transitionMainSessionRecovery",
  "performGatewaySessionReset",
  "resolveTranscriptAppendRefusal",
  "runOpenClawAgentWriteTransaction",
];
const ERRORS = [
  "SqliteTranscriptMutationConflictError",
  "SessionTranscriptWriterClaimReboundError",
  "SessionTranscriptProjectionUnavailableError",
  "SqliteSessionMutationConflictError",
  "SessionWorkStartChangedError",
  "SessionWorkStartInvalidatedError",
  "ActiveTurnClaimError",
  "TranscriptTurnAdmissionConflictError",
  "SessionTranscriptReadFenceError",
];
// What a worker thread may have of rows without the rest: it archives sessions.
const THREAD_POINTS = ["deleteTranscriptEventsInTransaction"];
const FENCE = "embedded prompt lock was released"; // the words of a fence's error, whatever its functions are called
const SYMBOL = Symbol.for("openclaw-sidecar.preload");

const load = createRequire(import.meta.url);
let seek; // how the sources are searched in this thread, from the first module of a bundle on
let inRows = false; // this is a worker thread whose transcripts are rows
const waiting = []; // points of losses, until there is more
let runtime;
const transactions = []; // where a worker thread makes transactions, of whatever database

function bringIn(points, from, fence) {
  if (!seek.isMainThread) {
    bringIntoWorker(points, from, fence);
    return;
  }
  const ofLosses = (name) => LOSS_POINTS.includes(name) || ERRORS.includes(name);
  if (!runtime && Object.keys(points).every(ofLosses)) {
    waiting.push([points, from, fence]);
    return;
  }
  runtime ??= load("./runtime.mjs");
  for (const earlier of waiting.splice(0)) runtime.install(...earlier);
  runtime.install(points, from, fence);
}

/** A worker thread whose transcripts are rows has no link of its own, and needs little. Most need nothing. */
function bringIntoWorker({ [TRANSACTION]: point, ...points }, from, fence) {
  const names = Object.keys(points);
  if (point) transactions.push(point);
  inRows ||= names.some((name) => ROW_POINTS.includes(name) || THREAD_POINTS.includes(name));
  if (inRows) load("./rows/worker_rows.mjs").install(transactions.splice(0));
  else if (names.length > 0) load("./runtime.mjs").install(points, from, fence);
}

/** Called by a module of the bundle as it loads. A preload that is broken must not break the gateway's start. */
function installed(points, from, fence) {
  try {
    bringIn(points, from, fence);
  } catch (error) {
    process.stderr.write(`[openclaw-sidecar] the preload is broken and stays out: ${String(error).slice(0, 200)}\n`);
  }
}

/** One expression for all names: a gateway loads tens of megabytes of source, and each is read once. */
function search() {
  const { isMainThread } = load("node:worker_threads"); // 2 MB and 4 ms, where nobody else loads it
  const names = [...HOOK_POINTS, ...(isMainThread ? [...MAIN_POINTS, ...LOSS_POINTS] : THREAD_POINTS)].join("|");
  const errors = ERRORS.join("|");
  const [mention, declare] = isMainThread ? [`|(?:${errors}) = class `, `|^var (${errors}) = class `] : ["", ""];
  return {
    isMainThread,
    mentions: new RegExp(`function (?:${names})\\(${mention}`),
    declares: new RegExp(`^(?:async )?function (${names})\\(${declare}`, "gm"),
  };
}

function declared(source) {
  return [...new Set(Array.from(source.matchAll(seek.declares), (match) => match[1] ?? match[2]))];
}

function instrument(url, source) {
  const text = typeof source === "string" ? source : Buffer.from(source).toString("utf8");
  const names = declared(text);
  if (names.length === 0) return undefined;
  globalThis[SYMBOL] ??= installed;
  const points = names.map((name) => `${name}:{get:()=>${name},set:(f)=>{${name}=f}}`).join(",");
  const where = `${JSON.stringify(url)},${text.includes(FENCE)}`;
  // Appended, never edited in: function declarations are mutable bindings, and importers see the new value.
  return `${text}\n;globalThis[Symbol.for("openclaw-sidecar.preload")]?.({${points}},${where});\n`;
}

function mayDeclare(source) {
  seek ??= search();
  if (typeof source === "string") return seek.mentions.test(source);
  return seek.mentions.test(Buffer.from(source.buffer ?? source, source.byteOffset, source.byteLength).latin1Slice());
}

registerHooks({
  load(url, context, nextLoad) {
    const result = nextLoad(url, context);
    try {
      if (!url.includes("/dist/") || result.format !== "module" || !result.source) return result;
      if (!mayDeclare(result.source)) return result;
      const source = instrument(url, result.source);
      return source === undefined ? result : { ...result, source };
    } catch {
      return result;
    }
  },
});

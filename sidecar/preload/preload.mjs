// Entry of the preload. Given to Node with NODE_OPTIONS=--import, it is inherited by every Node program that the
// gateway starts, so it does nothing but look at the sources of modules as they load. Only a module that declares one
// of the hook points brings in the rest (runtime.mjs): no socket and no wrapped function before that.
//
// The default import: a named import of registerHooks would end every program that runs on a Node older than 22.15.
import nodeModule from "node:module";

const { createRequire, registerHooks } = nodeModule;

const HOOK_POINTS = [
  "acquireSessionWriteLock",
  "createEmbeddedAttemptSessionLockController",
  "readSessionFileFingerprint",
  "readSessionFileFingerprintSync",
  "sameSessionFileFingerprint",
  "recordOwnedSessionFileWrite",
  "resolveSessionFileFenceKey",
  "installSessionEventWriteLock",
  "guardSessionManager",
  "appendTranscriptEventInTransaction",
  "canRebasePreparedAssistantInTransaction",
  "runSqliteImmediateTransactionSync",
  "runEmbeddedAttempt",
  "runGatewayLoop",
  "appendInjectedAssistantMessageToTranscript",
  "appendAssistantTranscriptMessage",
  "appendAssistantMessageToSessionTranscript",
  "appendExactAssistantMessageToSessionTranscript",
  "mirrorInternalSourceReplyToTranscript",
  "appendSessionTranscriptMessage",
  "appendDirectCronDeliveryTranscriptMirror",
  "persistTextTurnTranscript",
  "persistCliTurnTranscript",
  "persistTranscriptStateMutation",
  "truncateOversizedToolResultsInSession",
  "truncateOversizedToolResultsInSessionManager",
  "compactEmbeddedPiSessionDirect",
  "compactEmbeddedAgentSessionDirect",
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
const FENCE = "embedded prompt lock was released"; // the words of a fence's error, whatever its functions are called
const SYMBOL = Symbol.for("openclaw-sidecar.preload");

let runtime;

function loadRuntime() {
  runtime ??= createRequire(import.meta.url)("./runtime.mjs");
  return runtime;
}

/** Called by a module of the bundle as it loads. A preload that is broken must not break the gateway's start. */
function installed(points, from, fence) {
  try {
    loadRuntime().install(points, from, fence);
  } catch (error) {
    process.stderr.write(`[openclaw-sidecar] the preload is broken and stays out: ${String(error).slice(0, 200)}\n`);
  }
}

// One expression for all names: a gateway loads tens of megabytes of source, and each is read once.
const NAMES = HOOK_POINTS.join("|");
const MENTIONS = new RegExp(`function (?:${NAMES})\\(`);
const DECLARES = new RegExp(`^(?:async )?function (${NAMES})\\(`, "gm");

function declared(source) {
  return [...new Set(Array.from(source.matchAll(DECLARES), (match) => match[1]))];
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
  if (typeof source === "string") return MENTIONS.test(source);
  return MENTIONS.test(Buffer.from(source.buffer ?? source, source.byteOffset, source.byteLength).latin1Slice());
}

if (typeof registerHooks === "function" && process.env.OPENCLAW_SIDECAR_PRELOAD !== "off") {
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
}

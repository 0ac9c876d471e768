// Who is writing: carried by AsyncLocalStorage from the function that starts the work to the call that writes.
//
// A context is {kind, name, run?, runContext?, channel?, origin?, live}. What begins work makes one (entry_points.mjs);
// a run and a function that writes for somebody in particular make theirs here. Nothing looks at the bytes.
import { AsyncLocalStorage } from "node:async_hooks";

import { safely } from "../guard.mjs";
import { Remembered, nameOf, sessionHash, text } from "./redact.mjs";
import { identify } from "./run_names.mjs";

const storage = new AsyncLocalStorage();

// Work that keeps its name when it delivers, mirrors or appends something: the mirror is only how it does it.
export const KEEPS_ITS_NAME = new Set(["cron", "heartbeat", "sessions_send", "subagent", "message_tool", "cli"]);

// Functions that write for somebody in particular, and who that is: (context, params) => [kind, name, run?].
const AUTHORS = {
  appendInjectedAssistantMessageToTranscript: injected,
  appendAssistantTranscriptMessage: injected,
  appendAssistantMessageToSessionTranscript: mirrored,
  appendExactAssistantMessageToSessionTranscript: mirrored,
  // What a run's message tool says in the chat that the run came from.
  mirrorInternalSourceReplyToTranscript: (context) => ["message_tool", context?.channel || context?.origin?.channel],
  appendSessionTranscriptMessage: appended,
  appendVoiceTranscript: () => ["channel", "voice"],
  appendDirectCronDeliveryTranscriptMirror: (context) => ["cron", context?.kind === "cron" ? context.name : "delivery"],
  persistTextTurnTranscript: answered,
  persistCliTurnTranscript: answered,
  persistTranscriptStateMutation: () => ["maintenance", ""],
  truncateOversizedToolResultsInSession: () => ["truncation", ""],
  truncateOversizedToolResultsInSessionManager: () => ["truncation", ""],
  compactEmbeddedPiSessionDirect: compacted,
  compactEmbeddedAgentSessionDirect: compacted,
};

const ENDED = 512;

const running = new Map(); // run id -> context
const ended = new Remembered(ENDED); // session key -> kind, name and id of the last run that ended there
const NOBODY = Object.freeze({ kind: "gateway" });

/** The gateway appends an assistant's message itself: a note, the answer to a command, or a reply that no run wrote. */
function injected(context, params) {
  if (params?.abortMeta) return ["command", "abort"];
  const origin = context?.origin;
  if (origin?.method === "chat.inject" || params?.label) return ["inject", nameOf(params?.label)];
  if (origin?.command !== undefined) return ["command", origin.command];
  return origin || context?.run ? ["mirror", context.channel || context.name] : ["inject", ""];
}

/** What was delivered to a channel is appended to a session. */
function mirrored(context, params) {
  if (KEEPS_ITS_NAME.has(context?.kind)) return [context.kind, context.name || context.channel];
  if (context?.origin?.command !== undefined) return ["command", context.origin.command];
  return ["mirror", context?.channel || context?.origin?.channel || nameOf(params?.channel)];
}

/** What every path above ends in. A channel that comes here by itself appends what it has delivered. */
function appended(context, params) {
  return context?.channel && !context.run ? mirrored(context, params) : undefined;
}

/** The text of a turn that another program answered, or what is missing of a turn that a run here has answered. */
function answered(context, params) {
  if (!params?.embeddedAssistantGapFill) return ["cli", ""];
  return ended.get(params.sessionKey) ?? [context?.kind ?? NOBODY.kind, context?.name];
}

function compacted(_context, params) {
  return ["compaction", nameOf(params?.trigger)];
}

/** The present context, or undefined. */
export function presentContext() {
  return storage.getStore();
}

/** Call a function in a context. */
export function inContext(context, call) {
  return storage.run(context, call);
}

function kindOf(context) {
  const { kind, name, run, origin, live, author } = context;
  if (run || author) return [kind, name];
  // What a command's message leads to outside any run is the command's.
  if (origin?.command !== undefined) return ["command", origin.command];
  // A timer that was set by work that has ended may do anybody's work.
  return live ? [kind, name] : ["gateway", ""];
}

/** The present writer as the wire has it. */
export function currentWriter() {
  const context = storage.getStore();
  if (!context) return NOBODY;
  const [kind, name] = kindOf(context);
  const writer = { kind };
  if (name) writer.name = name;
  if (context.run) writer.run = context.run;
  return writer;
}

/** The context of the present run, or undefined outside one. */
export function currentRun() {
  return storage.getStore()?.runContext;
}

/** The run of a context, as the wire has it. */
export function describeRun(context) {
  if (!context) return {};
  const { run, kind, name, session, trace, span } = context;
  const described = { run, kind, session };
  if (name) described.name = name;
  if (trace) described.trace = trace;
  if (span) described.span = span;
  return described;
}

/** The context of a run that is under way, by its id; undefined for any other. */
export function runUnderWay(run) {
  return running.get(run);
}

/** What a run with these parameters is, wherever it is begun. */
export function contextOfRun(params) {
  const outer = storage.getStore();
  const [kind, name] = safely("writers", () => identify(params, outer?.live ? outer : undefined)) ?? ["gateway", ""];
  return {
    kind,
    name,
    run: text(params?.runId),
    session: sessionHash(params?.sessionKey),
    channel: nameOf(params?.messageChannel) || nameOf(params?.messageProvider),
    windows: new Set(),
    live: true,
  };
}

/**
 * Wrap the function that carries out a run: everything in it is written by that run.
 * @param onEnd (context, {result} or {thrown}) => void
 * @param onBegin (context) => void
 */
export function wrapRun(original, onEnd, onBegin = () => {}) {
  return async function runEmbeddedAttempt(params, ...rest) {
    const context = contextOfRun(params);
    context.runContext = context;
    running.set(context.run, context);
    safely("writers", () => onBegin(context));
    const outcome = {};
    try {
      outcome.result = await storage.run(context, () => original.call(this, params, ...rest));
      return outcome.result;
    } catch (error) {
      outcome.thrown = error;
      throw error;
    } finally {
      context.live = false;
      ended.set(params?.sessionKey, [context.kind, context.name, context.run]);
      if (running.get(context.run) === context) running.delete(context.run);
      onEnd(context, outcome);
      context.manager = undefined; // what is remembered of a run must not keep its session
    }
  };
}

/** The bus told in which trace a run is. */
export function traceRun({ type, runId, trace }) {
  const context = running.get(runId);
  if (!context || typeof trace?.traceId !== "string") return;
  context.trace = text(trace.traceId);
  // An event of a model call is a child of the run's span; one of the run itself is that span.
  const own = typeof type === "string" && type.startsWith("run.");
  context.span = text(own ? trace.spanId : trace.parentSpanId) || context.span;
}

/** Wrap a function that writes for somebody in particular; inside a run it still is that run's writing. */
export function wrapAuthor(name, original) {
  const author = AUTHORS[name];
  return function wrapped(...args) {
    const context = safely("writers", () => authored(author, args[0]));
    return context ? storage.run(context, () => original.apply(this, args)) : original.apply(this, args);
  };
}

/** The context of an author; undefined inside another one, which knows better. */
function authored(author, params) {
  const outer = storage.getStore();
  if (outer?.author) return undefined;
  const found = author(outer, params);
  if (!found) return undefined;
  const [kind, name, of] = found;
  const run = outer?.run ?? of ?? (kind === "compaction" || kind === "truncation" ? text(params?.runId) : "");
  return { ...outer, kind, name: name ?? "", run, author: true, live: true };
}

/** The session manager of a run compacts in the middle of it: that is the run's writing, and a compaction. */
export function nameCompactions(manager) {
  const original = manager?.appendCompaction;
  if (typeof original !== "function" || Object.hasOwn(original, COMPACTS)) return;
  const wrapped = wrapAuthor("compactEmbeddedPiSessionDirect", original);
  manager.appendCompaction = Object.defineProperty(wrapped, COMPACTS, { value: true });
}

const COMPACTS = Symbol("openclaw-sidecar.compacts");

export const AUTHOR_POINTS = Object.keys(AUTHORS);

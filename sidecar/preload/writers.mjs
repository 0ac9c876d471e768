// Who is writing: carried by AsyncLocalStorage from the function that starts the work to the call that writes.
import { AsyncLocalStorage } from "node:async_hooks";
import { createHash } from "node:crypto";

const storage = new AsyncLocalStorage();

// The gateway's word for what started a run, in the words of the wire.
const TRIGGERS = {
  user: "user_turn",
  heartbeat: "heartbeat",
  cron: "cron",
  manual: "user_turn",
  memory: "maintenance",
  overflow: "compaction",
};

// Functions that write for somebody in particular.
const AUTHORS = {
  appendInjectedAssistantMessageToTranscript: (params) => ["inject", params?.label],
  appendAssistantTranscriptMessage: (params) => ["inject", params?.label],
  appendAssistantMessageToSessionTranscript: () => ["mirror", ""],
  appendExactAssistantMessageToSessionTranscript: () => ["mirror", ""],
  appendDirectCronDeliveryTranscriptMirror: () => ["cron", "delivery"],
  persistTextTurnTranscript: () => ["cli", ""],
  persistCliTurnTranscript: () => ["cli", ""],
  persistTranscriptStateMutation: () => ["maintenance", ""],
};

const running = new Map(); // run id -> context
const NOBODY = Object.freeze({ kind: "gateway" });

function text(value) {
  return typeof value === "string" ? value.slice(0, 120) : "";
}

/** Session keys leave the process hashed only. */
export function sessionHash(key) {
  return typeof key === "string" && key ? createHash("sha256").update(key).digest("hex").slice(0, 16) : "";
}

/** The present writer as the wire has it. */
export function currentWriter() {
  const context = storage.getStore();
  if (!context) return NOBODY;
  const writer = { kind: context.kind };
  if (context.name) writer.name = context.name;
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

/** Wrap the function that carries out a run: everything in it is written by that run. */
export function wrapRun(original, onEnd) {
  return async function runEmbeddedAttempt(params, ...rest) {
    const context = {
      kind: TRIGGERS[params?.trigger] ?? (params?.trigger ? "gateway" : "user_turn"),
      name: text(params?.jobId) || text(params?.messageChannel) || text(params?.messageProvider),
      run: text(params?.runId),
      session: sessionHash(params?.sessionKey),
      windows: new Set(),
    };
    context.runContext = context;
    running.set(context.run, context);
    try {
      return await storage.run(context, () => original.call(this, params, ...rest));
    } finally {
      if (running.get(context.run) === context) running.delete(context.run);
      onEnd(context);
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
    const [kind, label] = author(args[0]);
    const outer = storage.getStore();
    const context = { ...outer, kind, name: text(label), runContext: outer?.runContext };
    return storage.run(context, () => original.apply(this, args));
  };
}

export const AUTHOR_POINTS = Object.keys(AUTHORS);

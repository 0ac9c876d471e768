// The gateway's diagnostics bus: model calls, runs, session states and stalls, with the ids of the gateway's own trace.
// Only the fields named here leave the process; there is text in others.
import { safely } from "../guard.mjs";
import { sessionHash, text } from "../writers/redact.mjs";
import { consequenceOf } from "./gatewaylog.mjs";
import { placeOf } from "./otel_bridge.mjs";

const BUS = Symbol.for("openclaw.diagnosticEvents.state.v1");
const WANTED = [
  "model.call.started",
  "model.call.completed",
  "model.call.error",
  "run.started",
  "run.completed",
  "session.state",
  "session.long_running",
  "session.stalled",
  "session.stuck",
  "session.recovery.requested",
  "session.recovery.completed",
  "tool.execution.started",
  "tool.execution.completed",
  "tool.execution.error",
  "tool.execution.blocked",
  "log.record",
];

let attached;

function count(value) {
  return Number.isSafeInteger(value) && value >= 0 ? value : 0;
}

/** All tokens that went in, the cached ones too, as the gen_ai conventions want them. */
function promptTokens(usage) {
  return count(usage.promptTokens) || count(usage.input) + count(usage.cacheRead) + count(usage.cacheWrite);
}

/** An event as the wire has it; undefined for one that nobody wants to know of. */
export function reduce(event) {
  if (event.type === "log.record") return consequenceOf(event);
  const usage = event.usage ?? {};
  const place = placeOf(event.trace);
  const fields = {
    event: text(event.type),
    run: text(event.runId),
    call: text(event.callId ?? event.toolCallId),
    tool: text(event.toolName),
    session: sessionHash(event.sessionKey),
    provider: text(event.provider),
    model: text(event.model),
    duration_ms: Number.isFinite(event.durationMs) ? event.durationMs : 0,
    trace: text(place.traceId),
    span: text(place.spanId),
    parent: text(place.parentSpanId),
    exported: place.exported,
    unsampled: place.sampled === false,
    state: text(event.state ?? event.outcome),
    reason: text(event.classification ?? event.reason),
    error: text(event.errorCategory ?? event.errorType ?? event.outcome),
    input_tokens: promptTokens(usage) || count(event.inputTokens),
    output_tokens: count(usage.output ?? event.outputTokens),
  };
  return Object.fromEntries(Object.entries(fields).filter(([key, value]) => key === "event" || (value && value !== 0)));
}

/** Listen as soon as the bus is there; to be called now and then until it is. */
export function listen(onEvent) {
  const listeners = globalThis[BUS]?.listeners;
  if (!(listeners instanceof Set) || attached === listeners) return;
  attached = listeners;
  listeners.add(listener(onEvent));
}

/** Listen through the bus's own function: later releases keep account of who is interested in what. */
export function subscribe(register, onEvent) {
  if (attached) return;
  register(listener(onEvent), { include: WANTED });
  attached = globalThis[BUS]?.listeners ?? register;
}

function listener(onEvent) {
  return (event) => {
    safely("diagnostics", () => {
      if (WANTED.includes(event?.type)) onEvent(event);
    });
  };
}

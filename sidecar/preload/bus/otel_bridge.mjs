// The spans that the gateway's own OpenTelemetry plugin exports. Its events carry ids of a trace, but what it exports has
// ids of the OpenTelemetry SDK's making; to hang spans below those, the two must be brought together. The plugin starts
// the span of a run while the event that tells of the run is dispatched, and with the event's own time.
import { safely } from "../guard.mjs";
import { Remembered } from "../writers/redact.mjs";

const API = Symbol.for("opentelemetry.js.api.1"); // where @opentelemetry/api keeps what is registered in a process
const TRACER = "openclaw";
const RUN = "openclaw.run";
const MAX_RUNS = 1024;

const exported = new Remembered(MAX_RUNS); // span id on the bus -> what is exported for it
let watched;
let told; // the last run that the bus told of
let made; // the last run's span that the plugin made

/** Watch the plugin's tracer; to be called now and then, for the plugin starts late and may start anew. */
export function watchExporter() {
  const tracer = globalThis[API]?.trace?.getTracer?.(TRACER);
  if (!tracer || tracer === watched || typeof tracer.startSpan !== "function") return;
  watched = tracer;
  const original = tracer.startSpan;
  tracer.startSpan = function startSpan(name, options, ...rest) {
    const span = original.call(this, name, options, ...rest);
    if (name === RUN) safely("exporter", () => runSpan(span.spanContext(), options?.startTime));
    return span;
  };
}

function runSpan(context, at) {
  made = { context, at };
  join();
}

/** The bus told of a run, before the plugin heard of it or after. */
export function runStarted({ ts, trace }) {
  told = { at: ts, span: trace?.spanId };
  join();
}

function join() {
  if (!told?.span || !made || told.at !== made.at) return;
  const { traceId, spanId, traceFlags } = made.context;
  if (/^0*$/.test(traceId) || /^0*$/.test(spanId)) return; // nobody exports
  exported.set(told.span, { traceId, spanId, sampled: (traceFlags & 1) === 1 });
  told = undefined;
  made = undefined;
}

/** Where an event belongs: the ids that are exported where there are any, else those of the bus. */
export function placeOf(trace) {
  if (typeof trace?.traceId !== "string") return {};
  const own = exported.get(trace.spanId);
  const parent = exported.get(trace.parentSpanId);
  const known = own ?? parent;
  if (!known) return trace;
  return {
    traceId: known.traceId,
    spanId: own ? own.spanId : trace.spanId,
    parentSpanId: parent?.spanId ?? (own ? undefined : trace.parentSpanId),
    exported: true,
    sampled: known.sampled,
  };
}

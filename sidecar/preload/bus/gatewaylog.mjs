// Lines of the gateway's own log that mean a user was affected. They come over the diagnostics bus as text; only what
// class a line is of, ids, numbers and the path of a session file leave the process.
import { sessionPath } from "../paths.mjs";
import { sessionHash, text } from "../writers/redact.mjs";

const TAKEOVER = "session file changed while embedded prompt lock was released";
const LANE = /^lane task error: lane=(\S+) durationMs=(\d{1,15}) error="/;
const ATTENTION = /^(?:stalled|stuck|long-running) session: .*?\bsessionKey=(\S+) .*?\bage=(\d{1,12})s .*\brecovery=none$/;
const LOUD = new Set(["WARN", "ERROR", "FATAL"]);
const MAX_TEXT = 4096;

/** The file that a takeover's error names, if it is a session file. */
function fileIn(text) {
  const from = text.indexOf(TAKEOVER);
  if (from < 0) return "";
  const end = text.indexOf(".jsonl", from);
  const start = text.indexOf("/", from);
  return start < 0 || end < start ? "" : (sessionPath(text.slice(start, end + 6)) ?? "");
}

function laneTaskError(message) {
  const found = LANE.exec(message);
  if (!found) return undefined;
  const [, lane, duration] = found;
  return {
    event: "log.lane_task_error",
    session: lane.startsWith("session:") ? sessionHash(lane.slice("session:".length)) : "",
    duration_ms: Number(duration),
    reason: message.includes(TAKEOVER) ? "takeover" : "error",
    file: fileIn(message),
  };
}

function recoveryNone(message) {
  const found = ATTENTION.exec(message);
  if (!found) return undefined;
  return { event: "log.recovery_none", session: sessionHash(found[1]), duration_ms: Number(found[2]) * 1000 };
}

function candidateFailed(attributes) {
  if (attributes?.decision !== "candidate_failed") return undefined;
  const detail = Object.values(attributes).find((value) => typeof value === "string" && value.includes(TAKEOVER));
  if (detail === undefined) return undefined;
  return { event: "log.candidate_failed", run: attributes.runId, reason: "takeover", file: fileIn(detail) };
}

/** What a line of the log comes to, as the wire has it; undefined for the many that are none of ours. */
export function consequenceOf({ level, message, attributes, trace }) {
  if (!LOUD.has(level) || typeof message !== "string") return undefined;
  const line = message.slice(0, MAX_TEXT);
  const found = laneTaskError(line) ?? recoveryNone(line) ?? candidateFailed(attributes);
  if (!found) return undefined;
  const fields = { ...found, run: text(found.run), trace: text(trace?.traceId) };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value));
}

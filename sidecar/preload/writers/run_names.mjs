// What a run is: from what the gateway itself says of it (trigger, job, provenance, session key, channel), and from
// what began it.
import { Remembered, agentOf, isToken, nameOf } from "./redact.mjs";

const REMEMBERED = 512;

const jobs = new Remembered(REMEMBERED); // cron job id -> name
const children = new Remembered(REMEMBERED); // session key of a subagent -> id of its run
const commands = new Remembered(REMEMBERED); // id of a run that was asked for on a command line

/** Names of the gateway's own chat, where others have a channel. */
export const INTERNAL = new Set(["", "webchat", "internal"]);

/** A cron job is carried out. */
export function rememberJob(job) {
  jobs.set(job?.id, isToken(job?.name) ? job.name : nameOf(job?.id));
  return nameOfJob(job?.id);
}

/** A job's name if that is a word, else its id. */
export function nameOfJob(id) {
  return jobs.get(id) ?? nameOf(id);
}

/** A subagent has done its work. */
export function rememberChild(session, run) {
  if (isToken(run)) children.set(session, run);
}

/** A person asked for this run on a command line. */
export function rememberCommandLine(run) {
  commands.set(run, true);
}

/** Which subagent a session is of: its agent and its run. */
export function nameOfChild(session, run) {
  const id = nameOf(run) || children.get(session);
  return id ? `${agentOf(session)}/${id}` : agentOf(session);
}

/** Kind and name of a run. `outer` is the context of what began it, where that is certain. */
export function identify(params, outer) {
  const agent = agentOf(params?.sessionKey) || nameOf(params?.agentId);
  switch (params?.trigger) {
    case "cron":
      return ["cron", nameOfJob(params.jobId)];
    case "heartbeat":
      return outer?.kind === "cron" ? ["cron", outer.name] : ["heartbeat", agent];
    case "memory":
      return ["maintenance", agent];
    case "overflow":
      return ["compaction", "overflow"];
    case undefined:
    case null:
    case "":
    case "user":
    case "manual":
      return asked(params, outer, agent);
    default:
      return ["gateway", nameOf(params.trigger)];
  }
}

/** A run that somebody asked for: a person, another session, or a subagent. */
function asked(params, outer, agent) {
  const { inputProvenance: from, sessionKey, runId } = params ?? {};
  if (from?.kind === "inter_session") {
    const tool = nameOf(from.sourceTool);
    if (tool === "sessions_send") return ["sessions_send", agentOf(from.sourceSessionKey)];
    if (tool.startsWith("subagent") || isChild(from.sourceSessionKey)) {
      return ["subagent", nameOfChild(from.sourceSessionKey)];
    }
    return ["gateway", tool];
  }
  if (isChild(sessionKey)) return ["subagent", nameOfChild(sessionKey, runId)];
  if (outer?.kind === "cli" || commands.has(runId)) return ["cli", agent];
  const channel = nameOf(params?.messageChannel) || nameOf(params?.messageProvider);
  return [INTERNAL.has(channel) ? "user_turn" : "channel", channel];
}

function isChild(session) {
  return typeof session === "string" && session.includes(":subagent:");
}

// The functions of the gateway that begin a kind of work, each wrapped so that everything in it knows what it is. Which
// of them a release has is found by name; what is missing leaves a coarser name and no more.
import { safely } from "../guard.mjs";
import { Remembered, agentOf, nameOf } from "./redact.mjs";
import { INTERNAL, nameOfChild, nameOfJob, rememberChild, rememberCommandLine, rememberJob } from "./run_names.mjs";
import { KEEPS_ITS_NAME, inContext, presentContext } from "./writers.mjs";

const REMEMBERED = 512;
const COMMAND = /^\/([a-z][\w-]{0,31})(?=[\s:]|$)/i;
const DIRECTIVE = /^has([A-Z][A-Za-z]{1,30})Directive$/;

const callers = new Remembered(REMEMBERED); // idempotency key of a call to ourselves -> who made it

// Name of the function -> what its arguments say: the fields of a new context, or nothing.
const BEGINNINGS = {
  handleGatewayRequest: request,
  dispatchReplyFromConfig: inbound,
  executeJobCore: (_state, job) => ({ kind: "cron", name: rememberJob(job) }),
  runHeartbeatOnce: heartbeat,
  runSubagentAnnounceFlow: announcement,
  agentCliCommand: (options) => ({ kind: "cli", name: nameOf(options?.agent) }),
  deliverOutboundPayloadsCore: (params) => ({ channel: nameOf(params?.channel) }),
};

// Functions that make a tool, and the kind of what the tool writes.
const TOOLS = { createMessageTool: "message_tool", createSessionsSendTool: "sessions_send" };

function request({ req, client } = {}) {
  const key = req?.params?.idempotencyKey;
  if (client?.connect?.client?.mode === "cli") rememberCommandLine(key);
  const outer = presentContext();
  const caller = callers.get(key) ?? (outer?.live && KEEPS_ITS_NAME.has(outer.kind) ? outer : undefined);
  const origin = { method: nameOf(req?.method), command: undefined };
  if (origin.method === "sessions.compact") return { kind: "compaction", name: "manual", origin };
  if (!caller) return { kind: "gateway", origin };
  return { kind: caller.kind, name: caller.name, channel: nameOf(req?.params?.channel), origin };
}

/** A message came in: from a channel, or from the gateway's own chat. */
function inbound({ ctx } = {}) {
  const channel = nameOf(ctx?.Surface ?? ctx?.Provider).toLowerCase();
  const outer = presentContext();
  const inside = INTERNAL.has(channel);
  const origin = (inside && outer?.origin) || { method: "", command: undefined };
  origin.channel = channel;
  if (ctx?.CommandSource || (ctx?.CommandTurn?.kind ?? "normal") !== "normal") origin.command ??= "";
  return inside ? { channel, origin } : { kind: "channel", name: channel, channel, origin };
}

function heartbeat({ reason, agentId, sessionKey } = {}) {
  const job = typeof reason === "string" && reason.startsWith("cron:") ? reason.slice("cron:".length) : "";
  if (job) return { kind: "cron", name: nameOfJob(job) };
  return { kind: "heartbeat", name: nameOf(agentId) || agentOf(sessionKey) };
}

function announcement({ childSessionKey, childRunId } = {}) {
  rememberChild(childSessionKey, childRunId);
  return { kind: "subagent", name: nameOfChild(childSessionKey) };
}

/** A context that is no part of what it stands in, except where its fields leave that open. */
function contextOf(fields) {
  const outer = presentContext();
  if (!fields.kind) return { kind: "gateway", name: "", ...outer, ...fields, author: false, live: true };
  return { name: "", ...fields, live: true };
}

function wrapBeginning(name, original) {
  const begin = BEGINNINGS[name];
  const enter = (args) => safely("writers", () => contextOf(begin(...args)));
  if (original.constructor.name !== "AsyncFunction") {
    return function wrapped(...args) {
      const context = enter(args);
      return context ? inContext(context, () => original.apply(this, args)) : original.apply(this, args);
    };
  }
  return async function wrapped(...args) {
    const context = enter(args);
    if (!context) return await original.apply(this, args);
    try {
      return await inContext(context, () => original.apply(this, args));
    } finally {
      context.live = false; // a timer that was set in here may still carry it
    }
  };
}

/** A tool's `execute` writes for the run that calls it, and is more than that run's own text. */
function wrapTool(name, original) {
  const kind = TOOLS[name];
  return function wrapped(...args) {
    const tool = original.apply(this, args);
    safely("writers", () => {
      const { execute } = tool;
      if (typeof execute !== "function") return;
      const sender = kind === "sessions_send" ? agentOf(args[0]?.agentSessionKey) : "";
      tool.execute = function (...given) {
        const context = { ...presentContext(), kind, name: sender, author: false, live: true };
        return inContext(context, () => execute.apply(this, given));
      };
    });
    return tool;
  };
}

/** A lane carries out what was put into it from wherever it is emptied: the task keeps the context of who put it in. */
function wrapLane(original) {
  return function enqueueCommandInLane(lane, task, ...rest) {
    if (typeof task !== "function") return original.call(this, lane, task, ...rest);
    const context = presentContext();
    return original.call(this, lane, (...args) => inContext(context, () => task(...args)), ...rest);
  };
}

/** A call to ourselves goes over a socket, where contexts end; its key does not. */
function wrapCall(original) {
  return async function callGateway(options, ...rest) {
    safely("writers", () => {
      const outer = presentContext();
      // Its names only: a context leads to a run, and a run to its whole session.
      const { kind, name } = outer ?? {};
      if (KEEPS_ITS_NAME.has(kind)) callers.set(options?.params?.idempotencyKey, { kind, name });
    });
    return await original.call(this, options, ...rest);
  };
}

/** The gateway knows this command: it has answered it. Its first word is no text of a person's then. */
function wrapCommands(original) {
  return async function handleCommands(params, ...rest) {
    const { origin } = presentContext() ?? {};
    const word = safely("writers", () => COMMAND.exec(params?.command?.commandBodyNormalized ?? "")?.[1]);
    const result = await original.call(this, params, ...rest);
    if (origin && word && result?.shouldContinue === false) origin.command = word.toLowerCase();
    return result;
  };
}

/** The gateway takes some commands for directives of a message (/think, /queue), and answers one that is nothing else. */
function wrapDirectives(original) {
  return async function applyInlineDirectiveOverrides(params, ...rest) {
    const { origin } = presentContext() ?? {};
    const word = safely("writers", () => onlyDirective(params?.directives));
    const result = await original.call(this, params, ...rest);
    if (origin && word && result?.kind === "reply") origin.command = word;
    return result;
  };
}

/** The one directive that was found in a message, by the name of its field; undefined for none, and for several. */
function onlyDirective(directives) {
  const found = Object.keys(directives ?? {}).filter((field) => directives[field] === true && DIRECTIVE.test(field));
  return found.length === 1 ? DIRECTIVE.exec(found[0])[1].toLowerCase() : undefined;
}

const WRAPPERS = {
  ...Object.fromEntries(Object.keys(BEGINNINGS).map((name) => [name, (original) => wrapBeginning(name, original)])),
  ...Object.fromEntries(Object.keys(TOOLS).map((name) => [name, (original) => wrapTool(name, original)])),
  enqueueCommandInLane: wrapLane,
  callGateway: wrapCall,
  handleCommands: wrapCommands,
  applyInlineDirectiveOverrides: wrapDirectives,
};

/** Wrap a function that begins a kind of work. */
export function wrapWork(name, original) {
  return WRAPPERS[name](original);
}

export const WORK_POINTS = Object.keys(WRAPPERS);

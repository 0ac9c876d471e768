// The gateway's process: loads the release's code and plays runs as it is told, one JSON line for each.
import { randomUUID } from "node:crypto";
import path from "node:path";

import { apart, obeyAll, say } from "../../harness/orders.mjs";

const { where, run } = globalThis[Symbol.for("compat.bundle")];
const bundle = {};
for (const [name, url] of Object.entries(where)) bundle[name] = (await import(url))[`driven_${name}`];
const { runEmbeddedAttempt } = await import(run);

const storePath = path.join(process.env.OPENCLAW_STATE_DIR, "agents", "main", "sessions", "sessions.json");
const LONG = "All work and no play makes a long answer. ".repeat(200);
const AFTER = 10;

const content = (text) => [{ type: "text", text }];
const user = (text, fields = {}) => ({ role: "user", content: content(text), timestamp: Date.now(), ...fields });

function assistant(text, fields = {}) {
  const cost = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, total: 0 };
  const usage = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, totalTokens: 0, cost };
  const said = { role: "assistant", content: content(text), usage, timestamp: Date.now(), stopReason: "stop" };
  return { ...said, api: "openai-completions", provider: "mock", model: "slow", ...fields };
}

const toolCall = () =>
  assistant("", { content: [{ type: "toolCall", id: "call-1", name: "read", arguments: {} }], stopReason: "toolUse" });
const toolResult = () => ({
  role: "toolResult",
  toolCallId: "call-1",
  toolName: "read",
  isError: false,
  content: content("done"),
  timestamp: Date.now(),
});

const CONTEXT_FREE = { excludeFromContext: true, __openclaw: { contextFreeCommand: true } };

const append = (target, message) => bundle.appendTranscriptMessage(target, { message, cwd: "/" });

async function inject(target, fields) {
  const done = await bundle.appendInjectedAssistantMessageToTranscript({ ...target, message: "a reply", ...fields });
  if (!done.ok) throw new Error(done.error);
}

/** What the gateway writes when a person types a command: the input, and its own reply. */
async function command(target, inputFields = {}, replyFields = {}) {
  const key = randomUUID();
  await append(target, user("/help", { idempotencyKey: `${key}:user`, ...inputFields }));
  await inject(target, { idempotencyKey: key, ...replyFields });
}

// What the gateway's process does in the window, outside of the run.
const OPERATIONS = {
  nothing: async () => undefined,
  note: (target) => inject(target, {}),
  mirror: (target) => append(target, assistant("delivered", { provider: "openclaw", model: "delivery-mirror" })),
  answer: (target) => append(target, assistant("another run's")),
  compaction: async (target) => {
    const manager = bundle.SessionManager.open(target);
    manager.appendCompaction("short", manager.getBranch()[0].id, 10);
  },
  command: (target) => command(target),
  async commands(target) {
    for (let number = 0; number < 5; number += 1) await command(target);
  },
  contextFree: (target) => command(target, CONTEXT_FREE, { contextFreeCommand: true }),
  input: (target) => append(target, user("a message of a channel")),
};

let go = () => {};
const untold = () =>
  new Promise((resolve) => {
    go = resolve;
  });

/** What the link brought ahead of this moment has been read: reading is a turn of the event loop. */
async function loopTurned() {
  for (let turn = 0; turn < AFTER; turn += 1) await new Promise(setImmediate);
}

async function play({ id, operation, tool, held }) {
  const target = { agentId: "main", sessionId: id, sessionKey: `agent:main:${id}`, storePath };
  const entry = { sessionId: id, updatedAt: Date.now(), status: "running", activeWriterRunId: id };
  await bundle.replaceSessionEntry({ agentId: "main", sessionKey: target.sessionKey, storePath }, entry);
  const params = {
    bundle,
    target,
    runId: id,
    sessionKey: target.sessionKey,
    trigger: "user",
    prompt: user("the second question", { idempotencyKey: `${id}:user` }),
    before: tool ? [toolCall()] : [],
    answers: tool ? [toolResult(), assistant("The answer.")] : [assistant("The answer."), assistant(LONG)],
    async window() {
      await apart(() => OPERATIONS[operation](target));
      const told = untold();
      say({ open: true });
      await told;
      await loopTurned();
      if (held) say({ writing: true });
    },
  };
  const first = bundle.SessionManager.open(target);
  first.appendMessage(user("the first question"));
  first.appendMessage(assistant("the first answer"));
  const { checks } = await apart(() => runEmbeddedAttempt(params));
  return { checks };
}

await obeyAll({}, play, () => go());

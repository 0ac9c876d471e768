// The gateway's process: loads the release's code and plays runs as it is told, one JSON line for each.
import path from "node:path";

import { OPERATIONS, answer, begin, delivered, prompt, toolCall, toolResult } from "./operations.mjs";
import { apart, obeyAll, say } from "./orders.mjs";

const { where, run, ...facts } = globalThis[Symbol.for("compat.bundle")];
const bundle = {};
for (const [name, url] of Object.entries(where)) bundle[name] = (await import(url))[name];
const { runEmbeddedAttempt, outcome } = await import(run);

const TIMEOUT_MS = 10_000;

/** The release's own append of a message, as channels, commands and mirrors use it. */
async function appendTo(file, message) {
  const sessionId = path.basename(file, ".jsonl");
  const params = { transcriptPath: file, message, sessionId, cwd: "/", now: Date.now() };
  const { messageId } = await bundle.appendSessionTranscriptMessage(params);
  return [messageId];
}

async function asCotenant(file, work) {
  const lock = await bundle.acquireSessionWriteLock({ sessionFile: file, timeoutMs: TIMEOUT_MS });
  try {
    return work();
  } finally {
    await lock.release();
  }
}

/** Another run with a controller of its own on the same file, as a heartbeat's. */
async function secondController(file, options) {
  const { createEmbeddedAttemptSessionLockController: create, acquireSessionWriteLock } = bundle;
  const controller = await create({
    acquireSessionWriteLock,
    lockOptions: { sessionFile: file, timeoutMs: TIMEOUT_MS, staleMs: 1_800_000, maxHoldMs: 300_000 },
    mergePromptReleasedSessionEntries: () => undefined,
    reloadPromptReleasedSessionFile: () => {},
  });
  try {
    return await controller.withSessionWriteLock(async () => OPERATIONS.user(file), options);
  } finally {
    const lock = await controller.acquireForCleanup({ session: {} });
    await lock?.release?.();
    await controller.dispose?.();
  }
}

const published = (records) => records.map((id) => ({ kind: "id", id }));

// What happens in the window: (file, {controller, sessionManager, facts}) => ids of records that must not be lost.
const WINDOWS = {
  secondUnpublished: (file) => apart(() => secondController(file)),
  secondPublished: (file) => apart(() => secondController(file, { publishOwnedWrite: true, resolvePublishedEntries: published })),
  transcript: (file) => apart(() => appendTo(file, prompt())),
  transcriptMirror: (file) => apart(() => appendTo(file, delivered())),
  // What the run itself does while its lock is released. A message that one of its tools has delivered is mirrored by
  // the release's own append, so the run's session manager does not know of it.
  ownMirror: (file) => appendTo(file, delivered()),
  ownCompaction: async (_file, { sessionManager }) => [
    sessionManager.appendCompaction("short", sessionManager.getBranch()[0].id, 10),
  ],
  ownMetadata: async (_file, { sessionManager }) => [
    sessionManager.appendCustomEntry("note", { n: 1 }),
    sessionManager.appendLabelChange(sessionManager.getLeafId(), "a label"),
    sessionManager.appendSessionInfo("a name"),
    sessionManager.appendModelChange("mock", "slow"),
    sessionManager.appendThinkingLevelChange("low"),
  ],
  async ownTruncation(_file, { controller, sessionManager }) {
    await controller.withSessionWriteLock(() => {
      sessionManager.appendMessage(toolCall());
      sessionManager.appendMessage(toolResult("x".repeat(100_000)));
    });
    const { truncated, reason } = bundle.truncateOversizedToolResultsInSessionManager({
      sessionManager,
      contextWindowTokens: 2000,
    });
    if (!truncated) throw new Error(`nothing was truncated: ${reason}`);
    return sessionManager.getBranch().map((entry) => entry.id);
  },
  async lockedThrows(file, { controller, sessionManager, facts }) {
    const thrown = await outcome(() =>
      controller.withSessionWriteLock(() => {
        sessionManager.appendMessage(answer());
        throw new TypeError("after the write");
      }),
    );
    facts.checks.push(thrown === "TypeError" ? "thrown" : thrown);
    return [];
  },
  async unlocked(_file, { sessionManager }) {
    sessionManager.appendMessage(answer());
    return [];
  },
  lockTimeout: (file, inside) => holding(file, inside, "nothing"),
  lockTimeoutAndWrite: (file, inside) => holding(file, inside, "user"),
};

/** A co-tenant keeps the lock for longer than the run is willing to wait for it. */
async function holding(file, inside, operation) {
  const lock = await apart(() => bundle.acquireSessionWriteLock({ sessionFile: file, timeoutMs: TIMEOUT_MS }));
  const records = apart(() => OPERATIONS[operation](file));
  const checked = checkOnce(inside);
  try {
    const late = new Promise((resolve) => setTimeout(resolve, 2.5 * inside.timeoutMs));
    await Promise.race([checked, late]);
  } finally {
    await apart(() => lock.release());
  }
  await checked;
  return records;
}

async function checkOnce({ controller, facts }) {
  facts.checks.push(await outcome(() => controller.withSessionWriteLock(async () => undefined)));
}

let waiting = () => {};
const opened = (resolve) => {
  say({ open: true });
  waiting = resolve;
};

async function visit(file, operation) {
  const records = await apart(() => asCotenant(file, () => OPERATIONS[operation](file)));
  await new Promise((resolve) => setTimeout(resolve, 5)); // other work of the gateway
  return records;
}

async function play({ file, id, writer, operation, timeoutMs, twice, first }) {
  if (!first) begin(file);
  let records = [];
  const window = async (inside) => {
    if (operation in WINDOWS && writer !== "foreign") records = await WINDOWS[operation](file, inside);
    else if (writer === "cotenant") records = await visit(file, operation);
    else await new Promise(opened);
    if (twice || (writer === "foreign" && operation === "lockTimeout")) await checkOnce(inside);
    if (twice === "again") records.push(...(await visit(file, operation)));
  };
  const params = {
    bundle,
    sessionFile: file,
    sessionId: id,
    hadSessionFile: !first,
    sessionKey: `agent:main:${id}`,
    runId: id,
    trigger: "user",
    timeoutMs: timeoutMs ?? TIMEOUT_MS,
    prompt: prompt(),
    answers: [answer(), answer()],
    window,
  };
  const result = await apart(() => runEmbeddedAttempt(params));
  return { ...result, records };
}

await obeyAll(facts, play, () => waiting());

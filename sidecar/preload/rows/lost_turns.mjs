// What a run lost its turn to: the first error that it met, by its class or by SQLite's code, never by what it says.
//
// Errors are noted where they are made, or where they leave a transaction, for the run in whose context that is. Most do
// no harm: the gateway tries again. What counts is told when the run's attempt ends without an answer: the first error
// that the run has stored nothing after, or the very one that ended it. A later one does not hide it.
import { AsyncLocalStorage } from "node:async_hooks";

import { safely } from "../guard.mjs";
import { Remembered, nameOf, sessionHash, text } from "../writers/redact.mjs";
import { currentRun, describeRun, runUnderWay } from "../writers/writers.mjs";

const REMEMBERED = 512;
const MAX_ERRORS = 16;
const MAX_CAUSES = 5; // how far down an error's causes are followed

// Class of an error -> cause and detail.
const CLASSES = {
  SqliteTranscriptMutationConflictError: ["conflict"],
  SessionTranscriptWriterClaimReboundError: ["rebound"],
  SessionTranscriptProjectionUnavailableError: ["projection"],
  SqliteSessionMutationConflictError: ["admission", "mutation"],
  SessionWorkStartChangedError: ["admission", "start"],
  SessionWorkStartInvalidatedError: ["admission", "start"],
  ActiveTurnClaimError: ["admission", "turn_claim"],
  TranscriptTurnAdmissionConflictError: ["admission", "turn"],
  SessionTranscriptReadFenceError: ["admission", "read_fence"],
};

// SQLite's primary result codes -> cause and detail.
const CODES = new Map([
  [5, ["busy"]],
  [6, ["busy"]],
  [8, ["storage", "readonly"]],
  [10, ["storage", "ioerr"]],
  [11, ["storage", "corrupt"]],
  [13, ["storage", "full"]],
  [14, ["storage", "cantopen"]],
  [26, ["storage", "notadb"]],
]);

export const LOSS_POINTS = {
  ...Object.fromEntries(Object.keys(CLASSES).map((name) => [name, (losses, original) => losses.wrapClass(original)])),
  runOpenClawAgentWriteTransaction: (losses, original) => losses.wrapTransaction(original),
  resolveTranscriptAppendRefusal: (losses, original) => losses.wrapRefusal(original),
  claimAgentSessionWriter: (losses, original) => losses.wrapClaim(original),
  supersedeEmbeddedAgentRunByRunId: (losses, original) => losses.wrapSupersede(original),
  performGatewaySessionReset: (losses, original) => losses.wrapReset(original),
};

/** Cause and detail of an error; undefined for one that is none of ours. */
function kindOf(error) {
  if (!(error instanceof Error)) return undefined;
  return CODES.get(Number.isInteger(error.errcode) ? error.errcode & 0xff : undefined) ?? CLASSES[error.name];
}

/** An error, and those that caused it. */
function chainOf(error) {
  const chain = [];
  for (let next = error; next instanceof Error && chain.length < MAX_CAUSES; next = next.cause) chain.push(next);
  return chain;
}

/** The error with which an attempt ended, by its result. */
function failureOf({ result, thrown }) {
  if (thrown !== undefined) return thrown;
  const terminal = result?.terminal;
  return terminal?.kind === "failed" ? terminal.error : (terminal?.failure?.error ?? result?.promptError ?? undefined);
}

export class LostTurns {
  #tell;
  #begun = new Remembered(REMEMBERED); // runs of this process
  #resets = new Remembered(REMEMBERED); // hash of a session key -> when its last reset began
  #claims = new AsyncLocalStorage();

  /** `tell(type, fields)` sends a message. */
  constructor(tell) {
    this.#tell = tell;
  }

  /** A run begins an attempt. */
  began(run) {
    this.#begun.set(run.run, true);
    run.beganAt = performance.now();
    run.errors = [];
    run.unstored = new Set();
  }

  /** The run has stored something: what it met before did not cost its turn. */
  stored(run) {
    for (const known of run.errors ?? []) known.overcome = true;
  }

  /** The attempt of a run ended. `place` is {window, file, stored, inTheWay}, as far as the run has come to them. */
  ended(run, outcome, { window, file, stored, inTheWay }) {
    const loss = this.#lossOf(run, outcome);
    if (!loss) return;
    const row = { conflict: inTheWay, projection: stored }[loss.cause]?.() ?? -1;
    this.#tell("turn.lost", { run: describeRun(run), window, file, ...loss, row, tools: [...run.unstored] });
  }

  /** A class of the bundle's errors: each that is made is noted. */
  wrapClass(original) {
    const self = this;
    return new Proxy(original, {
      construct(target, args, made) {
        const error = Reflect.construct(target, args, made);
        safely("losses", () => self.#note(error));
        return error;
      },
    });
  }

  /** What leaves a transaction on the agent's database, or the opening of it, as an error. */
  wrapTransaction(original) {
    const self = this;
    return function runOpenClawAgentWriteTransaction(...args) {
      try {
        return original.apply(this, args);
      } catch (error) {
        safely("losses", () => self.#note(error));
        throw error;
      }
    };
  }

  /** The gateway's question whether a session still is the run's: why it is not. */
  wrapRefusal(original) {
    return function resolveTranscriptAppendRefusal(entry, resolved, scope, ...rest) {
      const refusal = original.call(this, entry, resolved, scope, ...rest);
      if (refusal) {
        safely("losses", () => {
          const run = currentRun();
          if (run) run.refusal ??= refusalOf(entry, resolved, scope);
        });
      }
      return refusal;
    };
  }

  /** A run claims its session. */
  wrapClaim(original) {
    const self = this;
    return async function claimAgentSessionWriter(params, ...rest) {
      const claim = { run: text(params?.runId), session: sessionHash(params?.sessionKey), previous: "", superseded: false };
      self.#begun.set(claim.run, true);
      const result = await self.#claims.run(claim, () => original.call(this, params, ...rest));
      if (result) {
        const { run, session, previous, superseded } = claim;
        safely("losses", () => self.#tell("claim", { run: { run, session }, previous, superseded }));
      }
      return result;
    };
  }

  /** A run that is under way is stopped for the one that claims its session. */
  wrapSupersede(original) {
    const self = this;
    return function supersedeEmbeddedAgentRunByRunId(runId, ...rest) {
      const claim = self.#claims.getStore();
      const run = runUnderWay(text(runId));
      // Ahead of the call, in which the run may end.
      if (run) run.supersededBy = claim?.run ?? "";
      const stopped = original.call(this, runId, ...rest);
      safely("losses", () => {
        if (claim) Object.assign(claim, { previous: text(runId), superseded: stopped === true });
        if (run && stopped !== true) run.supersededBy = undefined;
      });
      return stopped;
    };
  }

  /** Somebody resets a session. */
  wrapReset(original) {
    const self = this;
    return function performGatewaySessionReset(params, ...rest) {
      safely("losses", () => self.#resets.set(sessionHash(params?.key), performance.now()));
      return original.call(this, params, ...rest);
    };
  }

  /** The session manager of a run: which tools have a result that is not stored. */
  watchManager(manager, run) {
    const original = manager?.appendMessage;
    if (typeof original !== "function" || watched.has(manager)) return;
    watched.add(manager);
    manager.appendMessage = function appendMessage(message, ...rest) {
      const tool = message?.role === "toolResult" ? nameOf(message.toolName) || "unknown" : "";
      if (tool) run.unstored?.add(tool);
      const result = original.call(this, message, ...rest);
      if (tool) run.unstored?.delete(tool);
      return result;
    };
  }

  #note(error) {
    const run = currentRun();
    if (!run?.errors || run.errors.length >= MAX_ERRORS || run.errors.some((known) => known.error === error)) return;
    const kind = kindOf(error);
    if (kind) run.errors.push({ error, kind, overcome: false });
  }

  #lossOf(run, outcome) {
    const failure = failureOf(outcome);
    const aborted = outcome.result?.terminal?.kind === "aborted" || outcome.result?.aborted === true;
    const { errors = [], supersededBy, beganAt = 0 } = run;
    run.errors = undefined;
    if (failure === undefined && !aborted) return undefined;
    if ((this.#resets.get(run.session) ?? -1) >= beganAt) return { cause: "reset" };
    if (supersededBy !== undefined) return { cause: "superseded", ...this.#other(supersededBy) };
    if (failure === undefined) return undefined;
    const chain = chainOf(failure);
    const first = errors.find(({ error, overcome }) => !overcome || chain.includes(error));
    const kind = first?.kind ?? chain.map(kindOf).find((found) => found !== undefined);
    if (!kind) return undefined;
    const [cause, detail = ""] = kind;
    if (cause !== "rebound" || !run.refusal) return { cause, detail };
    return { cause, detail: run.refusal.detail, ...this.#other(run.refusal.claimant) };
  }

  #other(run) {
    if (!run) return {};
    return { other: run, known: this.#begun.has(run), live: runUnderWay(run) !== undefined };
  }
}

const watched = new WeakSet();

/** What of a session is not as the run claimed it, and who has the claim now. */
function refusalOf(entry, resolved, scope) {
  if (!entry) return { detail: "entry", claimant: "" };
  if (entry.sessionId !== resolved?.sessionId) return { detail: "session", claimant: "" };
  const expected = scope?.expectedWriterRunId;
  if (expected === undefined || entry.activeWriterRunId === expected) return { detail: "revision", claimant: "" };
  return { detail: "claim", claimant: nameOf(entry.activeWriterRunId) };
}

// What a run lost its turn to: the first error that it met, by its class or by SQLite's code, never by what it says.
//
// Errors are noted where they are made, or where they leave a transaction, for the run in whose context that is. Most do
// no harm: the gateway tries again. What counts is told when the attempt of a run ends, and has failed or could not store
// what it had: the first error that the run has stored nothing after, or the very one that ended it.
import { AsyncLocalStorage } from "node:async_hooks";

import { safely } from "../guard.mjs";
import { Remembered, nameOf, sessionHash, text } from "../writers/redact.mjs";
import { contextOfRun, currentRun, describeRun, runUnderWay } from "../writers/writers.mjs";

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

// Errors that have a name and no class of their own: what a database is refused with that was quarantined.
const NAMES = new Map([...Object.entries(CLASSES), ["SqliteIntegrityError", ["storage", "quarantined"]]]);

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

/** What the run met before did not cost its turn: it has stored something. An answer that is an error is none. */
function overcome(run) {
  for (const known of run.errors ?? []) known.overcome = true;
}

const OF_DATABASE = new Set(["busy", "storage"]);
const FAILED = new Set(["error", "aborted"]); // how an answer ends that is none

const watched = new WeakSet(); // session managers

export const LOSS_POINTS = {
  ...Object.fromEntries(Object.keys(CLASSES).map((name) => [name, (losses, original) => losses.wrapClass(original)])),
  runEmbeddedAgent: (losses, original) => losses.wrapStart(original),
  runOpenClawAgentWriteTransaction: (losses, original) => losses.wrapTransaction(original),
  resolveTranscriptAppendRefusal: (losses, original) => losses.wrapRefusal(original),
  claimAgentSessionWriter: (losses, original) => losses.wrapClaim(original),
  supersedeEmbeddedAgentRunByRunId: (losses, original) => losses.wrapSupersede(original),
  transitionMainSessionRecovery: (losses, original) => losses.wrapInterruption(original),
  performGatewaySessionReset: (losses, original) => losses.wrapReset(original),
};

/** Cause and detail of an error; undefined for one that is none of ours. */
function kindOf(error) {
  if (!(error instanceof Error)) return undefined;
  return CODES.get(Number.isInteger(error.errcode) ? error.errcode & 0xff : undefined) ?? NAMES.get(error.name);
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
  #released = new Remembered(REMEMBERED); // runs whose claim this process has taken back
  #claims = new AsyncLocalStorage();
  #starts = new AsyncLocalStorage(); // runs that have begun no attempt
  #told = new WeakSet(); // errors at a start
  #place = () => ({ window: "", file: "", stored: () => -1, inTheWay: () => -1 });

  /** `tell(type, fields)` sends a message. */
  constructor(tell) {
    this.#tell = tell;
  }

  /** Transcripts are in a database; `place(run)` is {window, file, stored, inTheWay}, as far as a run has come to them. */
  placeBy(place) {
    this.#place = place;
  }

  /** A run begins an attempt. */
  began(run) {
    const start = this.#starts.getStore();
    if (start) start.errors = undefined;
    this.#prepare(run);
  }

  #prepare(run) {
    this.#begun.set(run.run, true);
    run.beganAt = performance.now();
    run.errors = [];
    run.unstored = new Set();
    run.storing = 0;
  }

  /** The run has written something else to the database: what was wrong with that before was not the turn's end. */
  #wrote(run) {
    for (const known of run.errors) if (!known.storing && OF_DATABASE.has(known.kind[0])) known.overcome = true;
  }

  /** The attempt of a run ended: it gave {result}, or {thrown}. */
  ended(run, outcome) {
    const loss = this.#lossOf(run, outcome);
    if (!loss) return;
    const { window, file, stored, inTheWay } = this.#place(run);
    const { at, ...told } = loss;
    const row = { conflict: inTheWay, projection: stored }[loss.cause]?.() ?? -1;
    this.#tell("turn.lost", { run: describeRun(run), window, file, ...told, row, tools: [...run.unstored] }, at);
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
      let result;
      try {
        result = original.apply(this, args);
      } catch (error) {
        safely("losses", () => self.#note(error));
        throw error;
      }
      const run = currentRun();
      if (run?.errors?.length > 0) self.#wrote(run);
      return result;
    };
  }

  /** A run is to begin: it is told what it lost its turn to where it never comes to an attempt. */
  wrapStart(original) {
    const self = this;
    return function runEmbeddedAgent(params, ...rest) {
      const start = contextOfRun(params);
      self.#prepare(start);
      const running = self.#starts.run(start, () => original.call(this, params, ...rest));
      return self.#watched(start, running);
    };
  }

  /** The gateway's question whether a session still is the run's: why it is not. */
  wrapRefusal(original) {
    const self = this;
    return function resolveTranscriptAppendRefusal(entry, resolved, scope, ...rest) {
      const refusal = original.call(this, entry, resolved, scope, ...rest);
      if (refusal) {
        safely("losses", () => {
          const run = currentRun() ?? self.#starts.getStore();
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
      let result;
      try {
        result = await self.#claims.run(claim, () => original.call(this, params, ...rest));
      } catch (error) {
        safely("losses", () => self.#note(error, ["admission", "start"]));
        throw error;
      }
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

  /** The gateway takes back the claim of a run that its own restart interrupts. */
  wrapInterruption(original) {
    const self = this;
    return function transitionMainSessionRecovery(entry, ...rest) {
      const run = safely("losses", () => text(entry?.activeWriterRunId));
      const result = original.call(this, entry, ...rest);
      safely("losses", () => {
        if (run && !entry.activeWriterRunId) self.#released.set(run, true);
      });
      return result;
    };
  }

  /** Somebody resets a session. */
  wrapReset(original) {
    const self = this;
    return async function performGatewaySessionReset(params, ...rest) {
      const session = sessionHash(params?.key);
      self.#resets.set(session, performance.now()); // ahead of the call, in which the run is ended
      let done = false;
      try {
        const result = await original.call(this, params, ...rest);
        done = result?.ok !== false;
        return result;
      } finally {
        if (!done) self.#resets.delete(session);
      }
    };
  }

  /** The session manager of a run: which tools have a result that is not stored. */
  watchManager(manager, owner) {
    const original = manager?.appendMessage;
    if (typeof original !== "function" || watched.has(manager)) return;
    watched.add(manager);
    const self = this;
    manager.appendMessage = function appendMessage(message, ...rest) {
      const run = currentRun() ?? owner; // a later attempt may have the same manager
      if (!run?.unstored) return original.call(this, message, ...rest);
      const tool = message?.role === "toolResult" ? nameOf(message.toolName) || "unknown" : "";
      if (tool) run.unstored.add(tool);
      run.storing += 1;
      try {
        const result = original.call(this, message, ...rest);
        run.unstored.delete(tool);
        if (!FAILED.has(message?.stopReason)) overcome(run);
        return result;
      } catch (error) {
        safely("losses", () => self.#note(error));
        throw error;
      } finally {
        run.storing -= 1;
      }
    };
  }

  async #watched(start, running) {
    try {
      return await running;
    } catch (error) {
      safely("losses", () => this.#failedToStart(start, error));
      throw error;
    }
  }

  #failedToStart(start, error) {
    if (!start.errors || this.#told.has(error)) return;
    if (error instanceof Error) this.#told.add(error);
    this.ended(start, { thrown: error });
  }

  #note(error, otherwise) {
    const run = currentRun() ?? this.#starts.getStore();
    if (!run?.errors || run.errors.length >= MAX_ERRORS || run.errors.some((known) => known.error === error)) return;
    const kind = kindOf(error) ?? otherwise;
    if (kind) run.errors.push({ error, kind, at: performance.now(), storing: run.storing > 0, overcome: false });
  }

  #lossOf(run, outcome) {
    const failure = failureOf(outcome);
    const aborted = outcome.result?.terminal?.kind === "aborted" || outcome.result?.aborted === true;
    const { errors = [], supersededBy, beganAt = 0 } = run;
    run.errors = undefined;
    // The gateway goes on after an answer that it could not store, and takes the attempt for a good one.
    const unstored = errors.find(({ storing, overcome }) => storing && !overcome);
    if (failure === undefined && !aborted && !unstored) return undefined;
    if ((this.#resets.get(run.session) ?? -1) >= beganAt) return { cause: "reset" };
    if (supersededBy !== undefined) return { cause: "superseded", ...this.#other(supersededBy) };
    if (failure === undefined && !unstored) return undefined;
    const chain = chainOf(failure);
    const first = errors.find(({ error, overcome }) => !overcome || chain.includes(error));
    const kind = first?.kind ?? chain.map(kindOf).find((found) => found !== undefined);
    if (!kind) return undefined;
    const [cause, detail = ""] = kind;
    const at = first?.at;
    if (cause !== "rebound" || !run.refusal) return { cause, detail, at };
    const { detail: what, claimant } = run.refusal;
    // Where nobody has the claim: whether this process has taken it back.
    const who = what === "claim" && !claimant ? { known: this.#released.has(run.run) } : this.#other(claimant);
    return { cause, detail: what, ...who, at };
  }

  #other(run) {
    if (!run) return {};
    return { other: run, known: this.#begun.has(run), live: runUnderWay(run) !== undefined };
  }
}


/** What of a session is not as the run claimed it, and who has the claim now. */
function refusalOf(entry, resolved, scope) {
  if (!entry) return { detail: "entry", claimant: "" };
  if (entry.sessionId !== resolved?.sessionId) return { detail: "session", claimant: "" };
  const expected = scope?.expectedWriterRunId;
  if (expected === undefined || entry.activeWriterRunId === expected) return { detail: "revision", claimant: "" };
  const claimant = nameOf(entry.activeWriterRunId);
  // With another revision comes an entry that nobody has claimed yet.
  const revision = scope.expectedLifecycleRevision;
  if (!claimant && revision !== undefined && entry.lifecycleRevision !== revision) return { detail: "revision", claimant };
  return { detail: "claim", claimant };
}

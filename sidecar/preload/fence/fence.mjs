// The fence controller: follow what it records, and stand beside it at its own check.
//
// The check happens inside the controller, under the session lock: it reads the file's fingerprint, then compares it
// with the fence. Both functions are wrapped. When the reading differs from the fence, the sidecar is asked (or has
// approved this very step already); when the comparison follows, with exactly the two fingerprints that were approved
// and the file still as it was, the adapter moves the fence. In every other case the controller decides as always.
import { threadId } from "node:worker_threads";

import { underWay } from "../account/reports.mjs";
import { encode, fingerprintOf } from "../fingerprint.mjs";
import { Refusal, reasonOf, safely, trouble } from "../guard.mjs";
import { sessionPath } from "../paths.mjs";
import { currentRun, describeRun } from "../writers/writers.mjs";
import { calls, insideRun, presentCall, reopenedAtRelease, wrapRecording } from "./controller_calls.mjs";
import { ASK_BOUND_MS, within } from "./deadlines.mjs";
import { alone, shut } from "./exclusion.mjs";
import { patient } from "./lock_retry.mjs";

const MAX_ID = 200; // as the wire has it
const CHECKING = ["withSessionWriteLock", "reacquireAfterPrompt", "acquireForCleanup"];
const RELEASING = ["releaseForPrompt", "releaseHeldLockForAbort"];
const RECORDING = [
  "refreshAfterOwnedSessionWrite",
  "withOwnedSessionFileWrite",
  "publishOwnedSessionFileSnapshot",
  "publishValidatedSessionFileSnapshot",
];

const windows = new Map();
let nextWindow = 0;

export class Fences {
  #link;
  #adapter;
  #points;
  #pathOf;

  constructor(link, adapter, points, pathOf = sessionPath) {
    this.#link = link;
    this.#adapter = adapter;
    this.#points = points;
    this.#pathOf = pathOf;
  }

  /** A command that came ahead of any question. It is kept until the check that it was made for, or taken back. */
  onCommand(message) {
    const state = windows.get(message.window);
    if (!state) return;
    state.approved = message.t === "approve" ? { fence: message.fence, current: message.current } : undefined;
  }

  /** The link is gone, and with it everything that was approved over it. */
  forgetApprovals() {
    for (const state of windows.values()) state.approved = undefined;
  }

  /** The open windows are said again, to whoever has not heard of them. */
  repeat() {
    for (const state of windows.values()) {
      const known = state.active && !state.closed && state.told !== undefined;
      if (known && sessionPath(state.name) === state.file) this.#tell(state); // a trial's file is none of theirs
    }
  }

  wrapController(original) {
    const fences = this;
    return async function createEmbeddedAttemptSessionLockController(params, ...rest) {
      const run = currentRun();
      let state;
      const adjusted = safely("fence", () => {
        return patient(fences.#adapter.adjust(params, run), fences.#link, () => state);
      });
      const inner = await original.call(this, adjusted ?? params, ...rest);
      state = safely("fence", () => fences.#open(inner, params, run));
      return (state && safely("fence", () => fences.#follow(state))) ?? inner;
    };
  }

  wrapRead(original) {
    const fences = this;
    return async function readSessionFileFingerprint(file, ...rest) {
      const read = () => original.call(this, file, ...rest);
      const fingerprint = await read();
      const call = presentCall();
      if (!call || file !== call.state.name) return fingerprint;
      try {
        return await fences.#read(call, fingerprint, read);
      } catch (error) {
        trouble("fence", error);
        return fingerprint;
      }
    };
  }

  wrapReadSync(original) {
    const fences = this;
    return function readSessionFileFingerprintSync(file, ...rest) {
      const fingerprint = original.call(this, file, ...rest);
      const call = presentCall();
      if (call && file === call.state.name) safely("fence", () => fences.#record(call.state, encode(fingerprint)));
      return fingerprint;
    };
  }

  wrapSame(original) {
    const fences = this;
    return function sameSessionFileFingerprint(left, right, ...rest) {
      const same = original.call(this, left, right, ...rest);
      const call = presentCall();
      if (same || !call) return same;
      const { pending } = call;
      if (pending?.fingerprint !== right) {
        return safely("fence", () => isMoved(call.state, encode(left), encode(right))) ?? same;
      }
      call.pending = undefined;
      return safely("fence", () => fences.#apply(call.state, pending, left)) ?? same;
    };
  }

  /** The run is over, and so are its windows. */
  closeRun(context) {
    for (const state of context.windows) safely("fence", () => this.#close(state));
  }

  /** What is kept of a controller; undefined for one that guards no session file. */
  #open(inner, params, run) {
    const name = params?.lockOptions?.sessionFile;
    const file = this.#pathOf(name);
    if (!file) return undefined;
    const state = {
      id: `${process.pid}.${threadId}.${performance.timeOrigin.toFixed(0)}.${(nextWindow += 1)}`,
      name,
      file,
      params,
      run,
      inner,
      fence: undefined,
      told: undefined,
      active: false,
      tripped: false,
      recovered: false,
      closed: false,
      approved: undefined,
      moved: undefined,
    };
    windows.set(state.id, state);
    run?.windows.add(state);
    return state;
  }

  /** The controller as the run gets it. */
  #follow(state) {
    const { inner } = state;
    const outer = { ...inner };
    for (const method of CHECKING) this.#wrapMethod(outer, method, state, "check");
    for (const method of RELEASING) this.#wrapMethod(outer, method, state, "release");
    for (const method of RECORDING) wrapRecording(outer, method, state);
    if (typeof inner.dispose === "function") {
      outer.dispose = async (...args) => {
        try {
          return await inner.dispose(...args);
        } finally {
          safely("fence", () => this.#close(state));
        }
      };
    }
    return outer;
  }

  #wrapMethod(outer, method, state, kind) {
    const { inner } = state;
    if (typeof inner[method] !== "function") return;
    outer[method] = async (...args) => {
      const present = calls.getStore();
      // Inside the run's own locked section the controller makes no check: it is part of the outer call.
      const nested = present?.state === state && present.kind === "run" && present.live;
      const call = { state, kind: nested ? "run" : kind, checked: false, pending: undefined, live: true };
      const passed = !nested && typeof args[0] === "function" ? [insideRun(call, args[0]), ...args.slice(1)] : args;
      try {
        const result = await calls.run(nested ? present : call, () => inner[method](...passed));
        return safely("fence", () => reopenedAtRelease(call, result)) ?? result;
      } finally {
        call.live = false;
        call.reopen?.();
        safely("fence", () => this.#after(state));
      }
    };
  }

  /** What the controller is given to compare: the fingerprint as read, or as it is once nobody here is writing. */
  async #read(call, fingerprint, read) {
    const { state } = call;
    const text = encode(fingerprint);
    if (call.kind === "check" && !call.checked) {
      call.checked = true;
      // After the run nobody waits for an answer: the controller decides as it does unpatched.
      return state.active && !state.closed ? await this.#check(call, fingerprint, read) : fingerprint;
    }
    if (call.kind === "release") state.active = true;
    this.#record(state, text);
    return fingerprint;
  }

  /** The run's check. Where its fence is moved, and ever after, the run is alone until it has written. */
  async #check(call, fingerprint, read) {
    const { state } = call;
    if (!state.recovered && state.fence === encode(fingerprint)) return fingerprint;
    const until = performance.now() + ASK_BOUND_MS;
    let current = fingerprint;
    if (state.run && this.#link.recovers) {
      call.reopen = shut(state.file, state.run);
      const guests = alone(state.file, state.run);
      if (guests) {
        await guests;
        current = await read();
      }
    }
    if (state.fence !== encode(current)) current = await this.#settle(call, current, read, until);
    return current;
  }

  /**
   * Consider the step to what the file is. The lock does not keep this process' own writers out (they may enter it
   * again), so a co-tenant can write while the sidecar thinks: then the file is read and considered again, within the
   * bound of time.
   */
  async #settle(call, fingerprint, read, until) {
    let current = fingerprint;
    for (;;) {
      const answered = await this.#consider(call, current, encode(current), until - performance.now());
      const busy = underWay(call.state.file);
      const settled = !busy && fingerprintOf(call.state.file) === encode(current);
      if (!answered || settled || performance.now() >= until) return current;
      call.pending = undefined;
      if (busy) await within(busy, until - performance.now());
      current = await read();
      if (encode(current) === call.state.fence) return current;
    }
  }

  /** What the controller reads beyond its check becomes its fence. Told at once, while it still holds the lock. */
  #record(state, text) {
    state.fence = text;
    if (!state.active || state.closed || state.told === text) return;
    state.told = text;
    state.approved = undefined;
    this.#tell(state);
  }

  #tell({ id, file, told, run }) {
    this.#link.send("fence.set", { window: id, file, fence: told, run: describeRun(run) });
  }

  /** The file is not as the fence has it: is this step approved? False when nobody answered in time. */
  async #consider(call, fingerprint, current, boundMs) {
    const { state } = call;
    const { fence } = state;
    const since = process.hrtime.bigint();
    const pushed = state.approved?.fence === fence && state.approved?.current === current;
    if (!pushed) {
      const run = describeRun(state.run);
      const answer = await this.#link.ask({ window: state.id, file: state.file, fence, current, run }, boundMs);
      if (!answer) return false;
      const yes = answer.t === "approve" && answer.window === state.id;
      if (!yes || answer.fence !== fence || answer.current !== current) return true;
    }
    state.approved = undefined;
    let prepared;
    try {
      prepared = this.#adapter.prepare(state, fence, current);
    } catch (error) {
      if (fingerprintOf(state.file) === current) {
        this.#applied(state, { fence, current, pushed, since }, false, reasonOf(error));
      }
      return true;
    }
    call.pending = { fingerprint, fence, current, pushed, since, prepared };
    return true;
  }

  /** Compare and set: only from exactly this fence to exactly this file, and look again afterwards (rule 2). */
  #apply(state, pending, left) {
    const refuse = (reason) => {
      this.#applied(state, pending, false, reason);
      return false;
    };
    const from = encode(left);
    const known = [pending.fence, pending.current].some((to) => to === from || isMoved(state, from, to));
    if (!known) return refuse("the fence is another one");
    if (fingerprintOf(state.file) !== pending.current) return refuse("the file changed after the approval");
    let same;
    try {
      same = this.#adapter.apply(state, pending.prepared, pending.fingerprint, this.#points);
    } catch (error) {
      return refuse(reasonOf(error));
    }
    if (fingerprintOf(state.file) !== pending.current) return refuse("the file changed while the fence was moved");
    this.#applied(state, pending, true, "");
    state.recovered = true;
    if (same) state.moved = { from, to: pending.current };
    return same;
  }

  /** The run is about to append. Outside its controller's check, what is approved by now is taken in (append_hook.mjs). */
  atAppend(manager) {
    const run = currentRun();
    if (this.#adapter.reload || !this.#link.recovers || run?.manager?.() !== manager) return;
    for (const state of run.windows) {
      if (state.active && !state.closed && presentCall()?.state !== state) this.#takeIn(state, manager);
    }
  }

  #takeIn(state, manager) {
    const { approved, fence, file } = state;
    const current = fingerprintOf(file);
    if (current === fence || approved?.fence !== fence || approved.current !== current) return;
    const step = { fence, current, pushed: true, since: process.hrtime.bigint(), prepared: undefined };
    let reason = "";
    try {
      step.prepared = this.#adapter.prepare(state, fence, current);
      // With nothing to be learnt the run needs nothing from us.
      if (step.prepared.ids.length === 0 && manager.flushed !== false) return;
      if (fingerprintOf(file) !== current) throw new Refusal("the file changed after the approval");
      this.#adapter.apply(state, step.prepared);
      if (fingerprintOf(file) !== current) throw new Refusal("the file changed while its records were learnt");
    } catch (error) {
      reason = reasonOf(error);
    }
    state.approved = undefined;
    this.#applied(state, step, reason === "", reason);
  }

  #applied(state, { fence, current, pushed, since, prepared }, ok, reason) {
    this.#link.send("applied", {
      window: state.id,
      ok,
      fence,
      current,
      pushed,
      latency: String(process.hrtime.bigint() - since),
      reason: reason.slice(0, 200),
      records: ok ? prepared.ids.filter((id) => id.length <= MAX_ID).slice(0, 500) : [],
    });
  }

  #after(state) {
    if (state.inner.hasSessionTakeover?.() !== true) return;
    const current = fingerprintOf(state.file);
    // A lock timeout sets the same flag, with the file as it was: that is no change to speak of.
    if (state.tripped || !state.active || current === state.fence) return;
    state.tripped = true;
    const run = describeRun(state.run);
    this.#link.send("tripped", { window: state.id, file: state.file, fence: state.fence, current, run });
    if (state.closed) this.#sendClosed(state); // what is told of an ended window opens it again
  }

  #close(state) {
    if (state.closed) return;
    this.#after(state);
    state.closed = true;
    windows.delete(state.id);
    state.run?.windows.delete(state);
    if (state.active) this.#sendClosed(state);
  }

  #sendClosed({ id, inner }) {
    this.#link.send("fence.closed", { window: id, takeover: inner.hasSessionTakeover?.() === true });
  }
}

/**
 * A step that was answered with "same", and that the controller has not recorded yet: from 2026.5.22 it records a new
 * fingerprint only when the run itself has written, and until then compares with the fence that it had.
 */
function isMoved(state, from, to) {
  return state.moved?.from === from && state.moved.to === to;
}

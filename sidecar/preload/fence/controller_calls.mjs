// A call of a controller: {state, kind, checked, pending, live}, carried by the async context, so that what the controller
// does inside it (its readings, its comparison, the run's own writing) is known to be part of it.
import { AsyncLocalStorage } from "node:async_hooks";

export const calls = new AsyncLocalStorage();

/** The call of a controller that this is part of; what a call has left behind is part of none. */
export function presentCall() {
  const call = calls.getStore();
  return call?.live ? call : undefined;
}

/** Cleaning up, a run is given the lock itself: it is alone until it gives that back. */
export function reopenedAtRelease(call, lock) {
  const { reopen } = call;
  if (!reopen || typeof lock?.release !== "function") return undefined;
  call.reopen = undefined;
  const release = async (...args) => {
    try {
      return await lock.release(...args);
    } finally {
      reopen();
    }
  };
  return { ...lock, release };
}

/** What the run does under the lock is its own affair; readings of the file there are no checks. */
export function insideRun(call, run) {
  return (...args) => {
    const inside = { state: call.state, kind: "run", checked: true, pending: undefined, live: true };
    return calls.run(inside, async () => {
      try {
        return await run(...args);
      } finally {
        inside.live = false;
      }
    });
  };
}

export function wrapRecording(outer, method, state) {
  const { inner } = state;
  if (typeof inner[method] !== "function") return;
  const call = { state, kind: "record", checked: true, pending: undefined, live: true };
  outer[method] = (...args) => calls.run(call, () => inner[method](...args));
}

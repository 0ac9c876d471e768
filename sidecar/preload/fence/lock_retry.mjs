// A lock timeout inside the controller sets its takeover flag for good: the turn is lost, whoever held the lock and
// whatever became of the file. The error must therefore not reach the controller where the run may as well wait on.
//
// The controller takes the lock with a function that it is given. That function is wrapped: on a timeout within a
// window the sidecar is asked whether the holder is a known co-tenant and the file is explained. On yes the lock is
// tried again, a bounded number of times; on anything else the controller gets the very error that it would have got.
// Nothing is decided about the file by that: with the lock in hand the controller makes its check as always.
import { underWay } from "../account/reports.mjs";
import { safely, trouble } from "../guard.mjs";
import { describeRun } from "../writers/writers.mjs";
import { ASK_BOUND_MS, within } from "./deadlines.mjs";

const MAX_QUESTIONS = 5;
// Beyond the first timeout. So long may a writer hold the lock: then the gateway's own watchdog takes it away.
const MAX_WAIT_MS = 300_000;
const TIMEOUT = "OPENCLAW_SESSION_WRITE_LOCK_TIMEOUT"; // in every release with a fence

export function isTimeout(error) {
  return error?.code === TIMEOUT || error?.name === "SessionWriteLockTimeoutError";
}

function sinceNs(start) {
  return String(process.hrtime.bigint() - start);
}

/**
 * The parameters of a controller, with a way to the lock that waits on.
 *
 * @param params what the controller is made with
 * @param link where to ask
 * @param window () => the window's state, undefined while there is none
 */
export function patient(params, link, window) {
  const acquire = params?.acquireSessionWriteLock;
  if (typeof acquire !== "function") return params;
  return {
    ...params,
    async acquireSessionWriteLock(options, ...rest) {
      const start = process.hrtime.bigint();
      try {
        return await acquire.call(params, options, ...rest);
      } catch (error) {
        const state = window();
        if (!isTimeout(error) || !state?.active) throw error;
        const timeoutMs = [options?.timeoutMs, error.timeoutMs, MAX_WAIT_MS].find(Number.isFinite);
        const again = (leftMs) =>
          acquire.call(params, { ...options, timeoutMs: Math.min(timeoutMs, leftMs) }, ...rest);
        return await waitOn(error, state, link, start, again);
      }
    },
  };
}

/** The lock, had after all; else the error, as it was. */
async function waitOn(error, state, link, start, again) {
  const until = performance.now() + MAX_WAIT_MS;
  const tell = (ok, tries) => link.send("lock.waited", { window: state.id, ok, waited: sinceNs(start), tries });
  let tries = 0;
  while (tries < MAX_QUESTIONS && !state.closed && (await mayWait(state, link, start))) {
    const left = until - performance.now();
    if (left <= 0) break;
    tries += 1;
    try {
      const lock = await again(left);
      safely("lock", () => tell(true, tries));
      return lock;
    } catch (next) {
      if (isTimeout(next)) continue;
      safely("lock", () => tell(false, tries));
      throw next; // what a longer wait would have met: an abort, say
    }
  }
  if (tries > 0) safely("lock", () => tell(false, tries));
  throw error;
}

/** Ask. False on any answer but yes, and on none in time. Never throws. */
async function mayWait(state, link, start) {
  try {
    const until = performance.now() + ASK_BOUND_MS;
    const busy = underWay(state.file); // of a write that is not whole nothing can be said
    if (busy) await within(busy, until - performance.now());
    const { id: window, file, fence } = state;
    const question = { window, file, fence, waited: sinceNs(start), run: describeRun(state.run) };
    const answer = await link.ask(question, until - performance.now(), "ask.lock");
    return answer?.t === "wait" && answer.window === window;
  } catch (error) {
    trouble("lock", error);
    return false;
  }
}

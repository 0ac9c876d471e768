// The session lock: who waited for it, how long, and how long it was held.
import { latestChange } from "../account/reports.mjs";
import { observe } from "../fingerprint.mjs";
import { safely } from "../guard.mjs";
import { sessionPath } from "../paths.mjs";
import { currentRun, currentWriter } from "../writers/writers.mjs";
import { admitted, ahead, changes, enter } from "./exclusion.mjs";

let holds = 0;
const taken = new Map(); // hold -> what was said of it, for those that have not been given back

/** The locks that are held are said again, to whoever has not heard of them. */
export function repeatHolds(send) {
  for (const fields of taken.values()) send("lock.taken", fields);
}

function elapsedNs(since, until = performance.now()) {
  return String(Math.round((until - since) * 1e6));
}

function failure(error) {
  const name = String(error?.name ?? "");
  if (name.includes("Timeout")) return "timeout";
  if (name.includes("Stale")) return "stale";
  return name === "AbortError" ? "aborted" : "error";
}

/**
 * Wrap `acquireSessionWriteLock`: same result, same errors; acquisition and release are reported.
 *
 * @param link where to; it says as well whether writers may be made to wait for each other
 */
export function wrapLock(original, link) {
  return async function acquireSessionWriteLock(params, ...rest) {
    const visit = safely("lock", visiting, params, link);
    if (!visit) return await original.call(this, params, ...rest);
    if (visit.first) await visit.first;
    let lock;
    try {
      lock = await original.call(this, params, ...rest);
    } catch (error) {
      const { file, asked } = visit;
      safely("lock", () =>
        link.send("lock.failed", { file, writer: currentWriter(), wait: elapsedNs(asked), reason: failure(error) }),
      );
      throw error;
    } finally {
      visit.coming.end();
    }
    return safely("lock", held, lock, visit, link) ?? lock;
  };
}

/** Somebody asks for the lock of a session file, and waits for what goes `first`. Undefined for any other file. */
function visiting(params, link) {
  const file = sessionPath(params?.sessionFile);
  if (!file) return undefined;
  const asked = performance.now();
  const run = currentRun();
  const admission = admitted(file, run);
  const first = admission ? admission.opened : ahead(file, params.allowReentrant === true && link.recovers);
  return { file, run, asked, first, coming: admission ?? changes(file, asked) };
}

/** What a file is as its lock is given back: as the last change left it, if that was made under the lock. */
function seen(file, earlier) {
  const last = latestChange(file);
  return last && last !== earlier ? last.after : observe(file);
}

function held(lock, { file, run, asked }, link) {
  if (typeof lock?.release !== "function") return lock;
  const hold = `h${(holds += 1)}`;
  const writer = currentWriter();
  const since = performance.now();
  const guest = enter(file, run, since);
  const earlier = latestChange(file);
  let released = false;
  const fields = { file, hold, writer, wait: elapsedNs(asked, since) };
  taken.set(hold, fields);
  link.send("lock.taken", fields, since);
  return {
    ...lock,
    async release(...args) {
      const first = !released;
      released = true;
      const heard = first && (link.hears || link.lose());
      const after = heard ? safely("lock", seen, file, earlier) : undefined;
      taken.delete(hold);
      const going = safely("lock", changes, file, performance.now());
      try {
        return await lock.release(...args);
      } finally {
        going?.end();
        guest.end();
        safely("lock", () => {
          if (after) link.send("lock.released", { file, hold, writer, after, held: elapsedNs(since) });
        });
      }
    },
  };
}

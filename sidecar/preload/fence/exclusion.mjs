// Who is in a session's lock together. From 2026.5.22 on the lock lets writers of one process in at once: a co-tenant
// may read where the history ends, and append only after the run has. One of both records is beside the line then.
//
// A recovered turn loses nothing (rule 3). So while a run makes the check at which its fence is moved, and writes on
// from there, others of this process wait outside the lock, and those that are in already are waited for. Both for a
// bounded time: what the bound does not cover is as without us.
//
// Nor may one be made to wait for a minute. A writer that may enter a lock finds it held, and is in at once; but where it
// comes in the milliseconds in which the lock is being taken or given back, it looks again only now and then, with the
// queue of the session's appends in its hands. The gateway, when its run is over, takes the lock and then waits for that
// queue: each waits for the other. So who was kept outside goes in before anybody else asks for the lock again, and who
// may enter a lock waits, for a bounded time as well, until nobody of this process is taking it or giving it back.
import { ASK_BOUND_MS, GUESTS_BOUND_MS, within } from "./deadlines.mjs";

const APPENDS_WITHIN_MS = 5000; // who takes longer does something else, or has lost the lock without a word

const NOBODY = [];
const guests = new Map(); // file -> Set of {run, since, over}: the holds of its lock
const doors = new Map(); // file -> Set of {run, since, over, waiting}: runs that want to be alone
const coming = new Map(); // file -> Set of {since, over, kept}: the lock is being asked for, or given back

/** Something begins. Gives what ends it: then it is there no more, and its promise `over` is kept, if there is one. */
function begin(map, file, fields) {
  const entry = { ...fields, since: performance.now(), ended: false, over: undefined, end: undefined };
  let set = map.get(file);
  if (!set) map.set(file, (set = new Set()));
  set.add(entry);
  return () => {
    entry.ended = true;
    set.delete(entry);
    if (set.size === 0 && map.get(file) === set) map.delete(file);
    entry.end?.();
  };
}

/** A promise for the end of something; made only where somebody waits for it, which is seldom. */
function overOf(entry) {
  if (entry.ended) return undefined;
  entry.over ??= new Promise((end) => {
    entry.end = end;
  });
  return entry.over;
}

function allOver(entries, boundMs) {
  return within(Promise.all(entries.map(overOf)), boundMs);
}

function others(map, file, run) {
  const entries = map.get(file);
  if (!entries) return NOBODY;
  const after = performance.now() - APPENDS_WITHIN_MS;
  return [...entries].filter((entry) => entry.run !== run && entry.since > after);
}

/** Somebody has the lock now, in a run or in none. Gives what is called when it is given back. */
export function enter(file, run) {
  return begin(guests, file, { run });
}

/** A run wants to be alone. Gives what is called when others may come in again. */
export function shut(file, run) {
  const waiting = new Set();
  const open = begin(doors, file, { run, waiting });
  return () => {
    for (const comes of waiting) comes();
    open();
  };
}

/** A promise for when all others have left the lock, or the bound is over; undefined when there are none. */
export function alone(file, run) {
  const inside = others(guests, file, run);
  return inside.length === 0 ? undefined : allOver(inside, GUESTS_BOUND_MS);
}

/**
 * Somebody wants in. Undefined when nobody wants to be alone; else `opened`, a promise for when all doors are open or the
 * bound is over, and `settled()`, to be called when the lock was had, or was not.
 */
export function admitted(file, run) {
  const closed = others(doors, file, run);
  if (closed.length === 0) return undefined;
  let settled;
  const comes = () => {
    settled ??= changes(file, true);
  };
  for (const { waiting } of closed) waiting.add(comes);
  return {
    opened: allOver(closed, ASK_BOUND_MS).then(comes),
    settled() {
      for (const { waiting } of closed) waiting.delete(comes);
      settled?.();
    },
  };
}

/** The lock is asked for, or given back. Gives what is called when it was had, or was not, or was given back. */
export function changes(file, kept = false) {
  return begin(coming, file, { kept });
}

/**
 * A promise for when those have the lock that were kept outside, or the bound is over; for who may enter a lock that is
 * held, for when all have it, or have given it back, that came before. Undefined when there are none.
 */
export function ahead(file, mayEnter) {
  const entries = coming.get(file);
  if (!entries) return undefined;
  const after = performance.now() - GUESTS_BOUND_MS;
  const before = [...entries].filter(({ since, kept }) => since > after && (kept || mayEnter));
  return before.length === 0 ? undefined : allOver(before, Math.max(...before.map(({ since }) => since)) - after);
}

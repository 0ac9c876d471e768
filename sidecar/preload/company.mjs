// Who is in a session's lock together. From 2026.5.22 on the lock lets writers of one process in at once: a co-tenant
// may read where the history ends, and append only after the run has. One of both records is beside the line then.
//
// A recovered turn loses nothing (rule 3). So while a run makes the check at which its fence is moved, and writes on
// from there, others of this process wait outside the lock, and those that are in already are waited for. Both for a
// bounded time: what the bound does not cover is as without us.
import { ASK_BOUND_MS, GUESTS_BOUND_MS, within } from "./bounds.mjs";

const APPENDS_WITHIN_MS = 5000; // who takes longer does something else, or has lost the lock without a word

const guests = new Map(); // file -> Set of {run, since, left}: the holds of its lock
const doors = new Map(); // file -> Set of {run, since, opened}: runs that want to be alone

function put(map, file, entry) {
  if (!map.has(file)) map.set(file, new Set());
  const set = map.get(file);
  entry.since = performance.now();
  set.add(entry);
  return () => {
    set.delete(entry);
    if (set.size === 0 && map.get(file) === set) map.delete(file);
  };
}

function others(map, file, run) {
  const after = performance.now() - APPENDS_WITHIN_MS;
  return [...(map.get(file) ?? [])].filter((entry) => entry.run !== run && entry.since > after);
}

/** Somebody has the lock now, in a run or in none. Gives what is called when it is given back. */
export function enter(file, run) {
  let leave;
  const left = new Promise((resolve) => {
    leave = resolve;
  });
  const remove = put(guests, file, { run, left });
  return () => {
    remove();
    leave();
  };
}

/** A run wants to be alone. Gives what is called when others may come in again. */
export function shut(file, run) {
  let open;
  const opened = new Promise((resolve) => {
    open = resolve;
  });
  const remove = put(doors, file, { run, opened });
  return () => {
    remove();
    open();
  };
}

/** A promise for when all others have left the lock, or the bound is over; undefined when there are none. */
export function alone(file, run) {
  const inside = others(guests, file, run);
  if (inside.length === 0) return undefined;
  return within(Promise.all(inside.map(({ left }) => left)), GUESTS_BOUND_MS);
}

/** A promise for when a run that is another may be joined, or the bound is over; undefined when it may be now. */
export function admitted(file, run) {
  const closed = others(doors, file, run);
  if (closed.length === 0) return undefined;
  return within(Promise.all(closed.map(({ opened }) => opened)), ASK_BOUND_MS);
}

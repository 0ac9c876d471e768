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
const guests = new Set(); // holds of a lock
const doors = new Set(); // runs that want to be alone, each with what is `waiting` for that to end
const changing = new Set(); // a lock is being asked for, maybe by who was `kept` outside, or given back

/** Something that lasts, from now on, until it ends: then it is there no more. */
class Stay {
  #among;
  #over;
  #ended;

  constructor(among, file, run, since = performance.now()) {
    this.#among = among;
    this.file = file;
    this.run = run;
    this.since = since;
    this.kept = false;
    among.add(this);
  }

  /** A promise for its end; made only where somebody waits for it, which is seldom. */
  get over() {
    if (!this.#among.has(this)) return undefined;
    this.#over ??= new Promise((ended) => {
      this.#ended = ended;
    });
    return this.#over;
  }

  end() {
    this.#among.delete(this);
    this.#ended?.();
  }
}

function allOver(stays, boundMs) {
  return within(Promise.all(stays.map(({ over }) => over)), boundMs);
}

function others(among, file, run) {
  if (among.size === 0) return NOBODY;
  const after = performance.now() - APPENDS_WITHIN_MS;
  return [...among].filter((stay) => stay.file === file && stay.run !== run && stay.since > after);
}

/** Somebody has the lock since then, in a run or in none; it ends when the lock is given back. */
export function enter(file, run, since) {
  return new Stay(guests, file, run, since);
}

/** A run wants to be alone. Gives what is called when others may come in again. */
export function shut(file, run) {
  const door = new Stay(doors, file, run);
  door.waiting = new Set();
  return () => {
    for (const comes of door.waiting) comes();
    door.end();
  };
}

/** A promise for when all others have left the lock, or the bound is over; undefined when there are none. */
export function alone(file, run) {
  const inside = others(guests, file, run);
  return inside.length === 0 ? undefined : allOver(inside, GUESTS_BOUND_MS);
}

/**
 * Somebody wants in. Undefined when nobody wants to be alone; else `opened`, a promise for when all doors are open or the
 * bound is over, and `end()`, to be called when the lock was had, or was not.
 */
export function admitted(file, run) {
  const closed = others(doors, file, run);
  if (closed.length === 0) return undefined;
  let coming;
  const comes = () => {
    coming ??= changes(file, performance.now());
    coming.kept = true;
  };
  for (const { waiting } of closed) waiting.add(comes);
  return {
    opened: allOver(closed, ASK_BOUND_MS).then(comes),
    end() {
      for (const { waiting } of closed) waiting.delete(comes);
      coming?.end();
    },
  };
}

/** The lock is asked for since then, or given back; it ends when it was had, or was not, or was given back. */
export function changes(file, since) {
  return new Stay(changing, file, undefined, since);
}

/**
 * A promise for when those have the lock that were kept outside, or the bound is over; for who may enter a lock that is
 * held, for when all have it, or have given it back, that came before. Undefined when there are none.
 */
export function ahead(file, mayEnter) {
  if (changing.size === 0) return undefined;
  const after = performance.now() - GUESTS_BOUND_MS;
  const before = [...changing].filter((stay) => stay.file === file && stay.since > after && (stay.kept || mayEnter));
  return before.length === 0 ? undefined : allOver(before, Math.max(...before.map(({ since }) => since)) - after);
}

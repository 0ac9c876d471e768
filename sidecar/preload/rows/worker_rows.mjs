// All that a worker thread needs where transcripts are in a database: what it does there is reported by the main thread.
import { onTrouble } from "../guard.mjs";
import { wrapTransaction } from "./db_lock.mjs";
import { watchTransactions } from "./transactions.mjs";
import { tellMain } from "./worker_commits.mjs";

let watched = false;

/** Whether this thread is one that has its rows reported. */
export function isInstalled() {
  return watched;
}

/** Called for each module of the bundle with a hook point. @param transactions where it makes them, of those that are new */
export function install(transactions) {
  for (const point of transactions) point.set(wrapTransaction(point.get()));
  if (watched) return;
  watched = true;
  onTrouble((where, reason) => tellMain({ trouble: { where, reason } }), () => tellMain({ lost: true }));
  watchTransactions(
    ({ run, reader, ...change }) => tellMain({ change }),
    // The times of a worker count from its own start.
    (lock, at) => tellMain({ lock, at: performance.timeOrigin + at }),
  );
}

// How long the gateway may be made to wait.

/** For an answer of the sidecar, with all that belongs to the question. */
export const ASK_BOUND_MS = 250;

/** For other writers of this process: to leave the lock, as part of that time; to settle, before it is asked for. */
export const GUESTS_BOUND_MS = 100;

/** Wait for a promise, but not longer than a bound. */
export async function within(promise, boundMs) {
  let timer;
  const bound = new Promise((resolve) => {
    timer = setTimeout(resolve, Math.max(0, boundMs));
  });
  await Promise.race([promise, bound]);
  clearTimeout(timer);
}

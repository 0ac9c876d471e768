// Nothing of ours may be thrown into the gateway. What goes wrong here is told to the sidecar, a bounded number of times.
const MAX_TROUBLES = 20;
let troubles = 0;
let tell = () => {};

/** Where troubles are reported to. */
export function onTrouble(report) {
  tell = report;
}

/** Report an error of our own; the gateway goes on. */
export function trouble(where, error) {
  if (troubles >= MAX_TROUBLES) return;
  troubles += 1;
  try {
    tell(where, String(error?.message ?? error).slice(0, 300));
  } catch {
    // There is nobody left to tell.
  }
}

/** Run `step`; an error in it is reported and swallowed. */
export function safely(where, step) {
  try {
    return step();
  } catch (error) {
    trouble(where, error);
    return undefined;
  }
}

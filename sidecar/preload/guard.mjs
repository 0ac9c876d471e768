// Nothing of ours may be thrown into the gateway. What goes wrong here is told to the sidecar, a bounded number of times.
const MAX_TROUBLES = 20;
let troubles = 0;
const ACCOUNT = "account"; // trouble here means that a report is missing: custody is lost, however often it happens
let tell = () => {};
let lose = () => {};

/** Where troubles are reported to; and, for those beyond the bound, what counts a report that could not be made. */
export function onTrouble(report, missing = () => {}) {
  tell = report;
  lose = missing;
}

/** Report an error of our own; the gateway goes on. */
export function trouble(where, error) {
  try {
    if (troubles >= MAX_TROUBLES) {
      if (where === ACCOUNT) lose();
      return;
    }
    troubles += 1;
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

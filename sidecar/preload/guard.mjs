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

/** Something that we refuse to do. Its message is our own, and may leave the process. */
export class Refusal extends Error {}

/** What may be said of an error: an engine's message may quote what it met (rule 7), so only its class and place. */
export function reasonOf(error) {
  if (error instanceof Refusal) return error.message.slice(0, 300);
  const name = error instanceof Error ? error.constructor.name : typeof error;
  const code = typeof error?.code === "string" && /^[A-Z_0-9]{1,60}$/.test(error.code) ? ` ${error.code}` : "";
  const place = /[/\\]preload[/\\]((?:\w+[/\\])?\w+\.mjs:\d+)/.exec(String(error?.stack ?? ""))?.[1];
  return `${name}${code}${place ? ` at ${place}` : ""}`.slice(0, 300);
}

/** Report an error of our own; the gateway goes on. */
export function trouble(where, error) {
  try {
    if (troubles >= MAX_TROUBLES) {
      if (where === ACCOUNT) lose();
      return;
    }
    troubles += 1;
    tell(where, reasonOf(error));
  } catch {
    // There is nobody left to tell.
  }
}

/** Run `step`, with at most five arguments; an error in it is reported and swallowed. */
export function safely(where, step, a, b, c, d, e) {
  try {
    return step(a, b, c, d, e);
  } catch (error) {
    trouble(where, error);
    return undefined;
  }
}

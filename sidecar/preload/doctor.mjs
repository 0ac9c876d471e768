// Tries the adapter of one module, in a process made for it: `node --import=preload.mjs doctor.mjs MODULE`. Nothing is
// linked and nothing of node:fs is watched. What was found is the last line on standard output, after a mark.
import nodeModule from "node:module";
import { pathToFileURL } from "node:url";

const MARK = "openclaw-sidecar-doctor ";
const NOBODY = { send() {}, ask: async () => undefined };

function say(found) {
  process.stdout.write(`\n${MARK}${JSON.stringify(found)}\n`, () => process.exit(0));
}

async function examine(file) {
  const { fit } = await import("./fence/selfcheck.mjs");
  const { misfit } = await import("./rows/row_selfcheck.mjs");
  let fence;
  let question;
  globalThis[Symbol.for("openclaw-sidecar.preload")] = (points) => {
    if (points.createEmbeddedAttemptSessionLockController) fence ??= points;
    question ??= points.canRebasePreparedAssistantInTransaction?.get();
  };
  await import(pathToFileURL(file).href);
  if (question) {
    const since = performance.now();
    const reason = misfit(question);
    const check_ms = Math.round(performance.now() - since);
    return { adapter: reason ? "unknown" : "rebase", reload: false, reason: reason ?? "", tried: "rebase", check_ms };
  }
  if (!fence) return { adapter: "unknown", reload: false, reason: "the module with the fence did not load as one" };
  let found;
  const fitted = fit(fence, NOBODY, (adapter, reload, reason) => {
    found = { adapter, reload, reason };
  });
  const since = performance.now();
  await fitted?.checked;
  return { ...found, tried: fitted?.adapter.name ?? "", check_ms: Math.round(performance.now() - since) };
}

// The check keeps no process alive, but here it is what the process is for.
const alive = setInterval(() => {}, 1000);
if (typeof nodeModule.registerHooks !== "function") {
  say({ error: `Node ${process.version} is too old for the preload: it needs 22.15, or 23.5` });
} else {
  examine(process.argv[2])
    .catch((error) => ({ error: `the module with the fence does not load: ${String(error?.message ?? error)}` }))
    .then(say)
    .finally(() => clearInterval(alive));
}

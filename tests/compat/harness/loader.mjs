// Given to Node with --import ahead of the preload: serves the bundle's modules as cut by region.mjs, and the driven
// run (run.mjs) under an address in the bundle, where the preload looks for its hook points.
import fs from "node:fs";
import { registerHooks } from "node:module";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { randomUUID } from "node:crypto";

import { Cut } from "./region.mjs";

// What the bundle logs must not come between the lines of JSON on standard output.
console.log = console.info = console.debug = console.error;

const { dist, manager } = JSON.parse(process.env.COMPAT_BUNDLE);
const OPTIONAL = ["installSessionEventWriteLock"];
const MANAGER_PACKAGE = "@earendil-works/pi-coding-agent";
const RUN = path.join(dist, "compat-run.js");

// npm packages are not there. What is reached of them does no work here but to make identifiers, and to colour a log.
const STAND_INS = { JSON5: JSON, uuidv7: randomUUID, sanitizeSurrogates: (text) => text.toWellFormed() };

globalThis[Symbol.for("compat.stub")] = (name) => STAND_INS[name] ?? idle();

function idle() {
  return new Proxy(function standIn() {}, {
    get: (_target, key) => {
      if (key === Symbol.toPrimitive) return () => "";
      return typeof key === "symbol" ? undefined : idle();
    },
    apply: () => idle(),
    construct: () => idle(),
  });
}

const sources = fs
  .readdirSync(dist)
  .filter((name) => name.endsWith(".js"))
  .map((name) => path.join(dist, name))
  .map((file) => [file, fs.readFileSync(file, "utf8")]);

function declaring(pattern, what) {
  const found = sources.filter(([, source]) => pattern.test(source)).map(([file]) => file);
  if (found.length !== 1) throw new Error(`${what} is declared in ${found.length} modules of ${dist}`);
  return found[0];
}

const functionNamed = (name) => declaring(new RegExp(`^(?:async )?function ${name}\\(`, "m"), name);

const cut = new Cut();
const where = {};
function want(file, name) {
  cut.root(file, name);
  where[name] = pathToFileURL(file).href;
}
const FUNCTIONS = [
  "createEmbeddedAttemptSessionLockController",
  "acquireSessionWriteLock",
  "guardSessionManager",
  "prepareSessionManagerForRun",
  "appendSessionTranscriptMessage",
  "truncateOversizedToolResultsInSessionManager",
];
for (const name of FUNCTIONS) want(functionNamed(name), name);
const selection = fileURLToPath(where.createEmbeddedAttemptSessionLockController);
for (const name of OPTIONAL) if (cut.module(selection).declared.has(name)) want(selection, name);
const MANAGER = /^(?:var|let|const) SessionManager = class|^class SessionManager /m;
want(manager || declaring(MANAGER, "SessionManager"), "SessionManager");
// The bundle imports this one of the package when a session begins.
if (manager) cut.root(manager, "CURRENT_SESSION_VERSION");

for (const file of cut.files) if (cut.has(file)) cut.source(file);
globalThis[Symbol.for("compat.bundle")] = {
  where,
  run: pathToFileURL(RUN).href,
  declarations: cut.size,
  modules: cut.files.filter((file) => cut.has(file)).length,
  standIns: [...cut.stubbed].sort(),
};

registerHooks({
  resolve(specifier, context, next) {
    if (manager && specifier === MANAGER_PACKAGE) return next(pathToFileURL(manager).href, context);
    if (specifier === pathToFileURL(RUN).href) return { url: specifier, format: "module", shortCircuit: true };
    return next(specifier, context);
  },
  load(url, context, next) {
    if (!url.startsWith("file:")) return next(url, context);
    const file = fileURLToPath(url);
    const source =
      file === RUN
        ? fs.readFileSync(new URL("run.mjs", import.meta.url), "utf8")
        : cut.has(file)
          ? cut.source(file)
          : undefined;
    return source === undefined ? next(url, context) : { format: "module", source, shortCircuit: true };
  },
});

// Given to Node with --import ahead of the preload: has modules of an installed OpenClaw export the functions that are
// driven, and serves the driven run (run.mjs) under an address in the bundle, where the preload looks for its hook points.
import fs from "node:fs";
import { registerHooks } from "node:module";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

// What the bundle logs must not come between the lines of JSON on standard output.
console.log = console.info = console.debug = console.error;

const dist = process.env.COMPAT_DIST;
const RUN = pathToFileURL(path.join(dist, "compat-run.mjs")).href;
const FUNCTIONS = [
  "appendInjectedAssistantMessageToTranscript",
  "appendTranscriptMessage",
  "guardSessionManager",
  "replaceSessionEntry",
  "withOwnedSessionTranscriptWrites",
];
const PATTERNS = new Map(FUNCTIONS.map((name) => [name, new RegExp(`^(?:async )?function ${name}\\(`, "m")]));
PATTERNS.set("SessionManager", /^(?:var|let|const) SessionManager = class|^class SessionManager /m);

const where = {}; // name -> address of the module that declares it
const wanted = new Map(); // address of a module -> names

for (const name of fs.readdirSync(dist).filter((found) => /\.m?js$/.test(found))) {
  const source = fs.readFileSync(path.join(dist, name), "latin1");
  const url = pathToFileURL(path.join(dist, name)).href;
  const declared = [...PATTERNS].filter(([, pattern]) => pattern.test(source)).map(([wish]) => wish);
  for (const wish of declared) {
    if (where[wish]) throw new Error(`${wish} is declared in two modules of ${dist}`);
    where[wish] = url;
  }
  if (declared.length > 0) wanted.set(url, declared);
}
const missing = [...PATTERNS.keys()].filter((name) => !where[name]);
if (missing.length > 0) throw new Error(`no module of ${dist} declares ${missing.join(", ")}`);

globalThis[Symbol.for("compat.bundle")] = { where, run: RUN };

registerHooks({
  resolve(specifier, context, next) {
    if (specifier === RUN) return { url: RUN, format: "module", shortCircuit: true };
    return next(specifier, context);
  },
  load(url, context, next) {
    if (url === RUN) {
      const source = fs.readFileSync(fileURLToPath(new URL("run.mjs", import.meta.url)), "utf8");
      return { format: "module", source, shortCircuit: true };
    }
    const result = next(url, context);
    const names = wanted.get(url);
    if (!names) return result;
    return { ...result, source: `${result.source}\nexport { ${names.map((name) => `${name} as driven_${name}`).join(", ")} };\n` };
  },
});

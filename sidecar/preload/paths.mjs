// Which paths are session files, and under which name the sidecar knows them.
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const realpathSync = fs.realpathSync.native;
const directories = new Map();
const MAX_DIRECTORIES = 256;
const names = new Map(); // absolute name as it was given -> the file, for those that are session files
const MAX_NAMES = 1024;

/** Real, absolute path if `value` names a session file, otherwise undefined. Most paths fail the first string test. */
export function sessionPath(value) {
  let name = value;
  if (typeof name !== "string") {
    if (name instanceof URL) name = name.protocol === "file:" ? fileURLToPath(name) : "";
    else if (name instanceof Uint8Array) name = Buffer.from(name.buffer, name.byteOffset, name.byteLength).toString();
    else return undefined;
  }
  if (!name.endsWith(".jsonl") || name.endsWith(".trajectory.jsonl")) return undefined;
  return names.get(name) ?? sessionFile(name);
}

function sessionFile(name) {
  const absolute = path.resolve(name);
  const directory = path.dirname(absolute);
  if (path.basename(directory) !== "sessions") return undefined;
  const real = realDirectory(directory);
  if (real === undefined) return absolute;
  const file = path.join(real, path.basename(absolute));
  if (absolute === name) {
    if (names.size >= MAX_NAMES) names.clear();
    names.set(name, file);
  }
  return file;
}

/** Undefined while there is no such directory. */
function realDirectory(directory) {
  const known = directories.get(directory);
  if (known !== undefined) return known;
  let real;
  try {
    real = realpathSync(directory);
  } catch {
    return undefined;
  }
  if (directories.size >= MAX_DIRECTORIES) directories.clear();
  directories.set(directory, real);
  return real;
}

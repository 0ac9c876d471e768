// What the models of the gateway share. No hook point is declared here.
import fs from "node:fs/promises";

export class Takeover extends Error {}

export class SessionWriteLockTimeoutError extends Error {
  name = "SessionWriteLockTimeoutError";
  code = "OPENCLAW_SESSION_WRITE_LOCK_TIMEOUT";
}

export async function readFingerprint(sessionFile) {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await fs.stat(sessionFile, { bigint: true });
    return { exists: true, dev, ino, size, mtimeNs, ctimeNs };
  } catch (error) {
    if (error.code === "ENOENT") return { exists: false };
    throw error;
  }
}

export function same(left, right) {
  globalThis.atComparison?.(); // not in the bundle: lets a test do something between reading and comparison
  if (!left || !right || left.exists !== right.exists) return false;
  return ["dev", "ino", "size", "mtimeNs", "ctimeNs"].every((field) => left[field] === right[field]);
}

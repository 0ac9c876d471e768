// Fingerprints as text: "absent" or "dev:ino:size:mtimeNs:ctimeNs". Text compares exactly and survives JSON.
import fs from "node:fs";

const statSync = fs.statSync;

export const ABSENT = "absent";

/** Text form of what the gateway's own fence holds ({exists, dev, ino, size, mtimeNs, ctimeNs} with BigInts). */
export function encode(fingerprint) {
  if (!fingerprint?.exists) return ABSENT;
  const { dev, ino, size, mtimeNs, ctimeNs } = fingerprint;
  return `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`;
}

/** Fingerprint of a path now; ABSENT when there is none. Any other error is thrown. */
export function fingerprintOf(path) {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat ? `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}` : ABSENT;
}

/** Size in bytes that a fingerprint's text tells; 0 for ABSENT. */
export function sizeOf(text) {
  return text === ABSENT ? 0 : Number(text.split(":")[2]);
}

/** Inode that a fingerprint's text tells. */
export function inodeOf(text) {
  return text === ABSENT ? "" : text.split(":", 2).join(":");
}

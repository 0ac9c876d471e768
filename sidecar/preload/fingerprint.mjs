// Fingerprints as text: "absent" or "dev:ino:size:mtimeNs:ctimeNs". Text compares exactly and survives JSON.
import fs from "node:fs";

const statSync = fs.statSync;

export const ABSENT = "absent";

/** Text form of what the gateway's own fence holds ({exists, dev, ino, size, mtimeNs, ctimeNs} with BigInts). */
export function encode(fingerprint) {
  return fingerprint?.exists ? text(fingerprint) : ABSENT;
}

function text({ dev, ino, size, mtimeNs, ctimeNs }) {
  return `${unsigned(dev)}:${unsigned(ino)}:${unsigned(size)}:${unsigned(mtimeNs)}:${unsigned(ctimeNs)}`;
}

/** Node tells times before 1970, and inodes above 2**63 (SMB and FUSE have them), as negative numbers. */
function unsigned(value) {
  return value < 0n ? BigInt.asUintN(64, value) : value;
}

/** Fingerprint of a path now; ABSENT when there is none. Any other error is thrown. */
export function fingerprintOf(path) {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (!stat) return ABSENT;
  return text(stat);
}

/** Size in bytes that a fingerprint's text tells; 0 for ABSENT. */
export function sizeOf(text) {
  return text === ABSENT ? 0 : Number(text.split(":")[2]);
}

/** What a path is now. Only text and size are kept: of the times, as large numbers, many would wait for their report. */
export function observe(path) {
  return new Observation(statSync(path, { bigint: true, throwIfNoEntry: false }));
}

class Observation {
  #text;

  constructor(stat) {
    this.#text = stat ? text(stat) : ABSENT;
    this.size = stat ? Number(stat.size) : 0; // in bytes
  }

  toJSON() {
    return this.#text;
  }
}

/** Inode that a fingerprint's text tells. */
export function inodeOf(text) {
  return text === ABSENT ? "" : text.split(":", 2).join(":");
}

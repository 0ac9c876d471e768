// Small questions about the arguments of node:fs: which bytes, which flag, which position.
import { hash } from "node:crypto";
import fs from "node:fs";

const MAX_KEPT_BYTES = 4096;

export function sha256(bytes) {
  return hash("sha256", bytes, "hex");
}

/** The digest of bytes that nobody changes any more. Of a few it is made when the report is written, with others. */
export function sha256Later(bytes) {
  return bytes.length > MAX_KEPT_BYTES ? sha256(bytes) : new Digest(bytes);
}

class Digest {
  #bytes;
  #text;

  constructor(bytes) {
    this.#bytes = bytes;
  }

  toJSON() {
    return (this.#text ??= sha256(this.#bytes));
  }
}

export function toBytes(data, encoding) {
  if (typeof data === "string") return Buffer.from(data, typeof encoding === "string" ? encoding : "utf8");
  if (ArrayBuffer.isView(data)) return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  if (data instanceof ArrayBuffer) return Buffer.from(data);
  return undefined; // an iterable or stream: its bytes are not known beforehand
}

export function encodingOf(options) {
  return typeof options === "string" ? options : options?.encoding;
}

export function flagOf(options, preset) {
  return (typeof options === "object" && options !== null && options.flag) || preset;
}

/** How a flag opens a file: where its writes go ("a", "w", "r+"; "r" for none), and whether it cuts the file first. */
export function modeOf(flag) {
  if (typeof flag === "number") {
    const { O_APPEND, O_TRUNC, O_RDWR, O_WRONLY } = fs.constants;
    if (!(flag & (O_RDWR | O_WRONLY))) return { mode: "r", truncates: false };
    const truncates = Boolean(flag & O_TRUNC);
    if (flag & O_APPEND) return { mode: "a", truncates };
    return { mode: truncates ? "w" : "r+", truncates };
  }
  const text = typeof flag === "string" ? flag : "r"; // "a", "as", "sa+", "wx", "xw", "rs+", ...
  if (text.includes("a")) return { mode: "a", truncates: false };
  if (text.includes("w")) return { mode: "w", truncates: true };
  return { mode: text.includes("+") ? "r+" : "r", truncates: false };
}

/** A length or position as Node takes it; anything else is no such number. */
export function natural(value) {
  return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

/** The part of a buffer that write(fd, buffer, offset, length, position) or its object form means. */
export function slice(args) {
  const [, data, a, b, c] = args;
  if (typeof data === "string") return { bytes: toBytes(data, b), position: a };
  const bytes = toBytes(data);
  if (typeof a === "object" && a !== null) {
    const offset = a.offset ?? 0;
    return { bytes: bytes?.subarray(offset, offset + (a.length ?? bytes.length - offset)), position: a.position };
  }
  const offset = typeof a === "number" ? a : 0;
  const length = typeof b === "number" ? b : bytes ? bytes.length - offset : 0;
  return { bytes: bytes?.subarray(offset, offset + length), position: c };
}

export function joined(buffers) {
  return Array.isArray(buffers) ? Buffer.concat(buffers.map((b) => toBytes(b))) : undefined;
}

// Small questions about the arguments of node:fs: which bytes, which flag, which position.
import { createHash } from "node:crypto";
import fs from "node:fs";

export function sha256(bytes) {
  return createHash("sha256").update(bytes).digest("hex");
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
  const flag = (typeof options === "object" && options !== null && options.flag) || preset;
  return typeof flag === "number" ? numericFlag(flag) : flag;
}

export function numericFlag(flag) {
  const { O_APPEND, O_TRUNC, O_RDWR, O_WRONLY } = fs.constants;
  if (flag & O_APPEND) return "a";
  if (flag & O_TRUNC) return "w";
  return flag & (O_RDWR | O_WRONLY) ? "r+" : "r";
}

export function isWriting(flag) {
  return typeof flag === "string" && (flag.startsWith("a") || flag.startsWith("w") || flag.includes("+"));
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

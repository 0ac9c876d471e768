// Names of writers, as they may leave the process: ids and short labels as they are, anything else as a digest (rule 7).
import { createHash } from "node:crypto";

const TOKEN = /^[\w.:@/+#=~-]{1,120}$/;

function digest(value) {
  return createHash("sha256").update(value).digest("hex").slice(0, 16);
}

/** Whether a text is an id or a short label, and can be no sentence of anybody's. */
export function isToken(value) {
  return typeof value === "string" && TOKEN.test(value);
}

/** A name that may leave the process; empty for what is no text. */
export function nameOf(value) {
  if (typeof value !== "string" || !value) return "";
  return TOKEN.test(value) ? value : `sha256:${digest(value)}`;
}

/** A text that OpenClaw itself makes, such as an id; empty for what is none. */
export function text(value) {
  return typeof value === "string" ? value.slice(0, 120) : "";
}

/** Session keys leave the process hashed only. */
export function sessionHash(key) {
  return typeof key === "string" && key ? digest(key) : "";
}

/** The agent in a session key such as `agent:main:telegram:direct:1`; empty if there is none. */
export function agentOf(key) {
  const parts = typeof key === "string" ? key.split(":") : [];
  return parts.length > 2 && parts[0] === "agent" ? nameOf(parts[1]) : "";
}

/** A table that forgets what was entered first: what is looked up here is looked up soon, or never. */
export class Remembered extends Map {
  #limit;

  constructor(limit) {
    super();
    this.#limit = limit;
  }

  set(key, value) {
    if (typeof key !== "string" || !key) return this;
    this.delete(key);
    super.set(key, value);
    if (this.size > this.#limit) this.delete(this.keys().next().value);
    return this;
  }
}

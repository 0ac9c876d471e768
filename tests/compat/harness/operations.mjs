// What writers do to a session file: one table for the co-tenant in the gateway's process and for a process of its own.
import fs from "node:fs";
import path from "node:path";

let count = 0;

const now = () => new Date().toISOString();
const name = (kind) => `${kind}-${process.pid}-${(count += 1)}`;

function lines(file) {
  return fs
    .readFileSync(file, "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

/** The record that the next one hangs on. */
function tip(file) {
  return lines(file).at(-1).id;
}

function message(role, fields = {}) {
  return { role, content: [{ type: "text", text: `a ${role} record` }], timestamp: Date.now(), ...fields };
}

function assistant(fields) {
  const usage = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, totalTokens: 0 };
  const cost = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, total: 0 };
  const defaults = { api: "openai-completions", provider: "mock", model: "slow", stopReason: "stop" };
  return message("assistant", { usage: { ...usage, cost }, ...defaults, ...fields });
}

const mirror = () => assistant({ provider: "openclaw", model: "delivery-mirror" });

/** Append a record behind the tip. */
function append(file, fields) {
  const record = { id: name(fields.type), parentId: tip(file), timestamp: now(), ...fields };
  fs.appendFileSync(file, `${JSON.stringify(record)}\n`);
  return [record.id];
}

function replace(file, bytes) {
  const copy = `${file}.${name("tmp")}`;
  fs.writeFileSync(copy, bytes);
  fs.renameSync(copy, file);
}

function record(fields, parentId) {
  return { id: name(fields.type), parentId, timestamp: now(), ...fields };
}

const say = (file, said) => append(file, { type: "message", message: said });

export const OPERATIONS = {
  nothing: () => [],
  user: (file) => say(file, message("user")),
  assistant: (file) => say(file, assistant()),
  toolResult: (file) =>
    say(file, message("toolResult", { toolCallId: "call-1", toolName: "read", isError: false, details: {} })),
  mirror: (file) => say(file, mirror()),
  injected: (file) => say(file, assistant({ provider: "openclaw", model: "gateway-injected" })),
  side(file) {
    const target = tip(file);
    const beside = record({ type: "message", appendMode: "side", message: mirror() }, target);
    const leaf = record({ type: "leaf", targetId: target, appendParentId: beside.id, appendMode: "side" }, beside.id);
    fs.appendFileSync(file, `${JSON.stringify(beside)}\n${JSON.stringify(leaf)}\n`);
    return [beside.id, leaf.id];
  },
  custom: (file) => append(file, { type: "custom", customType: "note", data: { n: 1 } }),
  label: (file) => append(file, { type: "label", targetId: tip(file), label: "a label" }),
  sessionInfo: (file) => append(file, { type: "session_info", name: "a name" }),
  modelChange: (file) => append(file, { type: "model_change", provider: "mock", modelId: "slow" }),
  thinkingLevel: (file) => append(file, { type: "thinking_level_change", thinkingLevel: "low" }),
  compaction: (file) =>
    append(file, { type: "compaction", summary: "short", firstKeptEntryId: lines(file)[1].id, tokensBefore: 10 }),
  touch(file) {
    const at = new Date(Date.now() + 1000);
    fs.utimesSync(file, at, at);
    return [];
  },
  chmod(file) {
    fs.chmodSync(file, 0o640);
    return [];
  },
  hardLink(file) {
    const aside = path.join(path.dirname(path.dirname(file)), "linked");
    fs.mkdirSync(aside, { recursive: true });
    fs.linkSync(file, path.join(aside, path.basename(file)));
    return [];
  },
  rewrite(file) {
    fs.writeFileSync(file, fs.readFileSync(file));
    return [];
  },
  replaceSame(file) {
    replace(file, fs.readFileSync(file));
    return [];
  },
  replaceAndMirror(file) {
    const added = record({ type: "message", message: mirror() }, tip(file));
    replace(file, `${fs.readFileSync(file, "utf8")}${JSON.stringify(added)}\n`);
    return [added.id];
  },
  shrink(file) {
    const [header, first, ...rest] = lines(file);
    const kept = [header, first, { ...rest.at(-1), parentId: first.id }];
    fs.writeFileSync(file, `${kept.map((line) => JSON.stringify(line)).join("\n")}\n`);
    return [];
  },
  remove(file) {
    fs.unlinkSync(file);
    return [];
  },
};

/** A session as it is before the run: a header, and one exchange that is saved. */
export function begin(file) {
  const header = { type: "session", version: 3, id: path.basename(file, ".jsonl"), timestamp: now(), cwd: "/" };
  const asked = record({ type: "message", message: message("user") }, null);
  const answered = record({ type: "message", message: assistant() }, asked.id);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, `${[header, asked, answered].map((line) => JSON.stringify(line)).join("\n")}\n`);
}

export const prompt = () => message("user");
export const answer = () => assistant();
export const delivered = () => mirror();
export const toolCall = () =>
  assistant({ content: [{ type: "toolCall", id: "call-1", name: "read", arguments: {} }], stopReason: "toolUse" });
export const toolResult = (text) =>
  message("toolResult", {
    toolCallId: "call-1",
    toolName: "read",
    isError: false,
    details: {},
    content: [{ type: "text", text }],
  });

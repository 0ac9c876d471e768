// What worker threads do to databases is reported by the main thread: a worker may be ended at any moment, and a link of its own
// would be gone without a goodbye. A message that was posted is there, whatever becomes of who posted it.
import { BroadcastChannel, receiveMessageOnPort } from "node:worker_threads";

import { safely } from "../guard.mjs";

const NAME = "openclaw-sidecar.rows";

let channel;
let report = () => {};

function open() {
  channel ??= new BroadcastChannel(NAME);
  channel.unref();
  return channel;
}

/** In a worker: tell the main thread, `{change}` or `{lock, at}`. */
export function tellMain(news) {
  open().postMessage(news);
}

/** In the main thread: report what workers tell. */
export function listenToWorkers(told) {
  report = told;
  open().onmessage = ({ data }) => safely("account", () => report(data));
  channel.unref();
}

/** Report what workers have told so far. */
export function hearWorkers() {
  if (!channel) return;
  for (let next = receiveMessageOnPort(channel); next; next = receiveMessageOnPort(channel)) report(next.message);
}

// What worker threads do to databases is reported by the main thread: a worker may be ended at any moment, and a link of
// its own would be gone without a goodbye. A message that was posted is there, whatever becomes of who posted it.
import { BroadcastChannel, receiveMessageOnPort } from "node:worker_threads";

import { safely } from "../guard.mjs";

const NAME = "openclaw-sidecar.rows";

let channel;
let heard = () => {};

function open() {
  channel ??= new BroadcastChannel(NAME);
  channel.unref();
  return channel;
}

/** In a worker: tell the main thread, `{change}`, `{lock, at}`, `{trouble}` or, where a report is missing, `{lost}`. */
export function tellMain(news) {
  open().postMessage(news);
}

/** In the main thread: hear what workers tell. */
export function listenToWorkers(hear) {
  heard = hear;
  open().onmessage = ({ data }) => safely("account", () => heard(data));
  channel.unref();
}

/** Hear what workers have told so far. */
export function hearWorkers() {
  if (!channel) return;
  for (let next = receiveMessageOnPort(channel); next; next = receiveMessageOnPort(channel)) heard(next.message);
}

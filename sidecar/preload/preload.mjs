// Entry of the preload. Given to Node with NODE_OPTIONS=--import, it is inherited by every Node program and worker thread
// that the gateway starts. In helpers of OpenClaw that write no transcript it does nothing; elsewhere it looks at the
// sources of modules as they load (hooks.mjs): no socket and no wrapped function before one declares a hook point.
//
// The default import: a named import of registerHooks would end every program that runs on a Node older than 22.15.
import nodeModule from "node:module";

// The helpers, processes and threads, by their program. tests/e2e/test_helpers.py holds that against the bundles.
const HELPERS = new Set([
  "code-mode-node.worker",
  "code-mode.worker",
  "cron-stream-matcher.worker",
  "fs-safe-copy.worker",
  "git-operation.worker",
  "image-processor.worker",
  "native-hook-relay-client.worker",
  "openclaw-database-verify.worker",
  "openclaw-state-lease-heartbeat.worker",
  "openclaw-state-read.worker",
  "spawn-broker/worker",
  "sqlite-integrity.worker",
  "sqlite-readonly-location.worker",
  "tailscale-route-owner.worker",
  "terminal-pty-worker",
]);
const PROGRAM = /[/]dist[/](?:.*?[/])?(spawn-broker[/]worker|[\w.-]+)[.]js$/;

const { createRequire, registerHooks } = nodeModule;
const isWanted = process.env.OPENCLAW_SIDECAR_PRELOAD !== "off" && !HELPERS.has(PROGRAM.exec(process.argv[1])?.[1]);

if (isWanted && typeof registerHooks === "function") createRequire(import.meta.url)("./hooks.mjs");

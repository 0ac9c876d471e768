// A MODEL of a release that no adapter fits: there is a fence, but the functions around it have other names.
import { acquireSessionWriteLock, appendInjectedAssistantMessageToTranscript } from "./lock.mjs";

export class Takeover extends Error {}

async function createEmbeddedAttemptSessionLockController(params) {
  return { params, hasSessionTakeover: () => false };
}

async function runEmbeddedAttempt(params) {
  return await params.attempt();
}

export {
  acquireSessionWriteLock,
  appendInjectedAssistantMessageToTranscript,
  createEmbeddedAttemptSessionLockController,
  runEmbeddedAttempt,
};

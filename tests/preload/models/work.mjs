// A MODEL of the functions that begin a kind of work, with the names and the parameters of the bundle's, and with what
// a test gives them to do in place of what they do there. The real ones are driven end to end in tests/e2e.
async function handleGatewayRequest(opts) {
  return await opts.handler();
}

async function dispatchReplyFromConfig(params) {
  return await params.dispatch();
}

async function handleCommands(params) {
  return params.result;
}

async function applyInlineDirectiveOverrides(params) {
  return params.result;
}

async function executeJobCore(state, job) {
  return await state.execute(job);
}

async function runHeartbeatOnce(opts) {
  return await opts.run();
}

async function runSubagentAnnounceFlow(params) {
  return await params.announce();
}

async function agentCliCommand(opts, runtime) {
  return await runtime.agent(opts);
}

async function deliverOutboundPayloadsCore(params) {
  return await params.deliver();
}

async function callGateway(opts) {
  return await opts.send(opts);
}

function createMessageTool(options) {
  return { name: "message", async execute(_id, args) { return [this.name, await args.act(options)]; } };
}

function createSessionsSendTool(options) {
  return { name: "sessions_send", execute: async (_id, args) => await args.act(options) };
}

const waiting = [];
function enqueueCommandInLane(lane, task, opts) {
  return new Promise((resolve, reject) => waiting.push(() => task().then(resolve, reject)));
}

/** Not in the bundle: carries out what waits in the lane, from wherever this is called. */
async function drain() {
  for (const task of waiting.splice(0)) await task();
}

async function appendAssistantTranscriptMessage(params) {
  return params.append();
}

async function appendAssistantMessageToSessionTranscript(params) {
  return params.append();
}

async function mirrorInternalSourceReplyToTranscript(params) {
  return await appendAssistantMessageToSessionTranscript(params);
}

async function appendSessionTranscriptMessage(params) {
  return params.append();
}

function appendVoiceTranscript(params) {
  return Promise.resolve().then(() => params.append());
}

async function persistCliTurnTranscript(params) {
  return params.append();
}

async function compactEmbeddedPiSessionDirect(params) {
  return params.append();
}

function truncateOversizedToolResultsInSessionManager(params) {
  return params.append();
}

export {
  agentCliCommand,
  appendAssistantMessageToSessionTranscript,
  appendAssistantTranscriptMessage,
  appendSessionTranscriptMessage,
  appendVoiceTranscript,
  applyInlineDirectiveOverrides,
  callGateway,
  compactEmbeddedPiSessionDirect,
  createMessageTool,
  createSessionsSendTool,
  deliverOutboundPayloadsCore,
  dispatchReplyFromConfig,
  drain,
  enqueueCommandInLane,
  executeJobCore,
  handleCommands,
  handleGatewayRequest,
  mirrorInternalSourceReplyToTranscript,
  persistCliTurnTranscript,
  runHeartbeatOnce,
  runSubagentAnnounceFlow,
  truncateOversizedToolResultsInSessionManager,
};

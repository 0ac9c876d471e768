"""What begins a kind of work names everything that is written in it, and changes nothing else."""

from typing import Final

import pytest

from tests.preload.kit import Gateway, Sidecar
from tests.preload.test_writers import gateway, sidecar, writers

__all__ = ["gateway", "sidecar"]

MAIN: Final = "agent:main:main"
CHILD: Final = "agent:main:subagent:0b1c"
WRITE: Final = "fs.appendFileSync(file, 'x')"
NOTE: Final = f"await bundle.appendAssistantTranscriptMessage({{ append: () => {WRITE} }})"
MIRROR: Final = f"await bundle.appendAssistantMessageToSessionTranscript({{ append: () => {WRITE} }})"


def run(params: str, code: str = WRITE, run_id: str = "r") -> str:
    return f"await bundle.runEmbeddedAttempt({{ runId: '{run_id}', {params}, attempt: async () => {{ {code}; }} }})"


def request(method: str, code: str, params: str = "{}", mode: str = "backend") -> str:
    client = f"{{ connect: {{ client: {{ mode: '{mode}' }} }} }}"
    handler = f"async () => {{ {code}; }}"
    return (
        f"await bundle.handleGatewayRequest({{ req: {{ method: '{method}', params: {params} }},"
        f" client: {client}, handler: {handler} }})"
    )


def dispatch(ctx: str, code: str) -> str:
    return f"await bundle.dispatchReplyFromConfig({{ ctx: {ctx}, dispatch: async () => {{ {code}; }} }})"


def command(text: str, *, known: bool = True) -> str:
    result = "{ shouldContinue: false }" if known else "{ shouldContinue: true }"
    return f"await bundle.handleCommands({{ command: {{ commandBodyNormalized: '{text}' }}, result: {result} }})"


def directives(found: str, *, answered: bool = True) -> str:
    result = f"{{ kind: '{'reply' if answered else 'continue'}' }}"
    return f"await bundle.applyInlineDirectiveOverrides({{ directives: {found}, result: {result} }})"


def job(code: str, fields: str = "id: 'j-1', name: 'daily-digest'") -> str:
    return f"await bundle.executeJobCore({{ execute: async () => {{ {code}; }} }}, {{ {fields} }})"


def heartbeat(code: str, opts: str = "agentId: 'main'") -> str:
    return f"await bundle.runHeartbeatOnce({{ {opts}, run: async () => {{ {code}; }} }})"


def announce(code: str) -> str:
    child = f"childSessionKey: '{CHILD}', childRunId: 'run-7'"
    return f"await bundle.runSubagentAnnounceFlow({{ {child}, announce: async () => {{ {code}; }} }})"


def cli(code: str) -> str:
    return f"await bundle.agentCliCommand({{ agent: 'main' }}, {{ agent: async () => {{ {code}; }} }})"


def tool(maker: str, code: str, options: str = "{}") -> str:
    act = f"act: async () => {{ {code}; }}"
    return f"await bundle.{maker}({options}).execute('id', {{ {act} }})"


def deliver(code: str, channel: str = "telegram") -> str:
    return f"await bundle.deliverOutboundPayloadsCore({{ channel: '{channel}', deliver: async () => {{ {code}; }} }})"


def sent(tool_name: str, source: str) -> str:
    return (
        f"trigger: 'user', sessionKey: '{MAIN}', inputProvenance: "
        f"{{ kind: 'inter_session', sourceTool: '{tool_name}', sourceSessionKey: '{source}' }}"
    )


CHAT: Final = "{ Provider: 'webchat', Surface: 'webchat', CommandSource: 'text' }"
THINK: Final = "{ hasThinkDirective: true, hasQueueDirective: false, thinkLevel: 'high', cleaned: '' }"
THINK_AND_QUEUE: Final = "{ hasThinkDirective: true, hasQueueDirective: true, cleaned: '' }"
TELEGRAM: Final = "{ Provider: 'telegram', Surface: 'telegram' }"


@pytest.mark.parametrize(
    ("code", "kind", "name"),
    [
        (job(WRITE), "cron", "daily-digest"),
        (job(WRITE, "id: 'j-2', name: 'Remind Pat of the pills'"), "cron", "j-2"),
        (job(run("trigger: 'cron', jobId: 'j-1'")), "cron", "daily-digest"),
        (job(heartbeat(run("trigger: 'heartbeat'"), "reason: 'cron:j-1'")), "cron", "daily-digest"),
        (heartbeat(run("trigger: 'heartbeat'"), "reason: 'cron:unknown'"), "cron", "unknown"),
        (heartbeat(run(f"trigger: 'heartbeat', sessionKey: '{MAIN}'")), "heartbeat", "main"),
        (job(deliver(MIRROR)), "cron", "daily-digest"),
        (dispatch(TELEGRAM, WRITE), "channel", "telegram"),
        (dispatch(TELEGRAM, run("trigger: 'user', messageChannel: 'telegram'")), "channel", "telegram"),
        (dispatch(TELEGRAM, deliver(MIRROR)), "mirror", "telegram"),
        (
            dispatch(
                TELEGRAM,
                MIRROR.replace("AssistantMessageTo", "").replace("SessionTranscript", "SessionTranscriptMessage"),
            ),
            "mirror",
            "telegram",
        ),
        (request("send", deliver(MIRROR)), "mirror", "telegram"),
        (request("chat.inject", NOTE.replace("{ append", "{ label: 'night-watch', append")), "inject", "night-watch"),
        (request("chat.inject", NOTE), "inject", ""),
        (request("chat.send", f"{dispatch(CHAT, command('/status'))}; {NOTE}"), "command", "status"),
        (request("chat.send", f"{dispatch(CHAT, command('/secret', known=False))}; {NOTE}"), "command", ""),
        (request("chat.send", f"{dispatch(CHAT, command('/status'))}; {WRITE}"), "command", "status"),
        (request("chat.send", f"{dispatch(CHAT, directives(THINK))}; {NOTE}"), "command", "think"),
        (request("chat.send", f"{dispatch(CHAT, directives(THINK, answered=False))}; {NOTE}"), "command", ""),
        (request("chat.send", f"{dispatch(CHAT, directives(THINK_AND_QUEUE))}; {NOTE}"), "command", ""),
        (request("chat.abort", NOTE.replace("{ append", "{ abortMeta: {}, append")), "command", "abort"),
        (
            request("talk.client.transcript", f"await bundle.appendVoiceTranscript({{ append: () => {WRITE} }})"),
            "channel",
            "voice",
        ),
        (request("sessions.compact", WRITE), "compaction", "manual"),
        (
            request("agent", run(f"sessionKey: '{MAIN}'", run_id="typed"), "{ idempotencyKey: 'typed' }", "cli"),
            "cli",
            "main",
        ),
        (cli(run(f"sessionKey: '{MAIN}'")), "cli", "main"),
        (run(sent("sessions_send", "agent:other:main")), "sessions_send", "other"),
        (announce(run(sent("subagent_announce", CHILD))), "subagent", "main/run-7"),
        (announce(deliver(MIRROR)), "subagent", "main/run-7"),
        (run(f"sessionKey: '{CHILD}'"), "subagent", "main/r"),
        (run(sent("image_generate", MAIN)), "gateway", "image_generate"),
        (run("trigger: 'user'", tool("createMessageTool", deliver(MIRROR))), "message_tool", "telegram"),
        (tool("createSessionsSendTool", MIRROR, "{ agentSessionKey: 'agent:other:main' }"), "sessions_send", "other"),
        (
            f"await bundle.compactEmbeddedPiSessionDirect({{ trigger: 'overflow', append: () => {WRITE} }})",
            "compaction",
            "overflow",
        ),
        (f"bundle.truncateOversizedToolResultsInSessionManager({{ append: () => {WRITE} }})", "truncation", ""),
    ],
)
def test_what_is_written_in_a_kind_of_work_is_named_by_it(
    gateway: Gateway, sidecar: Sidecar, code: str, kind: str, name: str
) -> None:
    [found] = writers(gateway, sidecar, code)
    assert (found["kind"], found.get("name", "")) == (kind, name)


def test_a_tool_writes_for_the_run_that_calls_it(gateway: Gateway, sidecar: Sidecar) -> None:
    [found] = writers(gateway, sidecar, run("trigger: 'user'", tool("createMessageTool", deliver(MIRROR))))
    assert found == {"kind": "message_tool", "name": "telegram", "run": "r"}


FILLED: Final = f"sessionKey: '{MAIN}', embeddedAssistantGapFill: true"
NOT_FILLED: Final = f"sessionKey: '{MAIN}', embeddedAssistantGapFill: false"


def persist(fields: str) -> str:
    return f"await bundle.persistCliTurnTranscript({{ {fields}, append: () => {WRITE} }})"


def test_the_text_of_another_programs_turn_is_a_command_lines(gateway: Gateway, sidecar: Sidecar) -> None:
    """Whatever run was in that session before."""
    ended = run("trigger: 'user', sessionKey: 'agent:main:main'", "1")
    found = writers(gateway, sidecar, f"{ended}; {persist(NOT_FILLED)}")
    assert found == [{"kind": "cli"}]


def test_what_the_gateway_adds_after_a_run_of_its_own_is_that_runs(gateway: Gateway, sidecar: Sidecar) -> None:
    """It looks after each turn whether the answer is in the file, with the function for turns of other programs."""
    ended = run(f"trigger: 'user', sessionKey: '{MAIN}', messageChannel: 'telegram'", "1")
    elsewhere = persist(FILLED.replace(":main:main", ":main:never"))
    found = writers(gateway, sidecar, f"{ended}; {persist(FILLED)}; {elsewhere}")
    assert found == [{"kind": "channel", "name": "telegram", "run": "r"}, {"kind": "gateway"}]


def test_a_message_that_the_gateway_sends_for_a_tool_is_the_tools(gateway: Gateway, sidecar: Sidecar) -> None:
    params = "{ idempotencyKey: 'k-2', channel: 'telegram' }"
    call = f"await bundle.callGateway({{ method: 'message.action', params: {params}, send: () => {{}} }})"
    found = writers(gateway, sidecar, f"{tool('createMessageTool', call)}; {request('message.action', MIRROR, params)}")
    assert found == [{"kind": "message_tool", "name": "telegram"}]


def test_what_the_message_tool_says_in_the_chat_is_the_tools(gateway: Gateway, sidecar: Sidecar) -> None:
    reply = f"await bundle.mirrorInternalSourceReplyToTranscript({{ append: () => {WRITE} }})"
    plain = CHAT.replace(", CommandSource: 'text'", "")
    found = writers(gateway, sidecar, request("chat.send", dispatch(plain, reply)))
    assert found == [{"kind": "message_tool", "name": "webchat"}]


def test_a_mirror_after_its_dispatch_is_of_the_chat(gateway: Gateway, sidecar: Sidecar) -> None:
    plain = CHAT.replace(", CommandSource: 'text'", "")
    found = writers(gateway, sidecar, request("chat.send", f"{dispatch(plain, '1')}; {MIRROR}"))
    assert found == [{"kind": "mirror", "name": "webchat"}]


def test_a_call_to_the_gateway_itself_is_its_callers(gateway: Gateway, sidecar: Sidecar) -> None:
    """It goes over a socket, where no context does; here it is taken up outside of any."""
    params = "{ idempotencyKey: 'k-1' }"
    call = f"await bundle.callGateway({{ method: 'send', params: {params}, send: () => {{ g.sent = true }} }})"
    taken = request("send", deliver(MIRROR), params)
    found = writers(gateway, sidecar, f"{tool('createMessageTool', call)}; {taken}")
    assert found == [{"kind": "message_tool", "name": "telegram"}]


def test_a_task_in_a_lane_belongs_to_who_put_it_there(gateway: Gateway, sidecar: Sidecar) -> None:
    code = f"""
      const attempt = async () => {{ {WRITE}; }};
      const beat = () => bundle.runEmbeddedAttempt({{ runId: "r", trigger: "heartbeat", attempt }});
      const opts = {{ reason: "cron:j-9", run: () => bundle.enqueueCommandInLane("main", beat) }};
      const first = bundle.runHeartbeatOnce(opts);
      await bundle.runHeartbeatOnce({{ agentId: "main", run: () => bundle.drain() }});
      await first;
    """
    [found] = writers(gateway, sidecar, code)
    assert (found["kind"], found["name"]) == ("cron", "j-9")


def test_a_timer_set_by_work_that_has_ended_is_nobodys(gateway: Gateway, sidecar: Sidecar) -> None:
    later = f"g.later = new Promise((done) => setTimeout(() => {{ {WRITE}; done(); }}, 5))"
    assert writers(gateway, sidecar, f"{job(later)}; await g.later") == [{"kind": "gateway"}]


def test_what_a_command_leads_to_after_its_request_is_the_commands(gateway: Gateway, sidecar: Sidecar) -> None:
    """The gateway answers the request first, and the command afterwards."""
    later = f"g.later = (async () => {{ await null; {dispatch(CHAT, command('/status'))}; {NOTE}; }})()"
    found = writers(gateway, sidecar, f"{request('chat.send', later)}; await g.later")
    assert found == [{"kind": "command", "name": "status"}]


def test_a_reply_of_a_run_in_the_chat_is_no_command(gateway: Gateway, sidecar: Sidecar) -> None:
    plain = CHAT.replace(", CommandSource: 'text'", "")
    code = request("chat.send", dispatch(plain, run("trigger: 'user', messageChannel: 'webchat'", NOTE)))
    assert writers(gateway, sidecar, code) == [{"kind": "mirror", "name": "webchat", "run": "r"}]


def test_a_wrapped_function_gives_and_throws_what_it_did(gateway: Gateway) -> None:
    code = """
      const wrong = new Error("mine");
      const thrown = await bundle.runHeartbeatOnce({ run: async () => { throw wrong; } }).catch((error) => error);
      const sync = bundle.truncateOversizedToolResultsInSessionManager({ append: () => "at once" });
      const tool = await bundle.createMessageTool({ a: 1 }).execute("id", { act: async (options) => options.a });
      const lane = bundle.enqueueCommandInLane("main", async () => "done");
      await bundle.drain();
      return [thrown === wrong, sync, tool, await lane];
    """
    assert gateway.do(code) == [True, "at once", ["message", 1], "done"]


@pytest.mark.parametrize(
    "call",
    [
        "bundle.handleGatewayRequest({ handler: async () => 1 })",
        "bundle.dispatchReplyFromConfig({ dispatch: async () => 1 })",
        "bundle.executeJobCore({ execute: async () => 1 })",
        "bundle.runHeartbeatOnce({ reason: 7, agentId: {}, run: async () => 1 })",
        "bundle.runSubagentAnnounceFlow({ childSessionKey: 7, announce: async () => 1 })",
        "bundle.agentCliCommand(null, { agent: async () => 1 })",
        "bundle.callGateway({ params: null, send: async () => 1 })",
        "bundle.handleCommands({ result: 1 })",
        "bundle.applyInlineDirectiveOverrides({ directives: 7, result: 1 })",
        "bundle.runEmbeddedAttempt({ inputProvenance: 7, sessionKey: {}, attempt: async () => 1 })",
    ],
)
def test_parameters_of_another_shape_are_no_trouble(gateway: Gateway, sidecar: Sidecar, call: str) -> None:
    assert gateway.do(f"return await {call}") == 1
    sidecar.sync()
    assert sidecar.said("trouble") == []

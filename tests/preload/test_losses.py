"""What a run lost its turn to: the first error that it met, by class and code, whoever hides it later."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.preload.kit import EVALUATE, MODELS, PRELOAD, Evaluator, Node, Sidecar, Told, clean_environment
from tests.preload.test_rows import PROGRAM, SESSION, RowGateway

KEY: Final = "agent:main:main"

MORE: Final = """
const losses = await import(new URL("dist/losses.mjs", import.meta.url).href);
const sqlite = (errcode) => Object.assign(new Error("text that says nothing"), { code: "ERR_SQLITE_ERROR", errcode });
const write = (work) => losses.runOpenClawAgentWriteTransaction(work);
const failing = (error) => () => { throw error; };
const failed = (error) => ({ terminal: { kind: "failed", source: "prompt", error } });
const caught = (work) => { try { work(); } catch (error) { return error; } };
const manager = () => bundle.guardSessionManager({ appendMessage: (message) => message.store() });
"""


class LosingGateway(RowGateway):
    """The model of a gateway, with what there is around its losses."""

    def __init__(self, node: Path, directory: Path, sidecar: Sidecar) -> None:
        (directory / "dist").mkdir(parents=True)
        for name in ("rows.mjs", "losses.mjs"):
            (directory / "dist" / name).write_text((MODELS / name).read_text())
        super().__init__(node, directory, sidecar, PROGRAM + MORE)


@pytest.fixture
def gateway(node: Path, tmp_path: Path, sidecar: Sidecar) -> Iterator[LosingGateway]:
    with LosingGateway(node, tmp_path, sidecar) as opened:
        sidecar.renew()
        opened.do("await startRun()")
        yield opened


def lost(gateway: LosingGateway, sidecar: Sidecar, rest: str) -> list[Told]:
    """What is told when the run goes on with this; each message is one that the real sidecar understands."""
    gateway.do(f"await endRun(async () => {{ {rest} }}).catch(() => undefined)")
    sidecar.sync()
    assert sidecar.link.messages
    assert [told["takeover"] for told in sidecar.said("fence.closed")] in ([], [False])
    return sidecar.said("turn.lost")


CODES: Final = {
    5: ("busy", ""),
    517: ("busy", ""),
    13: ("storage", "full"),
    8: ("storage", "readonly"),
    1544: ("storage", "readonly"),
    11: ("storage", "corrupt"),
    26: ("storage", "notadb"),
    10: ("storage", "ioerr"),
    14: ("storage", "cantopen"),
}


@pytest.mark.parametrize(("code", "expected"), CODES.items())
def test_an_error_of_sqlite_is_told_by_its_code(
    gateway: LosingGateway, sidecar: Sidecar, code: int, expected: tuple[str, str]
) -> None:
    [told] = lost(gateway, sidecar, f"const e = caught(() => write(failing(sqlite({code})))); return failed(e);")
    assert (told["cause"], told["detail"]) == expected
    assert (told["file"], told["window"]) == (gateway.transcript, sidecar.said("fence.set")[-1]["window"])
    assert told["run"]["run"] == "run-1"
    assert told["seq"] < sidecar.said("fence.closed")[-1]["seq"]


CLASSES: Final = {
    "SqliteTranscriptMutationConflictError": "conflict",
    "SessionTranscriptWriterClaimReboundError": "rebound",
    "SessionTranscriptProjectionUnavailableError": "projection",
}


@pytest.mark.parametrize(("name", "cause"), CLASSES.items())
def test_an_error_of_the_gateway_is_told_by_its_class(
    gateway: LosingGateway, sidecar: Sidecar, name: str, cause: str
) -> None:
    [told] = lost(gateway, sidecar, f'return failed(new (losses.classes().{name})("x"));')
    assert told["cause"] == cause
    same = (
        f"const made = new (losses.classes().{name})('x'); return [made instanceof losses.classes().{name}, made.name]"
    )
    assert gateway.do(same) == [True, name]


def test_an_error_that_is_thrown_out_of_the_run_or_behind_another_one_counts(
    gateway: LosingGateway, sidecar: Sidecar
) -> None:
    [told] = lost(gateway, sidecar, 'throw new Error("outer", { cause: sqlite(5) });')
    assert told["cause"] == "busy"


def test_the_first_error_is_told_and_not_the_one_that_hides_it(gateway: LosingGateway, sidecar: Sidecar) -> None:
    hidden = (
        "const store = () => write(failing(sqlite(5)));"
        "caught(() => manager().appendMessage({ role: 'assistant', store }));"
        "write(() => undefined);"  # the database is free again
        "return failed(new (losses.classes().SqliteTranscriptMutationConflictError)('x'));"
    )
    [told] = lost(gateway, sidecar, hidden)
    assert told["cause"] == "busy"


def test_an_answer_that_could_not_be_stored_is_lost_whatever_the_gateway_makes_of_the_attempt(
    gateway: LosingGateway, sidecar: Sidecar
) -> None:
    rest = (
        "const store = () => write(failing(sqlite(5)));"
        "caught(() => manager().appendMessage({ role: 'assistant', store })); return { terminal: { kind: 'ok' } };"
    )
    [told] = lost(gateway, sidecar, rest)
    assert told["cause"] == "busy"


def test_an_answer_that_says_that_it_failed_is_none(gateway: LosingGateway, sidecar: Sidecar) -> None:
    rest = (
        "const m = manager(); const store = () => write(failing(sqlite(5)));"
        "caught(() => m.appendMessage({ role: 'assistant', store }));"
        "m.appendMessage({ role: 'assistant', stopReason: 'error', store: () => undefined });"
        "return { terminal: { kind: 'ok' } };"
    )
    [told] = lost(gateway, sidecar, rest)
    assert told["cause"] == "busy"


def test_an_error_that_is_known_by_its_name_alone_counts_where_it_leaves_the_store(
    gateway: LosingGateway, sidecar: Sidecar
) -> None:
    rest = (
        "const error = new Error('x'); error.name = 'SqliteTranscriptMutationConflictError';"
        "caught(() => manager().appendMessage({ role: 'assistant', store: failing(error) }));"
        "return { terminal: { kind: 'ok' } };"
    )
    [told] = lost(gateway, sidecar, rest)
    assert told["cause"] == "conflict"


def test_a_database_that_the_gateway_has_quarantined_is_told_as_that(gateway: LosingGateway, sidecar: Sidecar) -> None:
    rest = "const error = new Error('x'); error.name = 'SqliteIntegrityError'; caught(() => write(failing(error)));"
    [told] = lost(gateway, sidecar, rest + "throw new Error('y', { cause: error });")
    assert (told["cause"], told["detail"]) == ("storage", "quarantined")


def test_an_answer_that_was_stored_at_a_second_try_is_not_lost(gateway: LosingGateway, sidecar: Sidecar) -> None:
    rest = (
        "const answer = { id: 'a', parent: 'q', role: 'assistant' };"
        "const store = () => { caught(() => write(failing(sqlite(5)))); add(answer); };"
        "manager().appendMessage({ role: 'assistant', store }); return { terminal: { kind: 'ok' } };"
    )
    assert lost(gateway, sidecar, rest) == []


HARMLESS: Final = {
    "the turn was answered": "caught(() => write(failing(sqlite(5)))); return { terminal: { kind: 'ok' } };",
    "a user ended it": "caught(() => write(failing(sqlite(5)))); return { terminal: { kind: 'aborted' } };",
    "the model failed after the run had stored something": (
        "new (losses.classes().SqliteTranscriptMutationConflictError)('x');"
        "manager().appendMessage({ role: 'assistant', store: () => undefined }); return failed(new Error('the model'));"
    ),
    "the model failed after the database was free again": (
        "caught(() => write(failing(sqlite(5)))); write(() => undefined); return failed(new Error('the model'));"
    ),
    "the model failed": "return failed(new Error('database is locked'));",
}


@pytest.mark.parametrize("rest", HARMLESS.values(), ids=HARMLESS)
def test_what_cost_no_turn_is_not_told(gateway: LosingGateway, sidecar: Sidecar, rest: str) -> None:
    assert lost(gateway, sidecar, rest) == []


REFUSED: Final = (
    "const scope = { expectedWriterRunId: 'run-1', expectedLifecycleRevision: 1 };"
    "losses.resolveTranscriptAppendRefusal(ENTRY, { sessionId: 's' }, scope);"
    "return failed(new (losses.classes().SessionTranscriptWriterClaimReboundError)());"
)

REFUSALS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "claim": ("{ sessionId: 's', activeWriterRunId: 'a-strangers' }", {"other": "a-strangers", "known": False}),
    "removed claim": ("{ sessionId: 's', lifecycleRevision: 1 }", {"detail": "claim", "known": False}),
    "claim of nobody": ("{ sessionId: 's', lifecycleRevision: 1, activeWriterRunId: null }", {"detail": "claim"}),
    "begun anew": ("{ sessionId: 's', lifecycleRevision: 2 }", {"detail": "revision"}),
    "session": ("{ sessionId: 't', activeWriterRunId: 'a-strangers' }", {}),
    "revision": ("{ sessionId: 's', activeWriterRunId: 'run-1', lifecycleRevision: 2 }", {}),
    "entry": ("undefined", {}),
}


@pytest.mark.parametrize("detail", [name for name in REFUSALS if name != "revision"])
def test_a_rebound_says_what_was_changed(gateway: LosingGateway, sidecar: Sidecar, detail: str) -> None:
    entry, more = REFUSALS[detail]
    [told] = lost(gateway, sidecar, REFUSED.replace("ENTRY", entry))
    assert told["cause"] == "rebound"
    more = {"detail": detail, **more}
    assert {name: told.get(name) for name in more} == more


def test_a_claim_that_the_gateways_own_restart_takes_back_is_known(gateway: LosingGateway, sidecar: Sidecar) -> None:
    taken = (
        "const entry = { sessionId: 's', lifecycleRevision: 1, activeWriterRunId: 'run-1' };"
        "losses.transitionMainSessionRecovery(entry, { kind: 'mark_interrupted' });"
    )
    [told] = lost(gateway, sidecar, taken + REFUSED.replace("ENTRY", "entry"))
    assert (told["cause"], told["detail"], told.get("other", ""), told["known"]) == ("rebound", "claim", "", True)


def test_a_claim_of_another_run_of_this_gateway_is_known_and_told_with_whether_it_runs(
    gateway: LosingGateway, sidecar: Sidecar
) -> None:
    entry = "{ sessionId: 's', activeWriterRunId: 'run-2' }"
    claim = "await losses.claimAgentSessionWriter({ runId: 'run-2', sessionKey: 'agent:main:other' });"
    [told] = lost(gateway, sidecar, claim + REFUSED.replace("ENTRY", entry))
    assert (told["other"], told["known"], told["live"]) == ("run-2", True, False)


def test_a_strangers_claim_that_is_no_id_leaves_as_a_digest(gateway: LosingGateway, sidecar: Sidecar) -> None:
    entry = "{ sessionId: 's', activeWriterRunId: 'a whole sentence' }"
    [told] = lost(gateway, sidecar, REFUSED.replace("ENTRY", entry))
    assert told["other"].startswith("sha256:")


STOPPED: Final = (
    "await new Promise((end) => losses.cancels.set('run-1', end)); return { terminal: { kind: 'aborted' } };"
)


def test_a_run_that_a_newer_one_stops_is_superseded_and_the_claim_is_told(
    gateway: LosingGateway, sidecar: Sidecar
) -> None:
    gateway.do(f"await losses.claimAgentSessionWriter({{ runId: 'run-1', sessionKey: {KEY!r} }})")
    gateway.do(f"g.rest = async () => {{ {STOPPED} }}; g.goOn(); await new Promise(setImmediate)")
    gateway.do(f"await losses.claimAgentSessionWriter({{ runId: 'run-2', sessionKey: {KEY!r} }}); await g.run")
    sidecar.sync()
    first, second = sidecar.said("claim")
    session = sidecar.said("fence.set")[-1]["run"]["session"]
    assert (first["run"], first["previous"]) == ({"run": "run-1", "session": session}, "")
    assert (second["run"]["run"], second["previous"], second["superseded"]) == ("run-2", "run-1", True)
    [told] = sidecar.said("turn.lost")
    assert (told["cause"], told["other"], told["known"]) == ("superseded", "run-2", True)


def test_a_run_whose_session_is_reset_is_told_as_reset(gateway: LosingGateway, sidecar: Sidecar) -> None:
    gateway.do(f"await losses.claimAgentSessionWriter({{ runId: 'run-1', sessionKey: {KEY!r} }})")
    gateway.do(f"g.rest = async () => {{ {STOPPED} }}; g.goOn(); await new Promise(setImmediate)")
    gateway.do(f"await losses.performGatewaySessionReset({{ key: {KEY!r} }}); await g.run")
    sidecar.sync()
    [told] = sidecar.said("turn.lost")
    assert told["cause"] == "reset"


def test_a_reset_that_was_refused_costs_no_turn(gateway: LosingGateway, sidecar: Sidecar) -> None:
    refused = f"await losses.performGatewaySessionReset({{ key: {KEY!r}, refused: true }});"
    assert lost(gateway, sidecar, refused + "return { terminal: { kind: 'aborted' } };") == []


def test_a_later_attempt_that_has_the_same_manager_is_told_by_itself(gateway: LosingGateway, sidecar: Sidecar) -> None:
    lost(gateway, sidecar, "g.manager = manager(); return { terminal: { kind: 'ok' } };")
    store = "() => write(failing(sqlite(5)))"
    answer = f"caught(() => g.manager.appendMessage({{ role: 'toolResult', toolName: 'exec', store: {store} }}))"
    attempt = (
        f"async () => {{ bundle.guardSessionManager(g.manager); {answer}; return {{ terminal: {{ kind: 'ok' }} }}; }}"
    )
    gateway.do(f"await bundle.runEmbeddedAttempt({{ runId: 'run-2', sessionKey: {KEY!r}, attempt: {attempt} }})")
    sidecar.sync()
    [told] = sidecar.said("turn.lost")
    assert (told["run"]["run"], told["cause"], told["tools"]) == ("run-2", "busy", ["exec"])


def test_an_answer_that_is_stored_is_told_with_its_row(gateway: LosingGateway, sidecar: Sidecar) -> None:
    rest = (
        "add({ id: 'a', parent: 'q', role: 'assistant' });"
        "return failed(new (losses.classes().SessionTranscriptProjectionUnavailableError)('x'));"
    )
    [told] = lost(gateway, sidecar, rest)
    assert (told["cause"], told["row"]) == ("projection", 1)


def test_where_nothing_was_stored_there_is_no_row_to_name(gateway: LosingGateway, sidecar: Sidecar) -> None:
    rest = "return failed(new (losses.classes().SessionTranscriptProjectionUnavailableError)('x'));"
    [told] = lost(gateway, sidecar, rest)
    assert told["row"] == -1


def test_a_conflict_names_the_first_input_behind_the_run(gateway: LosingGateway, sidecar: Sidecar) -> None:
    gateway.do('add({ id: "n", parent: "q", role: "assistant" }); add({ id: "c", parent: "n", role: "user" })')
    rest = "return failed(new (losses.classes().SqliteTranscriptMutationConflictError)('x'));"
    [told] = lost(gateway, sidecar, rest)
    assert (told["cause"], told["row"]) == ("conflict", 2)


def test_a_tool_whose_result_could_not_be_stored_is_named(gateway: LosingGateway, sidecar: Sidecar) -> None:
    rest = (
        "const m = manager();"
        "m.appendMessage({ role: 'toolResult', toolName: 'read', store: () => undefined });"
        "const store = () => write(failing(sqlite(5)));"
        "return failed(caught(() => m.appendMessage({ role: 'toolResult', toolName: 'exec', store })));"
    )
    [told] = lost(gateway, sidecar, rest)
    assert (told["cause"], told["tools"]) == ("busy", ["exec"])


def test_a_run_without_a_window_is_told_with_the_transcript_of_its_session(
    gateway: LosingGateway, sidecar: Sidecar
) -> None:
    lost(gateway, sidecar, "return { terminal: { kind: 'ok' } };")
    attempt = "async () => failed(caught(() => write(failing(sqlite(13)))))"
    gateway.do(f"await bundle.runEmbeddedAttempt({{ runId: 'run-2', sessionKey: {KEY!r}, attempt: {attempt} }})")
    sidecar.sync()
    [told] = sidecar.said("turn.lost")
    assert (told["run"]["run"], told["file"], told["window"]) == ("run-2", f"{gateway.path}#{SESSION}", "")


STARTS: Final = {
    "start": "changed: true",
    "turn_claim": "admit: () => { throw new (losses.classes().ActiveTurnClaimError)('x'); }",
}


@pytest.mark.parametrize(("detail", "how"), STARTS.items())
def test_a_run_that_the_session_does_not_take_is_told_once(
    gateway: LosingGateway, sidecar: Sidecar, detail: str, how: str
) -> None:
    lost(gateway, sidecar, "return { terminal: { kind: 'ok' } };")
    start = f"losses.runEmbeddedAgent({{ runId: 'run-2', trigger: 'user', sessionKey: {KEY!r}, {how} }})"
    gateway.do(f"await {start}.catch(() => undefined)")
    sidecar.sync()
    [told] = sidecar.said("turn.lost")
    assert (told["cause"], told["detail"], told["window"]) == ("admission", detail, "")
    assert (told["run"]["run"], told["run"]["kind"]) == ("run-2", "user_turn")
    assert told["file"] == gateway.transcript


def test_a_run_that_came_to_an_attempt_is_told_by_that_alone(gateway: LosingGateway, sidecar: Sidecar) -> None:
    lost(gateway, sidecar, "return { terminal: { kind: 'ok' } };")
    attempt = "async () => { throw sqlite(5); }"
    run = f"() => bundle.runEmbeddedAttempt({{ runId: 'run-2', sessionKey: {KEY!r}, attempt: {attempt} }})"
    start = f"losses.runEmbeddedAgent({{ runId: 'run-2', sessionKey: {KEY!r}, run: {run} }})"
    gateway.do(f"await {start}.catch(() => undefined)")
    sidecar.sync()
    assert [told["cause"] for told in sidecar.said("turn.lost")] == ["busy"]


def test_a_process_that_has_nothing_but_these_points_is_left_alone(
    node: Path, tmp_path: Path, sidecar: Sidecar
) -> None:
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "losses.mjs").write_text((MODELS / "losses.mjs").read_text())
    (tmp_path / "package.json").write_text('{"name": "openclaw", "version": "2026.9.6", "type": "module"}')
    script = tmp_path / "evaluate.mjs"
    script.write_text(
        EVALUATE.replace("PROGRAM", "const losses = await import(new URL('dist/losses.mjs', import.meta.url));")
    )
    env = clean_environment(
        NODE_OPTIONS=f"--import={PRELOAD}", OPENCLAW_SIDECAR_SOCKET=str(sidecar.path), OPENCLAW_STATE_DIR=str(tmp_path)
    )
    program = Evaluator.__new__(Evaluator)
    Node.__init__(program, node, script, env=env, cwd=tmp_path)
    with program:
        names = program.do("return Object.values(losses.classes()).map((made) => new made('x').name)")
        assert sorted(names) == sorted([*CLASSES, "ActiveTurnClaimError"])
        assert program.do("return losses.claimAgentSessionWriter.toString().includes('claims.set')") is True


def test_the_entry_of_the_preload_knows_the_names_of_all_that_is_wrapped() -> None:
    entry = (PRELOAD.parent / "hooks.mjs").read_text()
    wrapped = (PRELOAD.parent / "rows" / "lost_turns.mjs").read_text()
    listed = {
        name
        for block in re.findall(r"const (?:LOSS_POINTS|ERRORS) = \[(.*?)\]", entry, re.DOTALL)
        for name in re.findall(r'"(\w+)"', block)
    }
    classes = re.search(r"const CLASSES = \{(.*?)\n\};", wrapped, re.DOTALL)
    points = re.search(r"const LOSS_POINTS = \{(.*?)\n\};", wrapped, re.DOTALL)
    assert classes is not None
    assert points is not None
    assert listed == {
        *re.findall(r"^  (\w+): ", classes[1], re.MULTILINE),
        *re.findall(r"^  (\w+): ", points[1], re.MULTILINE),
    }

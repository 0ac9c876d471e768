"""Lines of the gateway's log: known shapes become a class, ids and numbers; no text passes."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.preload import preload_path
from tests.preload.kit import Evaluator

KEY: Final = "agent:main:main"
HASH: Final = sha256(KEY.encode()).hexdigest()[:16]
SECRET: Final = "My password is hunter2"
TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(scope="module")
def evaluator(node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evaluator]:
    module = (preload_path().parent / "bus" / "gatewaylog.mjs").as_uri()
    program = f'import {{ consequenceOf }} from "{module}";\nglobalThis.consequenceOf = consequenceOf;'
    with Evaluator(node, tmp_path_factory.mktemp("log"), program) as opened:
        yield opened


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    directory = tmp_path / "agents" / "main" / "sessions"
    directory.mkdir(parents=True)
    return directory


def consequence(evaluator: Evaluator, message: str, level: str = "ERROR", **event: object) -> Any:  # noqa: ANN401 - any JSON value
    return evaluator.do(f"return consequenceOf({json.dumps({'message': message, 'level': level, **event})});")


def takeover(sessions: Path) -> str:
    error = "EmbeddedAttemptSessionTakeoverError: session file changed while embedded prompt lock was released: "
    return f"{error}{sessions / '0a1b.jsonl'}"


def test_a_lost_turn_of_a_session_lane(evaluator: Evaluator, sessions: Path) -> None:
    line = f'lane task error: lane=session:{KEY} durationMs=9028 error="{takeover(sessions)}"'
    assert consequence(evaluator, line, trace={"traceId": TRACE}) == {
        "event": "log.lane_task_error",
        "session": HASH,
        "duration_ms": 9028,
        "reason": "takeover",
        "file": str(sessions.resolve() / "0a1b.jsonl"),
        "trace": TRACE,
    }


def test_the_main_lane_names_no_session(evaluator: Evaluator, sessions: Path) -> None:
    said = consequence(evaluator, f'lane task error: lane=main durationMs=9024 error="{takeover(sessions)}"')
    assert "session" not in said
    assert said["file"].endswith("/0a1b.jsonl")


def test_another_error_of_a_lane_keeps_its_text_to_itself(evaluator: Evaluator) -> None:
    said = consequence(evaluator, f'lane task error: lane=main durationMs=12 error="Error: {SECRET}"')
    assert said == {"event": "log.lane_task_error", "duration_ms": 12, "reason": "error"}


def test_a_stalled_session_that_nobody_recovers(evaluator: Evaluator) -> None:
    line = (
        f"stalled session: sessionId=s1 sessionKey={KEY} state=processing age=151s queueDepth=0 "
        "reason=active_work_without_progress classification=stalled_agent_run recovery=none"
    )
    said = consequence(evaluator, line, "WARN")
    assert said == {"event": "log.recovery_none", "session": HASH, "duration_ms": 151_000}
    assert consequence(evaluator, line.replace("none", "checking"), "WARN") is None
    assert consequence(evaluator, line, "DEBUG") is None


def test_a_candidate_that_failed_for_a_takeover(evaluator: Evaluator, sessions: Path) -> None:
    attributes = {"decision": "candidate_failed", "runId": "run-1", "errorPreview": takeover(sessions), "x": SECRET}
    said = consequence(evaluator, "model fallback decision", "WARN", attributes=attributes)
    file = str(sessions.resolve() / "0a1b.jsonl")
    assert said == {"event": "log.candidate_failed", "run": "run-1", "reason": "takeover", "file": file}


@pytest.mark.parametrize(
    ("message", "attributes"),
    [
        (SECRET, {}),
        ("model fallback decision", {"decision": "candidate_failed", "runId": "r", "errorPreview": "rate limit"}),
        ("model fallback decision", {"decision": "candidate_succeeded"}),
        ("lane task error: something else", {}),
        ("", None),
    ],
)
def test_other_lines_are_none_of_ours(evaluator: Evaluator, message: str, attributes: object) -> None:
    assert consequence(evaluator, message, attributes=attributes) is None


def test_a_path_that_is_no_session_file_is_left_out(evaluator: Evaluator) -> None:
    error = f"session file changed while embedded prompt lock was released: /{SECRET}.jsonl"
    said = consequence(evaluator, f'lane task error: lane=main durationMs=1 error="{error}"')
    assert said == {"event": "log.lane_task_error", "duration_ms": 1, "reason": "takeover"}

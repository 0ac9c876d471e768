"""What is sent to ``POST /v1/hooks``, and the sessions that it names."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sidecar.cotenant.errors import SessionNameError
from sidecar.cotenant.locate import locate
from sidecar.web.hooks import MAX_DETAIL, HookBegin, HookEnd, HookRefused, _parse
from tests.fuzz.mutate import bounded, fuzzed, mutated, with_strange_values

BODIES: list[dict[str, object]] = [
    {"phase": "begin", "session": "agent:main:main", "name": "backup", "pid": 4711},
    {"phase": "end", "hook": "0123456789abcdef", "ranges": [{"offset": 0, "length": 10, "sha256": "ab" * 32}]},
]


@given(mutated("hooks") | with_strange_values(BODIES))
@fuzzed
def test_a_body_is_a_hook_or_is_refused_in_one_line(body: bytes) -> None:
    with bounded():
        try:
            parsed: HookBegin | HookEnd | HookRefused = _parse(body)
        except HookRefused as refused:
            parsed = refused
    assert not isinstance(parsed, HookRefused) or len(parsed.detail) <= MAX_DETAIL


@given(
    st.text(max_size=40) | st.sampled_from(["\0", "a" * 5000, "../" * 40, "/" * 4000, "\ud800", "a/\0", "..", "*", ""])
)
@fuzzed
def test_a_session_is_found_or_is_not(tmp_path: Path, session: str) -> None:
    directory = tmp_path / "agents" / "main" / "sessions"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "0a1b.jsonl").touch()
    (directory / "sessions.json").write_text('{"a":{"sessionFile":"\\u0000"},"b":{"sessionId":"../../x"},"c":[]}')
    with bounded():
        try:
            assert locate(session, tmp_path).is_relative_to(tmp_path)
        except (SessionNameError, OSError):
            return

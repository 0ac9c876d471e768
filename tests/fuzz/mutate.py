"""Strange input: files of the corpus, changed byte by byte, or value by value where they are JSON."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

CORPUS: Final = Path(__file__).parent / "corpus"
EXAMPLES: Final = int(os.environ.get("OPENCLAW_SIDECAR_FUZZ_EXAMPLES", "60"))
"""Of each test; `make fuzz` asks for many more."""

CPU_SECONDS: Final = 2.0
"""Of one input, in processor time of its own: a busy machine does not count."""

fuzzed: Callable[[Callable[..., None]], Callable[..., None]] = settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.large_base_example],
)

_PIECES: Final = (
    *(b"\n", b"\0", b"\xff", b"\xed\xa0\x80", b'"', b"\\", b"{", b"[", b"]" * 50, b"[" * 3000, b'{"a":' * 3000),
    *(b"-", b"1" * 400, b"9" * 5000, b"1e999", b"nan", b"\xc2\x85", b"\xe2\x80\xa8", b"\x0b", b"\x1c", b" ", b":"),
    *(b")" * 20, b"true", b"null", b".a" * 200, b"../" * 30, b"\\ud800"),
)
_STRANGE: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 1 << 31, 1 << 53, 1 << 63, 1 << 64, 10**40, 1e308, -0.0]),
    st.text(max_size=12),
    st.sampled_from(["\0", "\u202e", "a" * 5000, "9" * 5000, "../..", "/dev/null", "\x1b[2J", "0" * 64, "-1", "1e9"]),
    st.lists(st.integers(), max_size=3),
    st.just({}),
)


@contextmanager
def bounded() -> Iterator[None]:
    """What is done within takes no longer than `CPU_SECONDS`."""
    began = time.thread_time()
    yield
    assert time.thread_time() - began < CPU_SECONDS


@st.composite
def mutated(draw: st.DrawFn, room: str) -> bytes:
    """A file of that part of the corpus with some changes, or bytes of any kind."""
    files = [path.read_bytes() for path in sorted((CORPUS / room).iterdir())]
    data = bytearray(draw(st.sampled_from(files) | st.binary(max_size=300)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        until = min(len(data), at + draw(st.integers(0, 20)))
        data[at:until] = draw(st.sampled_from(_PIECES) | st.binary(max_size=6))
    return bytes(data)


@st.composite
def with_strange_values(draw: st.DrawFn, examples: list[dict[str, Any]]) -> bytes:
    """One of these JSON objects, with other values at some places, or without some."""
    found = json.loads(json.dumps(draw(st.sampled_from(examples))))
    for _ in range(draw(st.integers(0, 4))):
        holders = list(_holders(found))
        holder = draw(st.sampled_from(holders))
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not keys:
            continue
        key = draw(st.sampled_from(keys))
        if draw(st.booleans()):
            holder[key] = draw(_STRANGE)
        elif holder is not found or key != "t":
            del holder[key]
    return json.dumps(found).encode()


def _holders(value: Any) -> Iterator[Any]:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict | list):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _holders(inner)

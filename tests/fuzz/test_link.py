"""Whatever a process says on a link: a message, or `WireError`; a report, or one of the two errors of a report."""

from typing import Any, Final

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.core.errors import FingerprintError
from sidecar.link.changes import Speaker
from sidecar.link.lines import LineReader
from sidecar.link.translate import Translator
from sidecar.wire import messages as wire
from sidecar.wire.codec import WireError, decode_from_gateway, decode_from_sidecar
from tests.fuzz.mutate import bounded, fuzzed, mutated, with_strange_values

LIMIT: Final = 100


def _schemas() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    (union,), parts = msgspec.json.schema_components((wire.GatewayMessage,), ref_template="{name}")
    return union["anyOf"], dict(parts)


_PLAIN: Final = {"integer": 1, "number": 1.5, "boolean": True, "null": None}


def _filled(schema: dict[str, Any], parts: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
    """A value of that schema, with every field."""
    if "$ref" in schema:
        return _filled(parts[schema["$ref"]], parts)
    if "anyOf" in schema:
        return _filled(schema["anyOf"][0], parts)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        return {name: _filled(field, parts) for name, field in schema.get("properties", {}).items()}
    if kind == "array":
        return [_filled(schema["items"], parts)] if schema.get("items") else []
    return "1" * max(1, schema.get("minLength", 1)) if kind == "string" else _PLAIN[kind or "null"]


_UNION, _PARTS = _schemas()
MESSAGES: Final = [_filled(schema, _PARTS) for schema in _UNION]


def understood(translator: Translator, line: bytes) -> None:
    try:
        translator.understand(decode_from_gateway(line))
    except (WireError, FingerprintError):
        return


def test_every_message_has_an_example() -> None:
    assert len({message["t"] for message in MESSAGES}) == len(_UNION) > 15


@given(mutated("wire") | with_strange_values(MESSAGES))
@example(b'{"t":"bye","x":' + b"[" * 100_000)
@fuzzed
def test_a_line_is_a_message_or_a_wire_error(line: bytes) -> None:
    with bounded():
        understood(Translator("link-1", Speaker(7)), line)
        try:
            decode_from_sidecar(line)
        except WireError:
            return


@given(st.lists(with_strange_values(MESSAGES), max_size=12))
@fuzzed
def test_reports_that_follow_each_other_are_understood_or_refused(lines: list[bytes]) -> None:
    translator = Translator("link-1", Speaker(7))
    with bounded():
        for line in lines:
            understood(translator, line)


@given(st.lists(st.binary(max_size=80) | mutated("wire"), max_size=10))
@fuzzed
def test_a_stream_is_cut_into_its_lines_however_it_arrives_and_no_more_is_kept_than_a_line(parts: list[bytes]) -> None:
    reader = LineReader(LIMIT)
    lines: list[bytes] = []
    with bounded():
        for part in parts:
            lines += reader.cut(part)
            if reader.too_long:
                break
            assert len(reader._begun) < LIMIT
    whole = b"".join(parts).split(b"\n")[:-1]
    short = next((number for number, line in enumerate(whole) if len(line) >= LIMIT), len(whole))
    assert lines == whole[: len(lines)]
    assert len(lines) == short or reader.too_long

"""The published schema: what the codec refuses is no message by the schema either."""

import json
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest

from sidecar.json_layout import layout
from sidecar.wire.codec import WireError, decode_from_gateway
from sidecar.wire.schema import json_schema

PUBLISHED: Final = Path(__file__).parents[2] / "docs" / "wire.schema.json"
FENCE: Final = "65024:9978495:1288:1795334840358486384:1795334840358486384"

TRIPPED: Final[dict[str, Any]] = {
    "t": "tripped",
    "seq": 7,
    "at": "1795334840358486384",
    "window": "100.1700000000.1",
    "file": "/state/agents/main/sessions/0a1b.jsonl",
    "fence": FENCE,
    "current": "absent",
    "run": {"run": "r1", "kind": "cron"},
}

SPOILT: dict[str, dict[str, Any]] = {
    "no type": {"t": None},
    "another type": {"t": "gossip"},
    "a number below the first": {"seq": 0},
    "a fraction for a number": {"seq": 1.5},
    "a text for a number": {"seq": "7"},
    "a number for a time": {"at": 1795334840358},
    "a time that is none": {"at": "soon"},
    "a time that is too long": {"at": "1" * 21},
    "a fingerprint with a part missing": {"fence": "1:2:3:4"},
    "no fingerprint": {"current": None},
    "an id that is too long": {"window": "w" * 201},
    "a text for a run": {"run": "r1"},
}


def test_the_example_is_a_message() -> None:
    jsonschema.validate(TRIPPED, json_schema())
    decode_from_gateway(json.dumps(TRIPPED).encode())


@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT.keys())
def test_schema_and_codec_refuse_the_same(spoilt: dict[str, Any]) -> None:
    line = TRIPPED | spoilt

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(line, json_schema())
    with pytest.raises(WireError):
        decode_from_gateway(json.dumps(line).encode())


@pytest.mark.parametrize("field", sorted(TRIPPED))
def test_a_field_that_is_missing_is_refused_by_name(field: str) -> None:
    line = {name: value for name, value in TRIPPED.items() if name != field}

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(line, json_schema())
    with pytest.raises(WireError, match=field):
        decode_from_gateway(json.dumps(line).encode())


def test_a_field_of_a_newer_preload_is_borne() -> None:
    line = TRIPPED | {"novelty": 1}

    jsonschema.validate(line, json_schema())
    decode_from_gateway(json.dumps(line).encode())


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_the_published_text_can_be_compared_line_by_line() -> None:
    assert PUBLISHED.read_text(encoding="utf-8") == layout(json_schema())

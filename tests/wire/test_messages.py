"""The wire's types: they survive the way there and back, the schema describes them, bad lines are named."""

import json
from pathlib import Path
from typing import Any, get_args

import jsonschema
import msgspec
import pytest

from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.gateway import Role
from sidecar.wire import messages as wire
from sidecar.wire.codec import WireError, decode_from_gateway, decode_from_sidecar, encode
from sidecar.wire.schema import json_schema

PUBLISHED = Path(__file__).parents[2] / "docs" / "wire.schema.json"
FINGERPRINT = "65024:9978495:1288:1795334840358486384:1795334840358486384"

NAMED: dict[str, Any] = {
    "fence": FINGERPRINT,
    "current": FINGERPRINT,
    "after": FINGERPRINT,
    "before": "absent",
    **dict.fromkeys(("sha256", "proof", "secret"), "0" * 64),
    **dict.fromkeys(("key", "nonce"), "0" * 32),
    "span": "0" * 64,
    "rows": (wire.WireRow(seq=7, sha256="0" * 64, id="e7", parent="e6"),),
    "gone": ((3, 4),),
    "role": Role.COTENANT,
    "writer": wire.WireWriter(kind="cron", name="daily", run="r"),
    "run": wire.WireRun(run="r", kind="cron", session="0123456789abcdef", trace="1" * 32, span="2" * 16),
    **dict.fromkeys(("at", "wait", "waited", "held", "latency", "started"), "1795334840358486384"),
}


def _example(kind: type[msgspec.Struct]) -> Any:  # noqa: ANN401 - a message of that type
    """A message with every field filled."""
    fields = {}
    for field in msgspec.structs.fields(kind):
        if field.name in NAMED and not (field.name == "run" and kind is wire.Diagnostic):
            fields[field.name] = NAMED[field.name]
            continue
        plain = msgspec.inspect.type_info(field.type)
        fields[field.name] = {
            msgspec.inspect.IntType: 3,
            msgspec.inspect.FloatType: 1.5,
            msgspec.inspect.BoolType: True,
            msgspec.inspect.StrType: "text",
            msgspec.inspect.VarTupleType: ("a", "b"),
        }[type(plain)]
    return kind(**fields)


FROM_GATEWAY = [_example(kind) for kind in get_args(wire.GatewayMessage)]
FROM_SIDECAR = [_example(kind) for kind in get_args(wire.SidecarMessage)]


@pytest.mark.parametrize("message", FROM_GATEWAY, ids=lambda m: type(m).__name__)
def test_what_a_gateway_says_arrives_as_it_was(message: wire.GatewayMessage) -> None:
    assert decode_from_gateway(encode(message)) == message


@pytest.mark.parametrize("message", FROM_SIDECAR, ids=lambda m: type(m).__name__)
def test_what_the_sidecar_says_arrives_as_it_was(message: wire.SidecarMessage) -> None:
    assert decode_from_sidecar(encode(message)) == message


@pytest.mark.parametrize("message", [*FROM_GATEWAY, *FROM_SIDECAR], ids=lambda m: type(m).__name__)
def test_the_schema_describes_every_message(message: msgspec.Struct) -> None:
    jsonschema.validate(json.loads(msgspec.json.encode(message)), json_schema())


def test_the_published_schema_is_the_one_of_the_types() -> None:
    """Made anew with ``python -m sidecar.wire.schema > docs/wire.schema.json``."""
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == json.loads(json.dumps(json_schema()))


@pytest.mark.parametrize(
    ("line", "where"),
    [
        (b"not json\n", "malformed"),
        (b'{"t":"lost","seq":1,"at":"5","count":2', "truncated"),
        (b'{"t":"gossip","seq":1,"at":"5"}\n', r"\$\.t"),
        (b'{"seq":1,"at":"5"}\n', "missing required field `t`"),
        (b'{"t":"lost","seq":0,"at":"5","count":2}\n', r"\$\.seq"),
        (b'{"t":"lost","seq":1,"at":"5","count":-2}\n', r"\$\.count"),
        (b'{"t":"lost","seq":1,"at":"soon","count":2}\n', r"\$\.at"),
        (
            b'{"t":"tripped","seq":1,"at":"5","window":"w","file":"f","fence":"1:2","current":"absent","run":{}}\n',
            "fence",
        ),
        (b'{"t":"bye","seq":1,"at":"\xff"}\n', "UTF-8|utf-8"),
        (b'["bye"]\n', "object"),
    ],
)
def test_a_line_that_is_no_message_says_what_and_where(line: bytes, where: str) -> None:
    with pytest.raises(WireError, match=where):
        decode_from_gateway(line)


def test_a_line_above_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(WireError, match=str(wire.MAX_LINE_BYTES)):
        decode_from_gateway(b" " * (wire.MAX_LINE_BYTES + 1))


@pytest.mark.parametrize("at", ["9223372036854775808", "17953348403584863840", "99999999999999999999"])
def test_a_time_that_no_store_could_keep_is_refused(at: str) -> None:
    """SQLite has 63 bits: an incident of such a time could not be saved, nor the end of its link."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(tripped(at=at)), json_schema())
    with pytest.raises(WireError, match=r"\$\.at"):
        decode_from_gateway(tripped(at=at))


@pytest.mark.parametrize("at", ["0", "1795334840358486384", "8999999999999999999"])
def test_a_time_up_to_the_year_2255_is_understood(at: str) -> None:
    assert int(at) < 2**63
    assert decode_from_gateway(tripped(at=at)).at == at


def test_no_message_has_a_field_for_text() -> None:
    """Rule 7: what is said in a session has no place on the wire."""
    fields = {(kind, f.name): f.type for kind in get_args(wire.GatewayMessage) for f in msgspec.structs.fields(kind)}
    assert fields.pop((wire.Hello, "key")) == wire.Token, "the id of a link's key, and no more"
    names = {name for _, name in fields}
    assert names.isdisjoint({"text", "message", "content", "body", "prompt", "key", "session_key"})


def tripped(**fields: str) -> bytes:
    told = {"t": "tripped", "window": "w", "file": "f", "fence": "absent", "current": "absent", "at": "5"} | fields
    return json.dumps({**told, "seq": 1, "run": {}}).encode()


@pytest.mark.parametrize("times", ["-1:5", "5:-1", "-9223372036854775808:-1"])
def test_a_file_dated_before_1970_is_no_malformed_message(times: str) -> None:
    """Both forms of such a time can be told: this one, and the unsigned one that the preload gives."""
    line = tripped(current=f"1:2:3:{times}")
    jsonschema.validate(json.loads(line), json_schema())
    decoded = decode_from_gateway(line)
    assert isinstance(decoded, wire.Tripped)
    assert Fingerprint.parse(decoded.current).encode() == decoded.current


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("current", "absent\n"),
        ("current", "1:2:3:4:5\n"),
        ("fence", "1:2:3:4:\u0665"),
        ("fence", "-1:2:3:4:5"),
        ("at", "5\n"),
        ("at", "\u0665"),
    ],
)
def test_what_only_looks_like_a_number_is_refused(field: str, text: str) -> None:
    line = tripped(**{field: text})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(line), json_schema())
    with pytest.raises(WireError, match=field):
        decode_from_gateway(line)

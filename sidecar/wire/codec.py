"""Lines to messages and back."""

from typing import TypeVar

import msgspec

from sidecar.core.errors import SidecarError
from sidecar.wire.messages import MAX_LINE_BYTES, OLDEST, PROTOCOL, GatewayMessage, Hello, SidecarMessage

_T = TypeVar("_T")
_ENCODER = msgspec.json.Encoder()
_FROM_GATEWAY: msgspec.json.Decoder[GatewayMessage] = msgspec.json.Decoder(GatewayMessage)
_FROM_SIDECAR: msgspec.json.Decoder[SidecarMessage] = msgspec.json.Decoder(SidecarMessage)


class WireError(SidecarError, ValueError):
    """A line is no message of this protocol."""


def encode(message: GatewayMessage | SidecarMessage) -> bytes:
    """One line, newline included."""
    return _ENCODER.encode(message) + b"\n"


def negotiated(hello: Hello) -> int | None:
    """The newest version of the protocol that both ends speak; None when there is none."""
    common = min(hello.protocol, PROTOCOL)
    return common if common >= max(hello.oldest or hello.protocol, OLDEST) else None


def decode_from_gateway(line: bytes) -> GatewayMessage:
    """Read a line that a gateway sent.

    Raises:
        WireError: It is too long, is no JSON, names an unknown type or breaks the schema. The text says which, and
            where in the message.
    """
    return _checked(_FROM_GATEWAY, line)


def decode_from_sidecar(line: bytes) -> SidecarMessage:
    """Read a line that a sidecar sent.

    Raises:
        WireError: As for `decode_from_gateway`.
    """
    return _checked(_FROM_SIDECAR, line)


def _checked(decoder: msgspec.json.Decoder[_T], line: bytes) -> _T:
    if len(line) > MAX_LINE_BYTES:
        raise WireError(f"message of {len(line)} bytes, at most {MAX_LINE_BYTES} are accepted")
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"no message of this protocol: {error}") from error

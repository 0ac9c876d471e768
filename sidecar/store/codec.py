"""Values of the core to plain JSON values and back, by the types of their fields.

Other programs get the form of `sidecar.store.public`, not this one.
"""

import json
from typing import TypeVar

import msgspec

from sidecar.core.facts.content import Content
from sidecar.core.replay.recording import RecordedContent

_T = TypeVar("_T")


def encode(value: object) -> str:
    """JSON; all of it in ASCII where a name in it is no UTF-8, so that this comes through unharmed."""
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(value), separators=(",", ":"))  # this takes thirty times as long


def decode(kind: type[_T], text: str) -> _T:
    """The inverse of `encode`.

    Raises:
        ValueError: The text is nothing of that kind.
    """
    return build(kind, json.loads(text))


def build(kind: type[_T], value: object) -> _T:
    """The inverse of `msgspec.to_builtins`. Unknown fields are left out, missing ones get their default.

    Raises:
        ValueError: The value is nothing of that kind; the text names the field.
    """
    try:
        return msgspec.convert(value, kind, dec_hook=_content, str_keys=True)
    except msgspec.ValidationError as error:
        raise ValueError(f"{kind.__name__}: {str(error).replace('`$', f'`{kind.__name__}')}") from error


def _content(kind: type, value: object) -> RecordedContent:
    """Of the protocol `Content`, the one class whose values are written down."""
    if kind is not Content:
        raise NotImplementedError(kind)
    return msgspec.convert(value, RecordedContent)

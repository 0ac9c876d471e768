"""Values of the core to plain JSON values and back, by the types of their fields.

Other programs get the form of `sidecar.store.public`, not this one.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import import_module
from pkgutil import walk_packages
from typing import TypeVar, get_type_hints

import msgspec

import sidecar.core
from sidecar.core.facts.value import Value
from sidecar.core.replay.recording import RecordedContent

_T = TypeVar("_T")


def encode(value: object) -> str:
    """JSON in ASCII, so that names that are no UTF-8 come through unharmed."""
    return json.dumps(msgspec.to_builtins(value), ensure_ascii=True, separators=(",", ":"))


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
    _resolve_types()
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message = f"{kind.__name__}: {str(error).replace('`$', f'`{kind.__name__}')}"
        raise ValueError(message) from error


@cache
def _resolve_types() -> None:
    """Put types in the place of their names in the core's values, once.

    Its modules import each other for types only where they need nothing else, and msgspec looks a name up nowhere but
    in the class's own module.
    """
    packages = walk_packages(sidecar.core.__path__, f"{sidecar.core.__name__}.")
    modules = [vars(import_module(module.name)) for module in packages]
    names = {name: kind for module in modules for name, kind in module.items() if isinstance(kind, type)}
    for module in modules:
        here = {**module, "Content": RecordedContent}  # of this protocol, the one class whose values are written down
        for kind in module.values():
            if isinstance(kind, type) and issubclass(kind, Value) and kind.__module__ == module["__name__"]:
                kind.__annotations__ = get_type_hints(kind, names, here)

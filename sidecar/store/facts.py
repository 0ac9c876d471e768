"""Any value of the core to plain JSON values and back, by the types of its fields.

The core's modules import each other for types only where they need nothing else, so the names in their annotations are
looked up in all of them.
"""

from __future__ import annotations

import contextlib
import types
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from importlib import import_module
from pkgutil import walk_packages
from typing import TYPE_CHECKING, Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

import sidecar.core
from sidecar.core.facts.content import Content
from sidecar.core.replay.recording import RecordedContent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_T = TypeVar("_T")
_MANY: Final[dict[type, Callable[[Iterable[Any]], Any]]] = {tuple: tuple, list: list, frozenset: frozenset, set: set}
_STANDS_FOR: Final[dict[Any, Any]] = {Content: RecordedContent}
"""Of a protocol: the one class whose values are written down."""

_UNIONS: Final = (Union, types.UnionType)


def plain(value: object) -> Any:  # noqa: ANN401 - JSON values of any kind
    """Dictionaries, lists, texts and numbers; enums by their value."""
    return msgspec.to_builtins(value)


def build(kind: type[_T], value: object) -> _T:
    """The inverse of `plain`. Fields that this release does not know are left out, missing ones get their default.

    Raises:
        ValueError: The value is nothing of that kind; the text names the field.
    """
    made: _T = _build(kind, value, kind.__name__)
    return made


def _build(hint: Any, value: Any, where: str) -> Any:  # noqa: ANN401 - one case for each kind of type
    hint = _STANDS_FOR.get(hint, hint)
    origin = get_origin(hint)
    if origin in _UNIONS:
        return _one_of(get_args(hint), value, where)
    if origin in _MANY:
        return _many(origin, get_args(hint), value, where)
    if origin is dict:
        return _mapping(get_args(hint), value, where)
    if isinstance(hint, type) and is_dataclass(hint):
        return _dataclass(hint, value, where)
    if isinstance(hint, type) and issubclass(hint, Enum):
        try:
            return hint(value)
        except ValueError:
            raise _wrong(where, f"one of {', '.join(str(m.value) for m in hint)}", value) from None
    if hint is float and type(value) is int:
        return float(value)
    if not isinstance(hint, type) or type(value) is not hint:
        raise _wrong(where, getattr(hint, "__name__", str(hint)), value)
    return value


def _one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:  # noqa: ANN401 - JSON values of any kind
    if value is None and type(None) in kinds:
        return None
    *others, last = (k for k in kinds if k is not type(None))
    for kind in others:
        with contextlib.suppress(ValueError):
            return _build(kind, value, where)
    return _build(last, value, where)


def _many(origin: type, kinds: tuple[Any, ...], value: Any, where: str) -> Any:  # noqa: ANN401 - as above
    if not isinstance(value, (list, tuple)):
        raise _wrong(where, "a list", value)
    if origin is tuple and (len(kinds) != 2 or kinds[1] is not Ellipsis):  # noqa: PLR2004 - tuple[X, ...] has two
        if len(value) != len(kinds):
            raise _wrong(where, f"{len(kinds)} items", value)
        return tuple(_build(k, v, f"{where}[{n}]") for n, (k, v) in enumerate(zip(kinds, value, strict=True)))
    return _MANY[origin](_build(kinds[0], item, f"{where}[{n}]") for n, item in enumerate(value))


def _mapping(kinds: tuple[Any, ...], value: Any, where: str) -> dict[Any, Any]:  # noqa: ANN401 - as above
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    return {_build(kinds[0], k, where): _build(kinds[1], v, f"{where}.{k}") for k, v in value.items()}


def _dataclass(kind: type, value: Any, where: str) -> Any:  # noqa: ANN401 - as above
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    hints = _hints(kind)
    read: dict[str, Any] = {}
    for field in fields(kind):
        if field.name in value:
            read[field.name] = _build(hints[field.name], value[field.name], f"{where}.{field.name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            message = f"{where}: {field.name} is missing"
            raise ValueError(message)
    return kind(**read)


def _wrong(where: str, wanted: str, value: object) -> ValueError:
    return ValueError(f"{where}: expected {wanted}, found {str(value)[:60]!r}")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, localns=_names())


@cache
def _names() -> dict[str, Any]:
    """Every class of the core by its name."""
    found: dict[str, Any] = {}
    for module in walk_packages(sidecar.core.__path__, f"{sidecar.core.__name__}."):
        loaded = import_module(module.name)
        found |= {n: v for n, v in vars(loaded).items() if isinstance(v, type) and v.__module__ == loaded.__name__}
    return found

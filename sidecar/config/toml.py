"""Settings from a TOML file."""

from __future__ import annotations

import difflib
import re
import tomllib
from typing import TYPE_CHECKING, Any, Final

from sidecar.config.errors import ConfigError
from sidecar.config.values import Given
from sidecar.store.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_KINDS: Final = {str: "a string", bool: "true or false", tuple: "an array of strings"}
_POSITION: Final = re.compile(r"\s*\(at line (\d+), column \d+\)|\s*\(at end of document\)")


def from_toml(path: Path, kinds: Mapping[str, type]) -> dict[str, Given]:
    """Read the file; nothing in it is ignored.

    Args:
        path: The file.
        kinds: The settings that it may have, each ``str``, ``bool`` or ``tuple`` (of texts).

    Raises:
        ConfigError: It cannot be read, is no TOML, or has a key or type that is not known. Values are not shown: some
            are secret.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError(f"config {path}", f"{error.strerror or error}; check --config") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"config {path}", f"is not UTF-8 at byte {error.start}; save it as UTF-8") from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _no_toml(path, str(error)) from None
    return {key: _given(path, text, key, value, kinds) for key, value in document.items()}


def _no_toml(path: Path, said: str) -> ConfigError:
    found = _POSITION.search(said)
    line = f", line {found[1]}" if found and found[1] else ", at its end" if found else ""
    return ConfigError(f"config {path}{line}", f"no TOML: {_POSITION.sub('', said)}")


def _given(path: Path, text: str, key: str, value: Any, kinds: Mapping[str, type]) -> Given:  # noqa: ANN401 - any TOML value
    number = _line_of(text, key)
    origin = f"config {path}{f', line {number}' if number else ''}, {one_line(key)}"
    kind = kinds.get(key)
    if kind is None:
        near = difflib.get_close_matches(key, kinds, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(kinds))}"
        raise ConfigError(origin, f"unknown key; {hint}")
    if kind is tuple:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigError(origin, f"has to be {_KINDS[kind]}")
        return Given(tuple(value), origin)
    if isinstance(value, (str, bool)) and isinstance(value, kind):
        return Given(value, origin, base=path.absolute().parent)
    raise ConfigError(origin, f"has to be {_KINDS[kind]}, not {_name(value)}")


def _name(value: object) -> str:
    names = {int: "an integer", float: "a number", bool: "true or false", str: "a string", list: "an array"}
    return names.get(type(value), "a table" if isinstance(value, dict) else "a date or time")


def _line_of(text: str, key: str) -> int:
    """The line on which a top-level key or table begins; 0 where it cannot be told (a dotted or quoted form)."""
    pattern = re.compile(rf"""^\s*(\[\[?\s*)?["']?{re.escape(key)}["']?\s*[=.\]]""")
    for number, line in enumerate(text.split("\n"), start=1):
        if pattern.match(line):
            return number
    return 0

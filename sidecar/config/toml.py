"""Settings from a TOML file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sidecar.config.errors import ConfigError
from sidecar.config.positions import TomlError, near, read_toml
from sidecar.config.values import Given
from sidecar.store.printable import one_line

_KINDS: Final = {str: "a string", bool: "true or false", tuple: "an array of strings"}


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
        document, positions = read_toml(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"config {path}", f"{error.strerror or error}; check --config") from error
    except TomlError as error:
        raise ConfigError(f"config {path}, line {error.line}", str(error)) from None
    return {key: _given(path, positions.line((key,)), key, value, kinds) for key, value in document.items()}


def _given(path: Path, line: int, key: str, value: Any, kinds: Mapping[str, type]) -> Given:  # noqa: ANN401 - any TOML value
    origin = f"config {path}, line {line}, {one_line(key)}"
    kind = kinds.get(key)
    if kind is None:
        raise ConfigError(origin, f"unknown key; {near(key, kinds)}")
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

"""One setting as it was given, and its text made into a value."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

from sidecar.config.errors import ConfigError

_ON: Final = frozenset({"1", "true", "yes", "on"})
_OFF: Final = frozenset({"0", "false", "no", "off"})
_MAX_PORT: Final = 65535

_Choice = TypeVar("_Choice", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Given:
    """A setting as somebody gave it.

    Attributes:
        value: Text, truth or several texts.
        origin: Who gave it, for messages; such as ``--http``.
        usage: It was on the command line.
        base: What a relative path starts from.
    """

    value: str | bool | tuple[str, ...]
    origin: str
    usage: bool = False
    base: Path = Path()

    def wrong(self, reason: str) -> ConfigError:
        """The error that says so."""
        return ConfigError(self.origin, reason, usage=self.usage)

    def text(self) -> str:
        """The value, which has to be text.

        Raises:
            ConfigError: It is empty, or no text.
        """
        if not isinstance(self.value, str) or not self.value:
            raise self.wrong("is empty")
        if "\0" in self.value:
            raise self.wrong("has a NUL character in it")
        return self.value

    def path(self, home: Path) -> Path:
        """An absolute path; ``~`` stands for the home directory, links are not followed."""
        text = self.text()
        if text == "~" or text.startswith("~/"):
            return home / text[2:]
        return Path(os.path.abspath(self.base / text))  # noqa: PTH100 - resolve() would follow links

    def truth(self) -> bool:
        """Yes or no.

        Raises:
            ConfigError: It is neither.
        """
        if isinstance(self.value, bool):
            return self.value
        word = self.text().strip().lower()
        if word not in _ON | _OFF:
            raise self.wrong(f"{word!r} is neither true nor false")
        return word in _ON

    def texts(self) -> tuple[str, ...]:
        """Several texts; in the environment they are parted by white space, which no URL contains."""
        if isinstance(self.value, tuple):
            return self.value
        return tuple(self.text().split())

    def uids(self) -> frozenset[int]:
        """Ids of users.

        Raises:
            ConfigError: One is none.
        """
        texts = self.texts()
        wrong = next((text for text in texts if not (text.isascii() and text.isdecimal())), None)
        if wrong is not None:
            raise self.wrong(f"{wrong!r} is no number of a user")
        return frozenset(map(int, texts))

    def choice(self, words: type[_Choice]) -> _Choice:
        """One of a closed set of words.

        Raises:
            ConfigError: It is none of them.
        """
        try:
            return words(self.text())
        except ValueError:
            raise self.wrong(f"{self.text()!r} is none of {', '.join(words)}") from None

    def share(self) -> float:
        """A number from 0 to 1.

        Raises:
            ConfigError: It is none.
        """
        try:
            share = float(self.text())
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            raise self.wrong(f"{self.text()!r} is no number from 0 to 1")
        return share

    def address(self) -> tuple[str, int]:
        """Host and port.

        Raises:
            ConfigError: It has another form.
        """
        host, colon, port = self.text().rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if not colon or not host or (":" in host and not bracketed):
            raise self.wrong(f"{self.text()!r} is not HOST:PORT, such as 127.0.0.1:9464 or [::1]:9464")
        if not (port.isascii() and port.isdecimal()) or int(port) > _MAX_PORT:
            raise self.wrong(f"{port!r} is not a port number from 0 (any that is free) to {_MAX_PORT}")
        return host.strip("[]"), int(port)


def from_environment(environ: Mapping[str, str], names: Mapping[str, str]) -> dict[str, Given]:
    """The settings that are in the environment; an empty variable counts as not set.

    Args:
        environ: The environment.
        names: Variable to setting, the weaker ones first.
    """
    return {key: Given(environ[name], name) for name, key in names.items() if environ.get(name)}

"""A TOML file's values, and where in it a key stands: the parser of the standard library does not tell."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable
from typing import Any, Final

Path = tuple[str | int, ...]
"""Keys and indexes from the top, as in ``("rule", 0, "kinds")``."""

_BARE_OR_QUOTED: Final = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_KEY: Final = rf"{_BARE_OR_QUOTED}(?:\s*\.\s*{_BARE_OR_QUOTED})*"
_HEADER: Final = re.compile(rf"\s*(\[\[?)\s*({_KEY})\s*\]\]?")
_ASSIGNMENT: Final = re.compile(rf"\s*({_KEY})\s*=")
_PARSER_SAYS: Final = re.compile(r"\s*\(at line (\d+), column \d+\)|\s*\(at end of document\)")
_MAX_PARTS: Final = 32
_DEEP: Final = re.compile(rf"""(?<![A-Za-z0-9_"-])(?:[A-Za-z0-9_"-]++[ \t]*+\.[ \t]*+){{{_MAX_PARTS}}}""")
"""The parser takes minutes for one key of 50,000 parts."""

_TOKENS: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|'
    r"'''.*?'{3,5}|"
    r'"(?:[^"\\\n]|\\.)*"|'
    r"'[^'\n]*'|"
    r"\#[^\n]*|[\[\]{}]",
    re.DOTALL,
)


class TomlError(Exception):
    """A text is no TOML. ``line`` says where; the message says why."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def read_toml(raw: bytes) -> tuple[dict[str, Any], Positions]:
    """The values of a file, and where they stand.

    Raises:
        TomlError: It is no TOML.
    """
    try:
        text = raw.decode("utf-8")
        if _DEEP.search(_TOKENS.sub(lambda token: token[0] if token[0] in "[]{}" else '""', text)):
            raise TomlError(0, f"a key has more than {_MAX_PARTS} parts")
        return tomllib.loads(text), Positions(text.replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        raise TomlError(raw.count(b"\n", 0, error.start) + 1, "is not UTF-8; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        found = _PARSER_SAYS.search(str(error))
        line = int(found[1]) if found and found[1] else text.count("\n") + 1
        raise TomlError(line, f"no TOML: {_PARSER_SAYS.sub('', str(error))}") from None
    except RecursionError:
        raise TomlError(0, "arrays or tables lie too deep inside of each other") from None
    except ValueError:  # Python reads no number of more than 4,300 digits
        raise TomlError(0, "a number has too many digits") from None


def near(word: str, known: Iterable[str]) -> str:
    """The hint for a key that is not known."""
    found = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {found[0]}?" if found else f"known are {', '.join(sorted(known))}"


class Positions:
    """The lines of a text's keys and tables.

    The text has been parsed already, so only what decides about lines is looked at: strings, brackets, comments,
    headers of tables and keys at the beginning of a line. A key inside an inline table has the line of the key that the
    table belongs to.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {(): 1}
        self._counts: dict[Path, int] = {}
        self._table: Path = ()
        for number, line in _logical_lines(text):
            self._take(number, line)

    def line(self, path: Iterable[str | int]) -> int:
        """The line of a key, or of the nearest table around it."""
        at = tuple(path)
        while at not in self._lines:
            at = at[:-1]
        return self._lines[at]

    def _take(self, number: int, line: str) -> None:
        header = _HEADER.match(line)
        if header is not None:
            self._table = self._resolved(_parts(header[2]))
            if header[1] == "[[":
                count = self._counts.get(self._table, 0)
                self._counts[self._table] = count + 1
                self._lines.setdefault(self._table, number)
                self._table = (*self._table, count)
            self._lines.setdefault(self._table, number)
            return
        assignment = _ASSIGNMENT.match(line)
        if assignment is not None:
            at = self._table
            for part in _parts(assignment[1]):
                at = (*at, part)
                self._lines.setdefault(at, number)

    def _resolved(self, parts: tuple[str, ...]) -> Path:
        """A header below an array of tables means the last one of it."""
        at: Path = ()
        for number, part in enumerate(parts):
            at = (*at, part)
            if at in self._counts and number < len(parts) - 1:
                at = (*at, self._counts[at] - 1)
        return at


def _parts(key: str) -> tuple[str, ...]:
    parts: list[str] = []
    here: Any = tomllib.loads(f"{key} = 0")
    while isinstance(here, dict):
        ((part, here),) = here.items()
        parts.append(part)
    return tuple(parts)


def _logical_lines(text: str) -> Iterable[tuple[int, str]]:
    """Lines that begin outside of any string and bracket, with their numbers from 1."""
    inside: set[int] = set()
    depth = 0
    began = 0
    counted, line = 0, 1  # the line at the end of the text that has been counted: each part is counted once
    for token in _TOKENS.finditer(text):
        word = token[0]
        line += text.count("\n", counted, token.start())
        counted = token.start()
        if word in {"[", "{"}:
            began = line if depth == 0 else began
            depth += 1
        elif word in {"]", "}"}:
            depth -= 1
            if depth == 0:
                inside.update(range(began + 1, line + 1))
        elif "\n" in word:
            inside.update(range(line + 1, line + word.count("\n") + 1))
    for number, content in enumerate(text.split("\n"), start=1):
        if number not in inside:
            yield number, content

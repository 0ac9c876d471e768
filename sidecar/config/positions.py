"""Where in a TOML text a key stands: the parser of the standard library does not tell.

The text has been parsed already, so only what decides about lines is looked at: strings, brackets, comments, headers
of tables and keys at the beginning of a line. A key inside an inline table has the line of the key that the table
belongs to.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

Path = tuple[str | int, ...]
"""Keys and indexes from the top, as in ``("rule", 0, "kinds")``."""

_BARE_OR_QUOTED: Final = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_KEY: Final = rf"{_BARE_OR_QUOTED}(?:\s*\.\s*{_BARE_OR_QUOTED})*"
_HEADER: Final = re.compile(rf"\s*(\[\[?)\s*({_KEY})\s*\]\]?")
_ASSIGNMENT: Final = re.compile(rf"\s*({_KEY})\s*=")
_PART: Final = re.compile(_BARE_OR_QUOTED)
_TOKENS: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|'
    r"'''.*?'{3,5}|"
    r'"(?:[^"\\\n]|\\.)*"|'
    r"'[^'\n]*'|"
    r"\#[^\n]*|[\[\]{}]",
    re.DOTALL,
)


class Positions:
    """The lines of a text's keys and tables."""

    def __init__(self, text: str) -> None:
        """Look through a text that is valid TOML."""
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
    return tuple(part.strip("\"'") for part in _PART.findall(key))


def _logical_lines(text: str) -> Iterable[tuple[int, str]]:
    """Lines that begin outside of any string and bracket, with their numbers from 1."""
    inside: set[int] = set()
    depth = 0
    began = 0
    for token in _TOKENS.finditer(text):
        word = token[0]
        if word in {"[", "{"}:
            began = token.start() if depth == 0 else began
            depth += 1
        elif word in {"]", "}"}:
            depth -= 1
            if depth == 0:
                inside.update(_line_numbers(text, began, token.end()))
        elif "\n" in word:
            inside.update(_line_numbers(text, token.start(), token.end()))
    for number, line in enumerate(text.split("\n"), start=1):
        if number not in inside:
            yield number, line


def _line_numbers(text: str, start: int, end: int) -> range:
    """The lines after the first one that a piece of the text reaches over."""
    first = text.count("\n", 0, start) + 1
    return range(first + 1, first + text.count("\n", start, end) + 1)

"""Patterns of names and paths, as policies write them."""

import re
from functools import lru_cache
from typing import Final

from sidecar.core.errors import SidecarError
from sidecar.core.facts.value import Value

_MAX_COMPILED: Final = 4096


class GlobError(SidecarError, ValueError):
    """A text is no pattern."""


class Glob(Value, frozen=True):
    """A pattern: ``*`` for any text, ``?`` for one character, ``[a-z]`` and ``[!a-z]`` for one of several.

    In a pattern for paths ``*`` and ``?`` stop at a slash and ``**`` does not; one without a slash is compared with the
    last part of the path.
    """

    text: str
    path: bool = False

    def __post_init__(self) -> None:
        """Read the pattern.

        Raises:
            GlobError: It is empty, has an open bracket, or is a path that does not start at the root.
        """
        if not self.text:
            raise GlobError("is empty; '*' matches everything")
        if not self.text.isprintable():
            raise GlobError("has a character that can't be shown")
        if self.path and "/" in self.text and not self.text.startswith(("/", "**/")):
            raise GlobError("is a path that does not begin with / (or **/)")
        _compiled(self.text, self.path)

    def matches(self, value: str) -> bool:
        """The whole of ``value`` is what the pattern says."""
        if self.path and "/" not in self.text:
            value = value.rpartition("/")[2]
        return _compiled(self.text, self.path).fullmatch(value) is not None


@lru_cache(maxsize=_MAX_COMPILED)
def _compiled(text: str, path: bool) -> re.Pattern[str]:  # noqa: FBT001 - part of the key
    """Kept beside the patterns, which are plain data: they are stored with recordings."""
    return re.compile(_translated(text, path=path), re.DOTALL)


def _translated(text: str, *, path: bool) -> str:
    """The pattern as a regular expression."""
    some, one = ("[^/]*", "[^/]") if path else (".*", ".")
    parts: list[str] = []
    at = 0
    while at < len(text):
        if path and text.startswith("**/", at):
            parts.append("(?:.*/)?")
            at += 3
        elif path and text.startswith("**", at):
            parts.append(".*")
            at += 2
        elif text[at] == "[":
            end = text.find("]", at + (3 if text[at + 1 : at + 2] == "!" else 2))
            if end < 0:
                raise GlobError("has a [ without its ]")
            parts.append(_one_of(text[at + 1 : end]))
            at = end + 1
        else:
            parts.append({"*": some, "?": one}.get(text[at]) or re.escape(text[at]))
            at += 1
    return "".join(parts)


def _one_of(inside: str) -> str:
    """A class of characters; a dash between two of them is a range."""
    negated, members = inside.startswith("!"), inside.removeprefix("!")
    for low, high in re.findall(r"(.)-(.)", members, re.DOTALL):
        if low > high:
            raise GlobError(f"has a range that runs backwards: {low}-{high}")
    escaped = re.sub(r"([\\\]\[^&~|])", r"\\\1", members)
    return f"[{'^' if negated else ''}{escaped}]"

"""JSON for files that people read and compare: what fits on a line stays on one."""

import json
from typing import Final

WIDTH: Final = 120
"""Longest line in characters, unless a single string is longer."""


def layout(value: object) -> str:
    """The JSON text of a value, keys sorted, two spaces for each level, a newline at its end."""
    return _text(value, 0, 0) + "\n"


def _text(value: object, depth: int, taken: int) -> str:
    """``taken``: characters of the line that stand ahead of the value and right behind it."""
    line = json.dumps(value, sort_keys=True)
    if len(line) + taken + 2 * depth <= WIDTH or not value or not isinstance(value, dict | list):
        return line
    if isinstance(value, dict):
        named = [(f"{json.dumps(key)}: ", value[key]) for key in sorted(value)]
        items, (opening, closing) = [name + _text(item, depth + 1, len(name) + 1) for name, item in named], "{}"
    else:
        items, (opening, closing) = [_text(item, depth + 1, 1) for item in value], "[]"
    indent = "\n" + "  " * (depth + 1)
    return f"{opening}{indent}{f',{indent}'.join(items)}\n{'  ' * depth}{closing}"

"""Text from outside, made safe to show: file names hold any byte, and terminals obey some of them."""

import unicodedata
from typing import Any, Final

_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that a terminal acts on or does not show: controls, direction marks, surrogates, line ends."""


def clean(text: str) -> str:
    r"""Replace what UTF-8 cannot hold, so that any encoder accepts the text.

    A byte of a file name that is no UTF-8 becomes ``\xNN``, any other lone surrogate ``\uNNNN``. The rest stays.
    """
    return text if text.isascii() else "".join(_escape(c) if unicodedata.category(c) == "Cs" else c for c in text)


def clean_json(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """`clean` for every text in a JSON value, the keys of its objects included."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list | tuple):
        return [clean_json(item) for item in value]
    if isinstance(value, dict):
        return {clean(str(key)): clean_json(item) for key, item in value.items()}
    return value


def one_line(text: str) -> str:
    """As `clean`, and everything that would move the cursor, hide or reorder text is shown as an escape too."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(c) if unicodedata.category(c) in _UNSEEN else c for c in text)


def lines(text: str) -> str:
    """`one_line` for each line of a text that has several; nothing but a newline parts them."""
    return "\n".join(map(one_line, text.split("\n")))


def _escape(character: str) -> str:
    try:
        return "".join(f"\\x{byte:02x}" for byte in character.encode("ascii", "surrogateescape"))
    except UnicodeEncodeError:
        return character.encode("unicode_escape").decode("ascii")

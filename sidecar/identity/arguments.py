"""Which script a command line of Node runs."""

from collections.abc import Sequence
from typing import Final

_WITH_VALUE: Final = frozenset(
    {"-r", "--require", "--import", "--loader", "--experimental-loader", "-C", "--conditions", "--disable-warning"}
)
"""Options that always take the next word for their value."""

_FLAGS: Final = frozenset(
    {
        *("--enable-source-maps", "--expose-gc", "--expose_gc", "--inspect", "--inspect-brk", "--inspect-wait"),
        *("--trace-warnings", "--trace-deprecation", "--trace-uncaught", "--trace-exit", "--throw-deprecation"),
        *("--preserve-symlinks", "--preserve-symlinks-main", "--use-system-ca", "--use-openssl-ca"),
        *("--abort-on-uncaught-exception", "--watch", "--report-on-fatalerror", "--experimental-strip-types"),
        *("--experimental-sqlite", "--experimental-vm-modules", "--prof", "--cpu-prof", "--heap-prof"),
    }
)
"""Options that take no value. So do those that begin with ``--no-``."""


def main_script(words: Sequence[str]) -> str:
    """The path of the main script as it was given; empty when there is none, or another word might be it.

    Behind an option that is in neither list, a word could be its value: a path of OpenClaw's there must not stand for
    the script that is really run.
    """
    rest = iter(words[1:])
    sure = True
    for word in rest:
        if word == "--":
            return next(rest, "")
        if not word.startswith("-"):
            return word if sure else ""
        if word == "-":
            return ""
        sure = "=" in word or word in _FLAGS or word.startswith("--no-") or word in _WITH_VALUE
        if word in _WITH_VALUE:
            next(rest, "")
    return ""

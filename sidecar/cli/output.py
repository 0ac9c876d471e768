"""How commands print: lines and tables for people, plain text when piped, JSON for programs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from sidecar.store.printable import lines, one_line

# ruff: noqa: PLC0415 - rich is imported where something is printed with it: it takes 4 MB, and a sidecar prints nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import RenderableType

_PIPED_WIDTH: Final = 10_000
"""Programs that read our lines want them whole."""


def print_json(body: Any) -> None:  # noqa: ANN401 - any JSON value
    """One JSON value on standard output, in ASCII so that every locale can show it."""
    sys.stdout.write(json.dumps(body, indent=2) + "\n")


def show(body: Any, print_for_people: Callable[[], None], *, as_json: bool) -> None:  # noqa: ANN401 - any JSON value
    """A result: as JSON for programs, or as the other prints it for people."""
    if as_json:
        print_json(body)
    else:
        print_for_people()


def print_line(text: str = "", style: str = "") -> None:
    """A line that wraps where the terminal ends."""
    from rich.text import Text

    _print(Text(one_line(text), style=style))


def print_whole(text: str) -> None:
    """A line that is to be copied or piped: never wrapped."""
    sys.stdout.write(f"{one_line(text)}\n")


def print_text(text: str) -> None:
    """Lines that are to be copied or piped, the last one ended: never wrapped. Names in them hold no newline."""
    sys.stdout.write(lines(text))


def print_note(text: str) -> None:
    """A line that is no result, on standard error."""
    sys.stderr.write(f"{one_line(text)}\n")


def print_fields(fields: Iterable[tuple[str, str]], style: str = "bold") -> None:
    """Names and what they mean, in two columns."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields:
        table.add_row(Text(one_line(name), style=style), Text(one_line(value)))
    _print(table)


def print_rows(rows: Iterable[Sequence[str]], indent: int = 2) -> None:
    """Lines of aligned columns; the last column takes what is left of the terminal."""
    listed = [list(row) for row in rows]
    if not listed:
        return
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in listed[0][:-1]:
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in listed:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    _print(Padding(table, (0, 0, 0, indent), expand=False))


def _print(what: RenderableType) -> None:
    from rich.console import Console

    width = None if sys.stdout.isatty() else _PIPED_WIDTH
    console = Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(what)
    # Rich fills lines up to their column's width.
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())

"""A transcript file: blocks of commands, and below each block what they led to.

A block is comments (`#`), commands, a line ``----`` and the output, which ends at the next empty line. Lines that are
indented belong to the command above them.
"""

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

RULER: Final = "----"


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        place: File and line, for error messages.
        words: The words without options, the name of the command first.
        options: The words of the form ``name=value``.
        body: The indented lines below it.
    """

    place: str
    words: tuple[str, ...]
    options: dict[str, str]
    body: str = ""


@dataclass(slots=True)
class Block:
    """Some commands and their output.

    Attributes:
        text: Comments and commands as written.
        commands: The commands.
        output: The lines below the ruler.
    """

    text: list[str] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    output: list[str] = field(default_factory=list)


def parse(path: Path) -> list[Block]:
    """Read the blocks of a file."""
    blocks = [Block()]
    below = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        block = blocks[-1]
        if not line.strip():
            below = False
            blocks.append(Block())
        elif below:
            block.output.append(line)
        elif line == RULER:
            below = True
        else:
            block.text.append(line)
            _add(block.commands, line, f"{path.name}:{number}")
    return [block for block in blocks if block.text]


def render(blocks: list[Block]) -> str:
    """The text of a file with these blocks."""
    return "\n\n".join("\n".join([*b.text, *([RULER, *b.output] if b.commands else [])]) for b in blocks) + "\n"


def _add(commands: list[Command], line: str, place: str) -> None:
    if line.startswith("#"):
        return
    if line.startswith("  "):
        above = commands.pop()
        commands.append(Command(above.place, above.words, above.options, f"{above.body}{line[2:]}\n"))
        return
    words: list[str] = []
    options: dict[str, str] = {}
    for word in shlex.split(line):
        name, equals, value = word.partition("=")
        if equals:
            options[name] = value
        else:
            words.append(word)
    commands.append(Command(place, tuple(words), options))

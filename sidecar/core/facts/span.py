"""A part of a transcript: what one writer added in it, or what nobody is known to have added."""

from enum import StrEnum

from sidecar.core.facts.value import Value


class Unit(StrEnum):
    """What a transcript is made of, and a span is counted in."""

    BYTES = "bytes"
    ROWS = "rows"


class Span(Value, frozen=True):
    """Adjoining parts of a transcript.

    Attributes:
        offset: Where it begins.
        length: How much it is; never negative, and 0 for a place where something is missing.
    """

    offset: int
    length: int

    @property
    def end(self) -> int:
        """Where what follows it begins."""
        return self.offset + self.length

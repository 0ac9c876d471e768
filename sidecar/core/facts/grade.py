"""How strong evidence is."""

from enum import StrEnum


class Grade(StrEnum):
    """How strong the evidence of a verdict is, weakest first."""

    NONE = "none"
    """Nothing but the fingerprint."""
    CLAIMED = "claimed"
    """A process that is not believed says that it was its own gateway that wrote."""
    BRACKET = "bracket"
    """The change lies inside a lock hold of a known process."""
    BYTES = "bytes"
    """Every byte was compared with the account of who wrote it."""
    KERNEL = "kernel"
    """The kernel named the writing process."""

    @property
    def strength(self) -> int:
        """A number that grows with the evidence."""
        return list(Grade).index(self)

"""Names of windows. A gateway gives them; those of one that is not believed are set apart: none is another's."""

from typing import Final

_APART: Final = "!"


def apart(window: str, link: str) -> str:
    """The name by which the sidecar knows a window of a link that is not believed."""
    return f"{window}{_APART}{link}"


def link_of(window: str) -> str:
    """The link whose windows are set apart that this one belongs to; empty for any other window."""
    return window.rpartition(_APART)[2] if _APART in window else ""


def as_told(window: str, link: str) -> str:
    """The name that the gateway on this link gave to its window."""
    return window.removesuffix(f"{_APART}{link}")

"""What the values of the core are made of."""

from msgspec import Struct
from msgspec.structs import replace

__all__ = ["Value", "replace"]


class Value(Struct, frozen=True, gc=False):
    """Base of whatever is told and never changed: facts, events, decisions, outcomes, accounts.

    Not a frozen dataclass, because some ten of these are made for every three reports of a gateway, and one of those
    takes ten times as long to make or to copy. `replace` gives a copy with other fields. Nothing in a value leads
    back to it, so the garbage collector is spared the way through them.
    """

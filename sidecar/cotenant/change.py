"""One change of a session file, made by a co-tenant."""

import hashlib
from dataclasses import dataclass
from typing import Self

from sidecar.core.facts.change import Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What was done to the file.

    Attributes:
        operation: `Operation.APPEND`, `Operation.REWRITE`, or `Operation.METADATA` when no byte was written.
        offset: Where the bytes are.
        length: How many they are.
        sha256: Their digest; empty when there are none.
    """

    operation: Operation = Operation.METADATA
    offset: int = -1
    length: int = 0
    sha256: str = ""

    @classmethod
    def of(cls, operation: Operation, offset: int, data: bytes) -> Self:
        """The writing of some bytes."""
        return cls(operation=operation, offset=offset, length=len(data), sha256=hashlib.sha256(data).hexdigest())

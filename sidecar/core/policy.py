"""Which writers are co-tenants, and what recovery needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sidecar.core.writer import WriterKind

if TYPE_CHECKING:
    from sidecar.core.writer import Writer

_NEVER: Final = frozenset({WriterKind.FOREIGN})


class Mode(StrEnum):
    """What the sidecar does with a verdict."""

    RECOVER = "recover"
    """Approve re-fingerprinting where the verdict allows it."""
    OBSERVE = "observe"
    """Verdicts and telemetry only, no commands."""


class Grade(StrEnum):
    """How strong the evidence of a verdict is, weakest first."""

    NONE = "none"
    """Nothing but the fingerprint."""
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


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules in force. The built-in one trusts every writer inside a linked OpenClaw process.

    Attributes:
        cotenants: Kinds that may append while another run's fence is set.
        needs: The weakest evidence on which a recovery may rest.
        allow_unchanged: Re-fingerprint when the bytes are the same and only metadata or the inode differs.
    """

    cotenants: frozenset[WriterKind] = field(default_factory=lambda: frozenset(WriterKind) - _NEVER)
    needs: Grade = Grade.BYTES
    allow_unchanged: bool = True

    def allows(self, writer: Writer) -> bool:
        """The writer is a co-tenant."""
        return writer.kind in self.cotenants

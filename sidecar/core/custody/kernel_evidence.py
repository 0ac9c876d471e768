"""The value that a verdict gets from the kernel log: who touched a file since a fence."""

from typing import Final

from sidecar.core.facts.process import Process
from sidecar.core.facts.value import Value


class KernelEvidence(Value, frozen=True):
    """What the kernel says of the time since a fence.

    Attributes:
        whole: It was listened to without a gap.
        known: Pids of known processes that were seen to write.
        doubtful: Other processes that wrote, or had the file open for writing, or may have.
        proven: Those of them that certainly wrote after the fence, and whose pid is known.
        touched: Others that did anything to the file, its metadata included; None when not all of them are known.
    """

    whole: bool = False
    known: frozenset[int] = frozenset()
    doubtful: tuple[Process, ...] = ()
    proven: tuple[Process, ...] = ()
    touched: tuple[Process, ...] | None = None

    def vouches_for(self, pids: frozenset[int]) -> bool:
        """Each of these was seen to write, and nobody else may have."""
        return self.whole and bool(pids) and 0 not in pids and pids <= self.known and not self.doubtful


NO_KERNEL_EVIDENCE: Final = KernelEvidence()


class Mark(Value, frozen=True):
    """Where word of a fence came between the sightings.

    Attributes:
        at_ns: When the kernel's queue was last emptied before it, the sidecar's clock.
        number: The last sighting before it.
    """

    at_ns: int
    number: int

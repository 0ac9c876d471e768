"""Times without custody of a transcript."""

from collections.abc import Sequence
from typing import Final

from sidecar.core.facts.reasons import Reason
from sidecar.core.facts.value import Value

MAX_GAPS: Final = 50
"""Gaps that are kept of one transcript, the newest."""


class Gap(Value, frozen=True):
    """A time in which nobody watched, or reports were lost.

    What was written in it has no known writer. The parts from before it that are still there, byte for byte, keep
    theirs: the digest says what they are, whoever may have put them back.

    Attributes:
        from_ns: Its begin, nanoseconds since the epoch.
        to_ns: When the transcript was read again; 0 as long as it was not.
    """

    from_ns: int
    to_ns: int
    reason: Reason


def closed(gaps: Sequence[Gap], at_ns: int) -> tuple[Gap, ...]:
    """The same gaps, with an end for the one that has none."""
    return tuple(Gap(g.from_ns, g.to_ns or at_ns, g.reason) for g in gaps)


def widened(gaps: Sequence[Gap], gap: Gap) -> tuple[Gap, ...]:
    """One gap more, unless there is one that is still open."""
    if gaps and not gaps[-1].to_ns:
        return tuple(gaps)
    return (*gaps, gap)[-MAX_GAPS:]

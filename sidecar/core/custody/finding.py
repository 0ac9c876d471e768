"""What a comparison of a transcript with its account found. The terms fit a file and rows of a database.

`sidecar.core.custody.files.examine` makes a finding of a file. `sidecar.core.verdict.judge` judges it and knows nothing
else.
"""

from enum import StrEnum

from sidecar.core.custody.kernel_evidence import NO_KERNEL_EVIDENCE, KernelEvidence
from sidecar.core.facts.reasons import Reason
from sidecar.core.facts.span import Span, Unit
from sidecar.core.facts.value import Value
from sidecar.core.facts.writer import Writer
from sidecar.core.policy.rules import Permission


class Absence(StrEnum):
    """What is known of a transcript that is not there."""

    RESET = "reset"
    """The gateway itself removed or archived it."""
    DOUBTFUL = "doubtful"
    """The gateway removed it, and whether before or after it was made anew can't be told."""
    UNKNOWN = "unknown"
    """The account has a gap."""
    STILL = "still"
    """There was none at the fence either."""
    TAKEN_AWAY = "taken away"
    """It was removed, and not by the gateway."""


class Share(Value, frozen=True):
    """What one writer contributed since the fence.

    Attributes:
        size: How much of what is now in the transcript; 0 for a change without contents.
        did: The most that the writer did by its reports.
        unanswered: Input of a user among it that nobody has answered: an answer of the run would seem to be to it.
    """

    writer: Writer
    size: int
    spans: tuple[Span, ...] = ()
    did: Permission = Permission.METADATA
    unanswered: tuple[Span, ...] = ()


class Finding(Value, frozen=True, kw_only=True):
    """What an examination has found since a fence.

    Attributes:
        absent: The transcript is not there; None where it is.
        unknown: Why custody is unknown; None where the account is whole.
        another: Why the transcript is not of the kind, or not of the owner, that it was; None where it is.
        compared: It was compared with the account. Without that nothing below is known.
        problem: Why it could not be.
        shares: Known writers, in the order of their first report.
        unexplained: What nobody reported.
        settled: No call that is under way or can't be placed may have written what is unexplained.
        seen_through: The reports lead without a gap up to the last replacement of old contents.
        replaced: Old contents are not where they were.
        overwritten: Whose contents a rewrite by somebody else did away with; None where nobody's.
        forked: What was added is not one line from what the run has read: it does not come ahead of its answer.
        owner_known: It is known whose the transcript was at the fence.
        unit: What spans are counted in.
    """

    absent: Absence | None = None
    unknown: Reason | None = None
    another: Reason | None = None
    compared: bool = False
    problem: str = ""
    shares: tuple[Share, ...] = ()
    unexplained: tuple[Span, ...] = ()
    settled: bool = True
    seen_through: bool = True
    replaced: bool = False
    overwritten: Reason | None = None
    forked: bool = False
    owner_known: bool = True
    kernel_evidence: KernelEvidence = NO_KERNEL_EVIDENCE
    unit: Unit = Unit.BYTES

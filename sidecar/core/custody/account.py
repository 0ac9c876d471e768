"""What windows ask of the account of a transcript. `sidecar.core.custody.files` keeps those of session files."""

from collections.abc import Container, Sequence
from typing import Any, Protocol, Self, TypeVar

from sidecar.core.custody.finding import Finding
from sidecar.core.custody.kernel_evidence import KernelEvidence, Mark
from sidecar.core.facts.reasons import Reason
from sidecar.core.facts.version import AnyChange, Version

V_co = TypeVar("V_co", covariant=True)
R_contra = TypeVar("R_contra", contravariant=True)
C = TypeVar("C")


class Account(Protocol[V_co, R_contra, C]):
    """All that a verdict on a transcript can rest on, but for the transcript itself. A value: nothing changes it.

    Its parameters are the version, the reading and the change of one kind of transcript.
    It begins at its head: the version at which the contents were trusted, or would be.
    """

    @property
    def head(self) -> V_co | None:
        """The version that it begins with; None while there is none."""

    @property
    def changes(self) -> tuple[C, ...]:
        """Reported since the head, in the order of their reports."""

    @property
    def mark(self) -> Mark | None:
        """Where the head was set between the kernel's sightings; None where that is not known."""

    @property
    def uid(self) -> int:
        """Owner at the head; -1 when not known."""

    @property
    def broken(self) -> Reason | None:
        """Why nothing may be concluded from what is missing in it; None while it is whole."""

    @property
    def known(self) -> bool:
        """The contents at the head are known."""

    @property
    def at_rest(self) -> bool:
        """No call can have changed the transcript since the head."""

    @property
    def at_head(self) -> Self:
        """What is known of the head alone, without the reports."""

    def reported(self, change: C, link: str = "") -> tuple[Self, bool | None]:
        """With one more report; and whether the change came after the head, None where that can't be told."""

    def calls_of(self, link: str) -> tuple[C, ...]:
        """Calls under way that this link has announced."""

    def abandoned(self, calls: Container[C]) -> Self:
        """Without these calls."""

    def doubted(self, reason: Reason) -> Self:
        """With a reason why nothing may be concluded from what is missing in it."""

    def with_contents_of(self, other: Self) -> Self:
        """Whole, with what another account of the same head knows of the contents and their owner."""

    def owned(self, reading: R_contra) -> Self:
        """With the owner of the transcript, where it was read as it is at the head and the owner was not known."""

    def span_to(self, reading: R_contra) -> str:
        """What ties an approval to exactly what this reading adds to the head; empty where its version does."""

    def examined(self, reading: R_contra, kernel_evidence: KernelEvidence = ..., gateway_uid: int = -1) -> Finding:
        """Hold the transcript against the account.

        Args:
            reading: The transcript as it was read.
            kernel_evidence: What the kernel says of who wrote since the head.
            gateway_uid: User of the gateway's process, whose transcripts are its own; -1 when not known.
        """


AnyAccount = Account[Any, Any, Any]
"""Of a kind of transcript that its holder need not know."""


class Accounts(Protocol):
    """The running accounts of all transcripts, each by the path that it goes by."""

    def beginning(self, fence: Version, broken: Reason) -> AnyAccount:
        """An account that begins at a fence of which nothing is known."""

    def changes(self, file: str) -> Sequence[AnyChange]:
        """What was reported of a transcript and is not settled yet."""

    def forget(self, file: str, reason: Reason, at_ns: int) -> None:
        """Custody of this transcript, or of all (an empty path), is unknown from now on."""

    def abandon(self, link: str, at_ns: int) -> None:
        """A link is gone; what its calls under way have done will never be known."""

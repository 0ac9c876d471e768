"""What the store gives back: an incident together with what became of its page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.core.incident import Incident, Outcome
    from sidecar.core.verdict import Verdict


@dataclass(frozen=True, slots=True)
class PageRecord:
    """The page of an incident.

    Attributes:
        due: Somebody is to be told.
        sent: Every destination took it.
        attempts: How often it was tried.
        last_error: Why the last attempt failed; empty when it did not.
        due_at_ns: When it became due, nanoseconds since the epoch; 0 when it did not.
        sent_at_ns: When the last destination took it; 0 before.
        gave_up_at_ns: When the attempts ended without success; 0 otherwise.
        covered_by: Id of an incident of the same session whose page tells of this one too; empty for a page of its own.
    """

    due: bool = False
    sent: bool = False
    attempts: int = 0
    last_error: str = ""
    due_at_ns: int = 0
    sent_at_ns: int = 0
    gave_up_at_ns: int = 0
    covered_by: str = ""

    @property
    def gave_up(self) -> bool:
        """No further attempt is made."""
        return bool(self.gave_up_at_ns)


@dataclass(frozen=True, slots=True)
class OutcomeChange:
    """One line of an incident's record: what was decided or seen, in the order in which it reached the disk.

    Attributes:
        at_ns: When it was committed, the sidecar's clock, nanoseconds since the epoch.
        verdict: The verdict at that time.
        outcome: The recovery's outcome at that time: an intent (`approved`) stays on record beside its effect.
        reason: One sentence for a person.
        count: Fences moved until then.
        turn_lost: The turn was known to be lost.
    """

    at_ns: int
    verdict: Verdict
    outcome: Outcome
    reason: str
    count: int
    turn_lost: bool


@dataclass(frozen=True, slots=True)
class StoredIncident:
    """An incident as it is on disk.

    Attributes:
        incident: The incident, as it was saved last.
        page: Its page.
        history: How its outcome came about, oldest first.
    """

    incident: Incident
    page: PageRecord = field(default_factory=PageRecord)
    history: tuple[OutcomeChange, ...] = ()

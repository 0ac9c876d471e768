"""What the store gives back: an incident together with what became of its pages."""

from dataclasses import dataclass
from typing import NamedTuple

from sidecar.core.facts.reasons import Reason
from sidecar.core.verdict.incident import Incident, Outcome, Subject
from sidecar.core.verdict.judge import Verdict


class PageKey(NamedTuple):
    """Which page: the incident's id, and what the page is about."""

    incident_id: str
    about: Subject


class NewPage(NamedTuple):
    """A page that a commit has made due.

    Attributes:
        key: Which page.
        covered_by: Id of an incident of the same session whose page tells of this one too; empty for a page of its own.
    """

    key: PageKey
    covered_by: str


@dataclass(frozen=True, slots=True)
class PageRecord:
    """A page of an incident.

    Attributes:
        about: What it tells of; None for no page at all.
        due_at_ns: When it became due, nanoseconds since the epoch; 0 when it did not.
        sent_at_ns: When the last destination took it; 0 before.
        gave_up_at_ns: When the attempts ended without success; 0 otherwise.
        attempts: How often it was tried.
        last_error: Why the last attempt failed; empty when it did not.
        covered_by: Id of an incident of the same session whose page tells of this one too; empty for a page of its own.
    """

    about: Subject | None = None
    due_at_ns: int = 0
    sent_at_ns: int = 0
    gave_up_at_ns: int = 0
    attempts: int = 0
    last_error: str = ""
    covered_by: str = ""

    @property
    def due(self) -> bool:
        """Somebody is to be told."""
        return bool(self.due_at_ns)

    @property
    def sent(self) -> bool:
        """Every destination took it."""
        return bool(self.sent_at_ns)

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
        reason: Why; None while there was nothing to say.
        count: Fences moved until then.
        turn_lost: The turn was known to be lost.
    """

    at_ns: int
    verdict: Verdict
    outcome: Outcome
    reason: Reason | None
    count: int
    turn_lost: bool


@dataclass(frozen=True, slots=True)
class StoredIncident:
    """An incident as it is on disk.

    Attributes:
        incident: The incident, as it was saved last.
        pages: Its pages, the gravest subject first; at most one for each.
        history: How its outcome came about, oldest first.
    """

    incident: Incident
    pages: tuple[PageRecord, ...] = ()
    history: tuple[OutcomeChange, ...] = ()

    @property
    def page(self) -> PageRecord:
        """The one about the gravest."""
        return self.pages[0] if self.pages else PageRecord()


class DuePage(NamedTuple):
    """A page that waits to be sent, and how far it is."""

    key: PageKey
    page: PageRecord

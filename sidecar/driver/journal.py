"""What must be on disk before anything is done about it (rule 6): one commit for each event.

An incident that could not be put on disk stays here with its last state, and goes along with the next commit: otherwise
a person who is not paged for a takeover because the disk was full would never hear of it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from sidecar.core.decisions import KeepRecording, Record, SaveIncident
from sidecar.core.errors import SidecarError
from sidecar.core.verdict.incident import Incident
from sidecar.driver.ports import Records

MAX_UNSAVED: Final = 1_000
"""Incidents that are kept in memory; of more, the oldest are given up."""

RETRIED_AT_ONCE: Final = 25
"""Of these, so many go along with one commit: a gateway may be waiting for it."""

log = structlog.get_logger("sidecar.driver")


@dataclass(frozen=True, slots=True)
class _Unsaved:
    """The last state of an incident, and when recoveries were counted that no commit has."""

    incident: Incident
    spent: tuple[int, ...] = ()

    def records(self) -> Iterator[SaveIncident]:
        """What is to be committed of it."""
        for spent_at_ns in self.spent or (0,):
            yield SaveIncident(incident=self.incident, spent_at_ns=spent_at_ns)


class Journal:
    """Commits records.

    Attributes:
        failing: The last commit failed.
        forgotten: Incidents that were given up.
        last_error: Why the last failed commit failed; empty when none did.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._unsaved: dict[str, _Unsaved] = {}
        self.failing = False
        self.forgotten = 0
        self.last_error = ""

    @property
    def unsaved(self) -> int:
        """How many incidents are not on disk as they are."""
        return len(self._unsaved)

    def commit(self, records: Sequence[Record]) -> bool:
        """Put all of it on disk in one commit, and with it some of what an earlier one could not.

        Returns:
            It is on disk. If not, its incidents are kept for the next commit, and the rest is lost.
        """
        recorded = {record.incident.incident_id for record in records if isinstance(record, KeepRecording)}
        saves = [record for record in records if isinstance(record, SaveIncident)]
        batch = dict.fromkeys([*(s.incident.incident_id for s in saves), *(i for i in recorded if i in self._unsaved)])
        for save in saves:
            self._note(save)
        for incident_id in self._unsaved:
            if len(batch) >= RETRIED_AT_ONCE:
                break
            batch[incident_id] = None
        rest = [record for record in records if not isinstance(record, SaveIncident)]
        incidents = [record for incident_id in batch for record in self._unsaved[incident_id].records()]
        try:
            committed = self._committed([*incidents, *rest])
        except Exception:
            # A bug of ours in one record must not cost the others their place, and least of all a page.
            log.exception("commit_broken", records=len(incidents) + len(rest))
            batch = dict.fromkeys(save.incident.incident_id for save in saves)
            committed = self._alone(batch)
        if not committed:
            self._bound()
            return False
        for incident_id in batch:
            del self._unsaved[incident_id]
        return True

    def _alone(self, incident_ids: Iterable[str]) -> bool:
        """Commit these incidents without recordings, chains, and what was to go along."""
        try:
            return self._committed([r for incident_id in incident_ids for r in self._unsaved[incident_id].records()])
        except Exception:
            self._give_up(incident_ids)
            raise

    def postpone(self, records: Iterable[Record]) -> None:
        """Leave incidents to a later commit."""
        for record in records:
            if isinstance(record, SaveIncident):
                self._note(record)
        self._bound()

    def settle(self) -> bool:
        """Commit some of what is unsaved. Returns whether there is more that can be tried now."""
        return bool(self._unsaved) and self.commit(()) and bool(self._unsaved)

    def _committed(self, records: Iterable[Record]) -> bool:
        self.failing = False
        try:
            self._records.commit(records)
        except SidecarError as error:
            self.failing = True
            self.last_error = str(error)
        if self.failing:
            log.error("not_recorded", incidents=len(self._unsaved), error=self.last_error)
        return not self.failing

    def _note(self, save: SaveIncident) -> None:
        known = self._unsaved.get(save.incident.incident_id)
        spent = known.spent if known is not None else ()
        if save.spent_at_ns:
            spent = (*spent, save.spent_at_ns)
        self._unsaved[save.incident.incident_id] = _Unsaved(save.incident, spent)

    def _bound(self) -> None:
        self._give_up(list(self._unsaved)[: max(0, len(self._unsaved) - MAX_UNSAVED)])

    def _give_up(self, incidents: Iterable[str]) -> None:
        for incident_id in incidents:
            incident = self._unsaved.pop(incident_id).incident
            self.forgotten += 1
            pages = [about.value for about in incident.paged_for]
            log.error("incident_forgotten", incident=incident.incident_id, pages=pages, total=self.forgotten)

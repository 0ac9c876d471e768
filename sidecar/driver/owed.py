"""Pages that could not be put on record when they were due: they are given as soon as there is room again.

What can't be recorded is not done (rule 6). But the core asks for each page once, and a person who is not told of a
takeover because the disk was full for a moment would never be told of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from sidecar.core.decisions import Page, SaveIncident

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.core.decisions import Decision
    from sidecar.core.incident import Incident, Subject
    from sidecar.driver.ports import IncidentSink, PageSink

MAX_OWED: Final = 1_000
"""Pages that are kept in mind; of more, the oldest are given up."""

log = structlog.get_logger("sidecar.driver")


class OwedPages:
    """Remembers the pages of batches that were left undone, and the newest word of their incidents."""

    def __init__(self, incidents: IncidentSink, pages: PageSink) -> None:
        """Nothing is owed."""
        self._incidents = incidents
        self._pages = pages
        self._owed: dict[tuple[str, Subject], Incident] = {}

    def undone(self, decisions: Iterable[Decision]) -> None:
        """These were not carried out, in this order."""
        for decision in decisions:
            if isinstance(decision, Page):
                self._owed[decision.incident.incident_id, decision.about] = decision.incident
                self._bound()
            elif isinstance(decision, SaveIncident):
                self.heard(decision.incident)

    def heard(self, incident: Incident) -> None:
        """An incident has changed; what is owed about it is told as it is now."""
        for key in self._owed:
            if key[0] == incident.incident_id:
                self._owed[key] = incident

    def settle(self) -> None:
        """Give what is owed.

        Raises:
            SidecarError: There still is no room; the rest stays owed.
        """
        for key, incident in tuple(self._owed.items()):
            self._incidents.save(incident)
            self._pages.page(incident, key[1])
            del self._owed[key]

    def _bound(self) -> None:
        if len(self._owed) > MAX_OWED:
            (incident_id, about), _incident = next(iter(self._owed.items()))
            del self._owed[incident_id, about]
            log.error("page_forgotten", incident=incident_id, about=about.value)

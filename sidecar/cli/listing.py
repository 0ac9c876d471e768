"""Incidents as a table."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from sidecar.cli.output import print_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.store.stored import PageRecord, StoredIncident

_HEADINGS = ("INCIDENT", "VERDICT", "RECOVERY", "TURN", "PAGE", "SESSION FILE")


def print_listing(found: Sequence[StoredIncident]) -> None:
    """One line for each incident; its id tells when it was, to the second, in UTC."""
    print_rows([_HEADINGS, *(_row(stored) for stored in found)], indent=0)


def _row(stored: StoredIncident) -> tuple[str, ...]:
    incident = stored.incident
    turn = "lost" if incident.turn_lost else "open" if not incident.closed_at_ns else "kept"
    return (
        incident.incident_id,
        incident.verdict.value,
        incident.recovery.outcome.value,
        turn,
        _page(stored.page),
        PurePath(incident.session_file).name,
    )


def _page(page: PageRecord) -> str:
    if not page.due:
        return "-"
    return "sent" if page.sent else "covered" if page.covered_by else "failed" if page.gave_up else "due"

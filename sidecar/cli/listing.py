"""Incidents of the store: one, or many as a table."""

from collections.abc import Sequence
from pathlib import PurePath

import typer

from sidecar.cli.output import print_note, print_rows
from sidecar.config.settings import Settings
from sidecar.store.errors import StoreMissingError
from sidecar.store.incidents import DATABASE_NAME
from sidecar.store.reader import IncidentReader
from sidecar.store.stored import PageRecord, StoredIncident

_HEADINGS = ("INCIDENT", "VERDICT", "RECOVERY", "TURN", "PAGE", "SESSION")


def kept(settings: Settings, incident_id: str) -> StoredIncident:
    """The incident of that id.

    Raises:
        typer.Exit: There is none; that has been said on standard error.
        StoreError: The store can't be read.
    """
    path = settings.data_dir / DATABASE_NAME
    try:
        with IncidentReader(path) as reader:
            stored = reader.get(incident_id)
    except StoreMissingError as error:
        print_note(f"openclaw-sidecar: {error}")
        raise typer.Exit(1) from error
    if stored is None:
        print_note(f"openclaw-sidecar: no incident {incident_id} in {path}; `openclaw-sidecar incidents` lists them")
        raise typer.Exit(1)
    return stored


def print_listing(found: Sequence[StoredIncident]) -> None:
    """One line for each incident; its id tells when it was, to the second, in UTC."""
    if not found:
        print_note("no incidents")
        return
    print_rows([_HEADINGS, *(_row(stored) for stored in found)], indent=0)


def _row(stored: StoredIncident) -> tuple[str, ...]:
    incident = stored.incident
    lost = f"lost: {incident.lost.cause.value}" if incident.lost is not None else "lost"
    turn = lost if incident.turn_lost else "open" if not incident.closed_at_ns else "kept"
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

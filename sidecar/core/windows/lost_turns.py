"""Adds to the incident of a lost turn what the gateway logs after the turn's window has closed."""

from collections.abc import Iterable
from typing import Final

from sidecar.core.decisions import Decision, SaveIncident
from sidecar.core.events import GatewayLogged
from sidecar.core.facts.units import NS_PER_MS, NS_PER_SECOND
from sidecar.core.facts.value import replace
from sidecar.core.windows.window import Window

MAX_WINDOWS: Final = 256

PATIENCE_NS: Final = 120 * 1_000_000_000
"""After so long a line of the log is about something else."""


class LostTurns:
    """Windows whose turn was lost a short while ago."""

    def __init__(self) -> None:
        self._windows: list[Window] = []
        self._said: set[tuple[str, str]] = set()
        """Incidents, and what was said of them: two lanes of the gateway say the same."""

    def remember(self, window: Window) -> None:
        """Its turn was lost, and it has closed."""
        self._windows.append(window)
        if len(self._windows) > MAX_WINDOWS:
            self._forget(self._windows.pop(0))

    def window(self, window_id: str) -> Window | None:
        """The newest one with this id; None when it is not remembered."""
        return next((window for window in reversed(self._windows) if window.window_id == window_id), None)

    def told(self, event: GatewayLogged, open_windows: Iterable[Window]) -> list[Decision]:
        """The log spoke of a turn: the newest one that it can be about."""
        while self._windows and self._windows[0].closed_at_ns < event.at_ns - PATIENCE_NS:
            self._forget(self._windows.pop(0))
        for window in (*reversed(tuple(open_windows)), *reversed(self._windows)):
            if _is_about(event, window):
                return self._add(event, window)
        return []

    def _add(self, event: GatewayLogged, window: Window) -> list[Decision]:
        """A user has waited from the question on, so the longest time that was told is how long."""
        incident = window.incident
        if incident is None:
            window.note(event.at_ns, event.what, _waited(event))
            return []
        waited_ms = max(incident.waited_ms, event.waited_ns / NS_PER_MS)
        known = (incident.incident_id, event.what)
        if known in self._said and waited_ms == incident.waited_ms:
            return []
        if known not in self._said:
            self._said.add(known)
            window.note(event.at_ns, event.what, _waited(event))
        window.incident = replace(incident, waited_ms=waited_ms)
        return [SaveIncident(incident=window.snapshot())] if incident.closed_at_ns else []

    def _forget(self, window: Window) -> None:
        if window.incident is not None:
            self._said = {said for said in self._said if said[0] != window.incident.incident_id}


def _is_about(event: GatewayLogged, window: Window) -> bool:
    if event.run_id and window.run.run_id:
        return event.run_id == window.run.run_id
    if event.file:
        return event.file == window.file
    return bool(event.session) and event.session == window.run.session


def _waited(event: GatewayLogged) -> str:
    return f"after {event.waited_ns / NS_PER_SECOND:.1f} s" if event.waited_ns else ""

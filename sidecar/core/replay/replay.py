"""Judge a recorded window again, and say what differs."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from sidecar.core import events as ev
from sidecar.core.decisions import SaveIncident
from sidecar.core.engine import Engine
from sidecar.core.facts.rows import Row, RowSnapshot
from sidecar.core.facts.value import Value, replace
from sidecar.core.policy.blocked import BlockReason
from sidecar.core.replay.recording import Looked, Recording
from sidecar.core.verdict.incident import Incident, Subject

_ELSEWHERE: Final = frozenset({BlockReason.STORM, BlockReason.SESSION_BUDGET, BlockReason.GATEWAY_BUDGET})
"""What was spent before, or happened in other sessions, has held the recovery back; a window alone can't tell."""

_OF_RECOVERY: Final = frozenset({"outcome", "recovery_reason", "moved", "pushed"})


class Difference(Value, frozen=True):
    """A fact of the incident that came out otherwise."""

    name: str
    recorded: Any
    replayed: Any


def facts(incident: Incident) -> dict[str, Any]:
    """What a replay must bring out again, as plain values. Not the id: it is made from the file's name."""
    reason = incident.recovery.reason
    return {
        "verdict": incident.verdict.value,
        "grade": incident.grade.value,
        "reason": incident.reason.plain(),
        "outcome": incident.recovery.outcome.value,
        "hold": incident.recovery.hold.value,
        "recovery_reason": None if reason is None else reason.plain(),
        "moved": incident.recovery.count,
        "pushed": incident.recovery.pushed,
        "turn_lost": incident.turn_lost,
        # A storm is of many sessions: one window alone does not bring it out again.
        "paged": any(about is not Subject.STORM for about in incident.paged_for),
        "writers": [[w.kind, w.name, w.bytes, w.own] for w in incident.writers],
        "unexplained": [[u.offset, u.length] for u in incident.unexplained],
    }


def told(events: Iterable[ev.Event]) -> Iterator[ev.Event]:
    """The events as they were told, with the rows that are on record once."""
    before: tuple[Row, ...] = ()
    for event in events:
        if isinstance(event, Looked) and isinstance(event.snapshot, RowSnapshot) and event.snapshot.rows is not None:
            snapshot = event.snapshot.behind(before)
            before = snapshot.rows or before
            yield replace(event, snapshot=snapshot)
        else:
            yield event


def replay(recording: Recording) -> Incident | None:
    """Tell an engine that knows nothing what the recorded one was told.

    Returns:
        The incident of the window as it was saved last; None when it met none.

    Raises:
        NotRecordedError: The core asks for other digests than those on record.
    """
    engine = Engine(recording.policy, recording.mode)
    found: Incident | None = None
    for event in told(recording.events):
        for decision in engine.handle(event):
            if isinstance(decision, SaveIncident) and decision.incident.window == recording.window:
                found = decision.incident
    return found


def compare(recorded: dict[str, Any], incident: Incident | None) -> list[Difference]:
    """What is not as it was recorded."""
    if incident is None:
        return [Difference("verdict", recorded.get("verdict"), None)]
    found = facts(incident)
    names = [name for name in found if name in recorded]
    if recorded.get("hold", "") in _ELSEWHERE:
        names = [name for name in names if name not in _OF_RECOVERY and name != "hold"]
    return [Difference(name, recorded[name], found[name]) for name in names if recorded[name] != found[name]]

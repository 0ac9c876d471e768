"""What a page says. It is read on a telephone at night: what happened, what it cost, and the first command."""

from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from sidecar.core.verdict.incident import Incident, Subject
from sidecar.notify import words
from sidecar.store.printable import one_line
from sidecar.store.public import iso_utc
from sidecar.words import EVIDENCE, sentence

_MAX_RANGES: Final = 5
_RUNBOOKS: Final = {
    Subject.TAKEOVER: "OpenClawSessionTakeover",
    Subject.RECOVERY: "OpenClawRecoveryIneffective",
    Subject.STORM: "OpenClawRecoveryStorm",
}
"""What to do, in words: pages of the repository, named as the alerts that tell of the same."""


@dataclass(frozen=True, slots=True)
class PageText:
    """A page, ready to be sent.

    Attributes:
        title: One line.
        body: Several lines of plain text.
        critical: Someone from outside was at work; otherwise something of ours did not work.
    """

    title: str
    body: str
    critical: bool


def page_text(incident: Incident, about: Subject, host: str, head: str) -> PageText:
    """Describe an incident to the person who is paged. No transcript text, no session key.

    Args:
        incident: What happened.
        about: What of it is to be told.
        host: The machine that it happened on.
        head: The last entry of the chain of records, which says of every record before what it was.
    """
    # Names of files, programs and hosts hold any character: each line is made safe when it is whole.
    lines = [
        f"What: {sentence(incident.reason)}",
        f"Session: {incident.session_file}",
        f"Gateway: {words.gateway(incident)}, on {host}",
        f"When: {iso_utc(incident.opened_at_ns)}",
        *_ranges(incident),
        f"Impact: {words.impact(incident)}",
        f"Evidence: {incident.grade.value} ({EVIDENCE[incident.grade]})",
        f"Re-fingerprint: {words.done(incident)}",
        f"Runbook: alerts/runbooks/{_RUNBOOKS[about]}.md",
        f"First command: openclaw-sidecar explain {incident.incident_id}",
        f"Record: {head}",
    ]
    return PageText(_title(incident, about, host), "\n".join(map(one_line, lines)), about is Subject.TAKEOVER)


def _title(incident: Incident, about: Subject, host: str) -> str:
    name = PurePath(incident.session_file).name
    if about is Subject.TAKEOVER:
        what = "foreign change of a session, " + ("turn lost" if incident.turn_lost else "turn at risk")
        if incident.closed_at_ns and not incident.turn_lost:
            what = "foreign change of a session"
    elif about is Subject.STORM:
        what = "many sessions changed at once, recovery stopped"
    else:
        what = _without_effect(incident)
    return one_line(f"OpenClaw on {host}: {what} ({name})")


def _without_effect(incident: Incident) -> str:
    if incident.turn_lost:
        return "recovery did not help, turn lost"
    if incident.recovery.unproven:
        return "recovery not proven, history could not be checked"
    return "recovery did not help" + (", history damaged" if incident.recovery.count else "")


def _ranges(incident: Incident) -> list[str]:
    shown = [f"Unexplained: {words.unexplained(item)}" for item in incident.unexplained[:_MAX_RANGES]]
    more = len(incident.unexplained) - len(shown)
    return [*shown, f"Unexplained: {more} more ranges"] if more > 0 else shown

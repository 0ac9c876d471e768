"""What a person can do about an incident."""

import re
import shlex
from collections.abc import Iterator
from typing import Final

from sidecar.core.facts.database import DatabaseHold
from sidecar.core.facts.gateway import Adapter
from sidecar.core.facts.reasons import ReasonCode
from sidecar.core.facts.rows import is_of_rows, parts_of
from sidecar.core.facts.span import Unit
from sidecar.core.facts.turn_loss import LossCause
from sidecar.core.policy.blocked import BlockReason
from sidecar.core.policy.policy import Mode
from sidecar.core.verdict.incident import Incident, Outcome
from sidecar.core.verdict.judge import Verdict
from sidecar.store.printable import one_line

_PLAIN_ID: Final = re.compile(r"[\w-]+", re.ASCII)
_HELD: Final = {
    BlockReason.PAUSE: "End the pause when it has served its purpose: openclaw-sidecar resume",
    BlockReason.STORM: "Look for what changes so many sessions at once: a restore, a sync tool, an upgrade.",
    BlockReason.SESSION_BUDGET: "Look for what keeps writing to this session while its turns wait.",
    BlockReason.GATEWAY_BUDGET: "Look for what keeps writing to the sessions of this gateway while their turns wait.",
    BlockReason.POLICY: "The policy does not allow it: see whether that is what you want.",
}


_LOST_TO: Final = {
    LossCause.BUSY: "See what keeps the database locked for seconds: a backup, a scan, a second program of OpenClaw.",
    LossCause.STORAGE: "See that the disk has room and no errors, and that the gateway may write to its database.",
    LossCause.REBOUND: "See which of the gateway's runs share this session, and have them come one after the other.",
    LossCause.ADMISSION: "See what changes the session while turns begin: programs that start turns at once, a reset.",
    LossCause.PROJECTION: "See whether the gateway rebuilds the index of a big session: its log says so.",
    LossCause.SUPERSEDED: "Nothing: a newer run has the session, and answers there.",
    LossCause.RESET: "Nothing: the session was reset while the turn was under way.",
}

_MAX_LIARS: Final = 3

_NOT_TO_BE_SENT_AGAIN: Final = frozenset({LossCause.SUPERSEDED, LossCause.RESET})


def advice(incident: Incident) -> list[str]:
    """The steps, the first one first; never empty."""
    return [*_about_the_change(incident), *_about_the_loss(incident), *_about_the_turn(incident)] or [
        "Nothing: the turn went on, and no record was lost."
    ]


def _about_the_loss(incident: Incident) -> Iterator[str]:
    lost = incident.lost
    if lost is None:
        return
    if incident.verdict is not Verdict.EXTERNAL and lost.cause in _LOST_TO:
        yield _holder_ends(lost.holder) if lost.holder is not None else _LOST_TO[lost.cause]
    if lost.tools:
        tools = one_line(", ".join(lost.tools))
        yield f"See what {tools} has done: it is done, the session does not know of it, and the agent may do it again."


def _holder_ends(holder: DatabaseHold) -> str:
    who = one_line(holder.label())
    return f"See why {who} held the database for seconds: a backup belongs into SQLite's backup API or VACUUM INTO."


def _about_the_change(incident: Incident) -> Iterator[str]:
    outcome = incident.recovery.outcome
    if incident.verdict is Verdict.EXTERNAL:
        yield from _about_a_stranger(incident)
    elif incident.recovery.hold in _HELD:
        yield _HELD[incident.recovery.hold]
        yield f"See what would change it: openclaw-sidecar policy explain {incident.incident_id}"
    elif outcome is Outcome.INEFFECTIVE:
        yield from _about_no_effect(incident)
    elif outcome is Outcome.LATE:
        yield _about_a_late_answer(incident)
    elif outcome in {Outcome.APPROVED, Outcome.APPLIED}:
        yield "See in the gateway whether the turn was answered: the sidecar was not there to see it."
    elif outcome is Outcome.NOT_ATTEMPTED and incident.recovery.mode is Mode.OBSERVE:
        yield "To have such turns go on, run the sidecar without --observe."
    else:
        yield from _about_the_gateway(incident)


def _about_the_gateway(incident: Incident) -> Iterator[str]:
    """Why nothing was decided, where nobody is at fault."""
    unattributed = incident.verdict is Verdict.UNATTRIBUTED
    if not incident.gateway.believed:
        yield (
            "The gateway is not verified, so no turn of it is recovered: `openclaw-sidecar status` says why, and what"
            " to do."
        )
    elif unattributed and not incident.window and incident.lost is None:
        yield "Add the preload to the gateway (see `openclaw-sidecar hook --help`) and restart it."
    elif incident.gateway.adapter is Adapter.UNKNOWN and incident.window:
        yield "This release of OpenClaw is not known to the preload, so it was left alone: update openclaw-sidecar."
    elif unattributed:
        yield "The account of this window has a gap, see the timeline: keep the sidecar running all the time."


def _about_no_effect(incident: Incident) -> Iterator[str]:
    if incident.fence == incident.current:
        yield "See what keeps the session lock for so long: the timeline names its holder."
        return
    if incident.recovery.unproven:
        yield "See why the session file could not be read: the reason stands behind the recovery."
        yield "Look at the session in the gateway: whether each record is on the line of history was not checked."
        return
    yield "Please report this with the output of `openclaw-sidecar explain --json`: it holds no transcript text."
    if incident.recovery.count and not incident.turn_lost:
        yield "Look at the session in the gateway: records may be off the line of history that the agent sees."


def _about_a_stranger(incident: Incident) -> Iterator[str]:
    for pid in [pid for pid in dict.fromkeys(claim.pid for claim in incident.claims) if pid][:_MAX_LIARS]:
        yield f"See what process {pid} is, which says that it wrote this: ps -o pid,user,lstart,args -p {pid}"
    for item in incident.unexplained[:3]:
        if item.pid:
            yield f"See what process {item.pid} is: ps -o pid,user,lstart,args -p {item.pid}"
        if item.length and item.unit is Unit.ROWS:
            yield from _rows_query(incident.session_file, item.offset, item.length)
        elif item.length and incident.session_file.isprintable():
            file = shlex.quote(incident.session_file)
            yield f"See what was written: tail -c +{item.offset + 1} {file} | head -c {item.length}"
    if not any(item.pid for item in incident.unexplained):
        yield (
            "Look for what else works in this directory: sync and backup tools, editors, scripts, another gateway on"
            " the same state directory."
        )
    if is_of_rows(incident.session_file):
        yield "If the writer is yours, have it ask the gateway: nobody else may write to its database."
        return
    yield (
        "If the writer is yours, have it say who it is: the session lock alone explains no byte. Run it under"
        " openclaw-sidecar write, or have it announce itself over HTTP (docs/cotenants.md)."
    )


def _about_a_late_answer(incident: Incident) -> str:
    reason = incident.recovery.reason
    if reason is not None and reason.code is ReasonCode.APPROVED_TOO_LATE:
        return "Nothing is wrong: the model answered within milliseconds of the command; the gateway waits for none."
    return (
        "See why the sidecar did not run in time: a stopped process, too little CPU (the limit of its container), a"
        " slow disk. `openclaw-sidecar status` says when it did not run."
    )


def _rows_query(transcript: str, first: int, length: int) -> Iterator[str]:
    database, session_id = parts_of(transcript)
    if not database.isprintable() or not _PLAIN_ID.fullmatch(session_id):
        return  # it can't be copied into a shell as it is
    rows = f"seq = {first}" if length == 1 else f"seq BETWEEN {first} AND {first + length - 1}"
    where = f"session_id = '{session_id}' AND {rows}"
    query = f"SELECT seq, created_at, event_json FROM transcript_events WHERE {where}"  # noqa: S608 - shown to a person, and never run
    yield f'See what is there now: sqlite3 -readonly {shlex.quote(database)} "{query}"'


def _about_the_turn(incident: Incident) -> Iterator[str]:
    lost = incident.lost
    if not incident.turn_lost or (lost is not None and lost.cause in _NOT_TO_BE_SENT_AGAIN):
        return
    if lost is not None and lost.reason.code is ReasonCode.LOST_AFTER_STORING:
        yield "Nothing needs to be sent again: the answer is in the session, and only its delivery failed."
        return
    who = "Ask the user to send the message again" if incident.run.kind == "user_turn" else "Run it again"
    name = one_line(incident.run.kind.replace("_", " ")) or "the run"
    yield f"{who}: the turn ({name}) was stopped, and its answer is not in the session."

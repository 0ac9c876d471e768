"""An incident in words for people who do not know ours: who, where, what it cost."""

from typing import Final

from sidecar.core.custody.claims import Claimed
from sidecar.core.facts.process import Process
from sidecar.core.facts.rows import rows_named
from sidecar.core.facts.span import Unit
from sidecar.core.verdict.incident import Incident, Outcome, UnexplainedRange, WriterShare
from sidecar.core.verdict.judge import Verdict
from sidecar.store.printable import one_line
from sidecar.store.public import iso_utc
from sidecar.words import outcome, sentence

_MAX_NAMED: Final = 4
_MS_PER_SECOND: Final = 1_000


def done(incident: Incident) -> str:
    """What was done about it, or refused, and why."""
    recovery = incident.recovery
    words = outcome(incident)
    return f"{words} ({one_line(sentence(recovery.reason))})" if recovery.reason else words


def impact(incident: Incident) -> str:
    """What it cost, as far as is known now."""
    whose = whose_turn(incident)
    if incident.turn_lost:
        return _impact_of_loss(incident)
    if incident.recovery.outcome is Outcome.EFFECTIVE:
        return f"none: the turn of {whose} went on"
    if incident.recovery.unproven:
        return f"the turn of {whose} went on; whether a record was lost could not be checked"
    if incident.recovery.outcome is Outcome.INEFFECTIVE and incident.recovery.count:
        return f"the turn of {whose} went on, but the session's history is damaged"
    if incident.closed_at_ns and incident.verdict is Verdict.EXTERNAL:
        return f"the turn of {whose} was not seen to be stopped"
    if incident.closed_at_ns:
        return f"the turn of {whose} was not lost as far as was seen"
    if incident.verdict is Verdict.EXTERNAL:
        return f"the turn of {whose} still waits; at its next check the gateway's own fence decides whether to stop it"
    return f"the turn of {whose} still waits"


def _impact_of_loss(incident: Incident) -> str:
    whose, lost = whose_turn(incident), incident.lost
    waited = f"after {incident.waited_ms / _MS_PER_SECOND:.1f} s of waiting" if incident.waited_ms else ""
    if lost is None:
        when = f", {waited}" if waited else ""
        return f"the turn of {whose} is lost: the gateway's own fence stopped it{when}, and its answer was not written"
    times = f"{lost.count} turns of the session are lost, the first one of {whose}"
    what = f"the turn of {whose} is lost" if lost.count == 1 else times
    when = f" {waited}" if waited else ""
    done = f"; done, and not known to the session: {', '.join(lost.tools)}" if lost.tools else ""
    return one_line(f"{what}{when}: {sentence(lost.reason)}{done}")


def whose_turn(incident: Incident) -> str:
    """Who waits for the turn."""
    run = incident.run
    if not run.kind and not run.run_id:
        return "an unknown run"
    kind = (run.kind or "unknown kind").replace("_", " ")
    kind = "a user" if kind == "user turn" else f"{kind} {run.name}".rstrip()
    number = f" (run {run.run_id})" if run.run_id else ""
    return one_line(f"{kind}{number}")


def gateway(incident: Incident) -> str:
    """The process that it happened to."""
    known = incident.gateway
    name = f"OpenClaw {known.version}" if known.version else "OpenClaw gateway"
    return one_line(f"{name}, pid {known.pid}" if known.pid else f"{name}, pid not known")


def writer(share: WriterShare) -> str:
    """A writer and how much it wrote."""
    name = f"{share.kind.replace('_', ' ')} {share.name}".rstrip()
    process = f", pid {share.pid}" if share.pid else ""
    return one_line(f"{name}{process}: {_bytes(share.bytes)}{', the fenced run itself' if share.own else ''}")


def unexplained(item: UnexplainedRange) -> str:
    """A range that nobody reported."""
    where = _where(item)
    if not item.pid:
        return where
    if item.processes:
        names = "; ".join(_process(p) for p in item.processes[:_MAX_NAMED])
        more = f"; {len(item.processes) - _MAX_NAMED} more" if len(item.processes) > _MAX_NAMED else ""
        place = "database" if item.unit is Unit.ROWS else "file"
        return one_line(f"{where}; the kernel saw at the {place}: {names}{more}")
    exe = f" ({item.exe})" if item.exe else ""
    did = "had the database open for writing" if item.unit is Unit.ROWS else "held the lock"
    return one_line(f"{where}, while process {item.pid}{exe} {did}")


def claim(said: Claimed, unit: Unit) -> str:
    """What a process that is not believed says that it did, and why it is not."""
    where = _where(UnexplainedRange(said.span.offset, said.span.length, unit=unit))
    who = f"process {said.pid}" if said.pid else "a process outside of this pid namespace"
    exe = f" ({said.exe})" if said.exe else ""
    return one_line(f"{where}: {who}{exe} says that it was {said.writer}; {sentence(said.reason)}")


def _where(item: UnexplainedRange) -> str:
    if item.unit is Unit.ROWS:
        if not item.length:
            return "the transcript has another generation, which the gateway did not give it"
        return f"{rows_named(item.offset, item.length)}: added, changed or deleted, and not by the gateway"
    if not item.length:
        return f"bytes are missing at {item.offset}"
    return f"bytes {item.offset} to {item.offset + item.length - 1} ({_bytes(item.length)})"


def _process(process: Process) -> str:
    since = iso_utc(process.started_at_ns)
    parts = (process.exe, f"started {since}" if since else "", process.cgroup and f"cgroup {process.cgroup}")
    details = ", ".join(part for part in parts if part)
    if process.tool is not None:
        return f"{process.tool.label(process.pid)} ({details})"
    return f"process {process.pid} ({details})" if details else f"process {process.pid}, which was gone at once"


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"

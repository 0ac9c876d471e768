"""The public JSON of an incident: what the API and the CLI give to other programs."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from sidecar.core.custody.claims import Claimed
from sidecar.core.facts.database import DatabaseHold
from sidecar.core.facts.reasons import Reason
from sidecar.core.facts.turn_loss import LostTurn
from sidecar.core.policy.budget import BudgetUse
from sidecar.store.printable import clean_json
from sidecar.store.stored import PageRecord, StoredIncident
from sidecar.words import detail, sentence

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def iso_utc(at_ns: int) -> str | None:
    """A time in ISO 8601, UTC, to the microsecond; None for 0, which stands for "not yet"."""
    if at_ns == 0:
        return None
    return (_EPOCH + timedelta(microseconds=at_ns // 1000)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def incident_json(stored: StoredIncident) -> dict[str, Any]:
    r"""The incident in the form that is promised to other programs.

    Every text is encodable as UTF-8; bytes of a file name that are not are shown as ``\xNN``. No transcript text.

    Returns:
        A dictionary of JSON values; sizes and offsets in bytes, times in ISO 8601 or nanoseconds where named so.
    """
    incident = stored.incident
    cleaned: dict[str, Any] = clean_json(
        {
            "id": incident.incident_id,
            "session_file": incident.session_file,
            "session": incident.run.session,
            "opened_at": iso_utc(incident.opened_at_ns),
            "closed_at": iso_utc(incident.closed_at_ns),
            "verdict": incident.verdict.value,
            "evidence": incident.grade.value,
            **reason_json(incident.reason),
            "turn_lost": incident.turn_lost,
            "lost": _lost(incident.lost),
            "waited_ms": round(incident.waited_ms, 3),
            "rule": incident.rule,
            "policy": incident.policy,
            "run_id": incident.run.run_id,
            "run": {"kind": incident.run.kind, "name": incident.run.name},
            "trace_id": incident.run.trace_id,
            "writers": [{**fields_json(w), "uid": None if w.uid < 0 else w.uid} for w in incident.writers],
            "unexplained": [
                {**fields_json(u), "processes": [fields_json(process) for process in u.processes]}
                for u in incident.unexplained
            ],
            "claims": [_claim(claim) for claim in incident.claims],
            "fence": fields_json(incident.fence),
            "current": fields_json(incident.current),
            "recovery": {
                "outcome": incident.recovery.outcome.value,
                "mode": incident.recovery.mode.value,
                "latency_ms": round(incident.recovery.latency_ms, 3),
                **reason_json(incident.recovery.reason),
                "count": incident.recovery.count,
                "pushed": incident.recovery.pushed,
                "hold": incident.recovery.hold.value,
                "budget": _budget_use(incident.recovery.budget_use),
                "lock_waits": incident.recovery.lock_waits,
                "unproven": incident.recovery.unproven,
            },
            "history": [{**fields_json(change), **reason_json(change.reason)} for change in stored.history],
            "page": _page(stored.page),
            "pages": [_page(page) for page in stored.pages],
            "gateway": {
                "version": incident.gateway.version,
                "adapter": incident.gateway.adapter.value,
                "pid": incident.gateway.pid,
                "exe": incident.gateway.exe,
                "verified": incident.gateway.believed,
                "proof": incident.gateway.proof.value if incident.gateway.proof is not None else "",
                "checks": list(incident.gateway.checks),
                "unverified": reason_json(incident.gateway.doubt),
            },
            "timeline": [{"at": iso_utc(m.at_ns), "what": m.what, "detail": detail(m)} for m in incident.timeline],
        }
    )
    return cleaned


def reason_json(reason: Reason | None) -> dict[str, Any]:
    """A reason for people and for programs: its sentence, its code, the parameters of the code, and further reasons."""
    plain = {"code": "", "parameters": {}, "details": []} if reason is None else reason.plain()
    return {"reason": sentence(reason), **{f"reason_{name}": value for name, value in plain.items()}}


def _claim(claim: Claimed) -> dict[str, Any]:
    """What a process that is not believed says that it wrote, and why it is not."""
    return {
        "offset": claim.span.offset,
        "length": claim.span.length,
        "writer": claim.writer,
        "pid": claim.pid,
        "exe": claim.exe,
        "uid": None if claim.uid < 0 else claim.uid,
        **reason_json(claim.reason),
    }


def _lost(lost: LostTurn | None) -> dict[str, Any] | None:
    if lost is None:
        return None
    holder = None if lost.holder is None else _holder(lost.holder)
    return {**fields_json(lost), **reason_json(lost.reason), "holder": holder}


def _holder(hold: DatabaseHold) -> dict[str, Any]:
    """``until`` is null where the process held the database still when the turn was lost."""
    return {
        **fields_json(hold.process),
        "command": hold.command,
        "lock": hold.kind.value,
        "since": iso_utc(hold.since_ns),
        "until": iso_utc(hold.until_ns) if hold.until_ns else None,
    }


def fields_json(value: object) -> dict[str, Any]:
    """All fields of a value; a time ``..at_ns`` becomes ``..at`` in ISO 8601."""
    found: dict[str, Any] = msgspec.to_builtins(value)
    found.pop("type", None)  # of a version: its fields tell it
    times = {name.removesuffix("_ns"): iso_utc(found.pop(name)) for name in list(found) if name.endswith("at_ns")}
    return found | times


def _page(page: PageRecord) -> dict[str, Any]:
    fields = {**fields_json(page), "due": page.due, "sent": page.sent, "gave_up": page.gave_up}
    del fields["gave_up_at"]
    return fields


def _budget_use(budget_use: BudgetUse | None) -> dict[str, Any] | None:
    if budget_use is None:
        return None
    return {
        "scope": budget_use.scope.value,
        "limit": budget_use.limit,
        "period_seconds": budget_use.period_ns / 1_000_000_000,
        "used": budget_use.used,
        "free_at": iso_utc(budget_use.free_at_ns),
    }

"""The public JSON of an incident: what the API and the CLI give to other programs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sidecar.store.printable import clean_json
from sidecar.words import detail, sentence

if TYPE_CHECKING:
    from sidecar.core.facts.fingerprint import Fingerprint
    from sidecar.core.facts.process import Process
    from sidecar.core.facts.reasons import Reason
    from sidecar.core.policy.budget import BudgetUse
    from sidecar.store.stored import PageRecord, StoredIncident

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
            "waited_ms": round(incident.waited_ms, 3),
            "rule": incident.rule,
            "policy": incident.policy,
            "run_id": incident.run.run_id,
            "run": {"kind": incident.run.kind, "name": incident.run.name},
            "trace_id": incident.run.trace_id,
            "writers": [
                {
                    "kind": w.kind,
                    "name": w.name,
                    "pid": w.pid,
                    "bytes": w.bytes,
                    "own": w.own,
                    "run_id": w.run_id,
                    "did": w.did,
                    "may": w.may,
                    "rule": w.rule,
                    "exe": w.exe,
                    "uid": None if w.uid < 0 else w.uid,
                }
                for w in incident.writers
            ],
            "unexplained": [
                {
                    "offset": u.offset,
                    "length": u.length,
                    "pid": u.pid,
                    "exe": u.exe,
                    "processes": [_process(p) for p in u.processes],
                }
                for u in incident.unexplained
            ],
            "fence": _fingerprint(incident.fence),
            "current": _fingerprint(incident.current),
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
            "history": [
                {
                    "at": iso_utc(h.at_ns),
                    "verdict": h.verdict.value,
                    "outcome": h.outcome.value,
                    **reason_json(h.reason),
                    "count": h.count,
                    "turn_lost": h.turn_lost,
                }
                for h in stored.history
            ],
            "page": _page(stored.page),
            "pages": [_page(page) for page in stored.pages],
            "gateway": {
                "version": incident.gateway.version,
                "adapter": incident.gateway.adapter.value,
                "pid": incident.gateway.pid,
            },
            "timeline": [{"at": iso_utc(m.at_ns), "what": m.what, "detail": detail(m)} for m in incident.timeline],
        }
    )
    return cleaned


def reason_json(reason: Reason | None) -> dict[str, Any]:
    """A reason for people and for programs: its sentence, its code, the parameters of the code, and further reasons."""
    plain = {"code": "", "parameters": {}, "details": []} if reason is None else reason.plain()
    return {"reason": sentence(reason), **{f"reason_{name}": value for name, value in plain.items()}}


def _process(process: Process) -> dict[str, Any]:
    return {
        "pid": process.pid,
        "started_at": iso_utc(process.started_at_ns),
        "exe": process.exe,
        "cgroup": process.cgroup,
        "container": process.container,
        "uid": process.uid,
    }


def _page(page: PageRecord) -> dict[str, Any]:
    return {
        "about": page.about,
        "due": page.due,
        "sent": page.sent,
        "attempts": page.attempts,
        "last_error": page.last_error,
        "due_at": iso_utc(page.due_at_ns),
        "sent_at": iso_utc(page.sent_at_ns),
        "gave_up": page.gave_up,
        "covered_by": page.covered_by,
    }


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


def _fingerprint(fingerprint: Fingerprint) -> dict[str, Any]:
    return {
        "exists": fingerprint.exists,
        "dev": fingerprint.dev,
        "ino": fingerprint.ino,
        "size": fingerprint.size,
        "mtime_ns": fingerprint.mtime_ns,
        "ctime_ns": fingerprint.ctime_ns,
    }

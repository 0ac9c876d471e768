"""An incident to the text of its row, and back. Other programs get the form of `sidecar.store.public`, not this one."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.gateway import Adapter, Gateway, Run
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.process import Process
from sidecar.core.facts.reasons import Reason
from sidecar.core.policy.blocked import BlockReason
from sidecar.core.policy.budget import BudgetUse, Scope
from sidecar.core.policy.policy import Mode
from sidecar.core.verdict.incident import Incident, Moment, Outcome, Recovery, Subject, UnexplainedRange, WriterShare
from sidecar.core.verdict.judge import Verdict
from sidecar.store.facts import build, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

_T = TypeVar("_T")


def encode(incident: Incident) -> str:
    """The row's text: JSON in ASCII, so that names that are no UTF-8 come through unharmed."""
    return json.dumps(msgspec.to_builtins(incident), ensure_ascii=True, separators=(",", ":"))


def decode(text: str) -> Incident:
    """The inverse of `encode`. Fields that this release does not know are left out.

    Raises:
        ValueError: The text is no incident; so are KeyError and TypeError for one with pieces missing.
    """
    row: dict[str, Any] = json.loads(text)
    recovery, gateway = row["recovery"], row["gateway"]
    return _make(
        Incident,
        row,
        verdict=Verdict(row["verdict"]),
        grade=Grade(row["grade"]),
        reason=build(Reason, row["reason"]),
        writers=tuple(_make(WriterShare, w) for w in row["writers"]),
        unexplained=tuple(_unexplained(u) for u in row["unexplained"]),
        fence=_make(Fingerprint, row["fence"]),
        current=_make(Fingerprint, row["current"]),
        recovery=_make(
            Recovery,
            recovery,
            outcome=Outcome(recovery["outcome"]),
            mode=Mode(recovery["mode"]),
            reason=_reason(recovery.get("reason")),
            hold=BlockReason(recovery.get("hold", BlockReason.NONE)),
            budget_use=_budget_use(recovery.get("budget_use")),
        ),
        run=_make(Run, row["run"]),
        gateway=_make(Gateway, gateway, adapter=Adapter(gateway["adapter"])),
        timeline=tuple(_make(Moment, m, reason=_reason(m.get("reason"))) for m in row["timeline"]),
        paged_for=tuple(Subject(about) for about in row["paged_for"]),
    )


def encode_reason(reason: Reason | None) -> str:
    """A reason as the text of a column; empty for none."""
    return "" if reason is None else json.dumps(plain(reason), ensure_ascii=True, separators=(",", ":"))


def decode_reason(text: str) -> Reason | None:
    """The inverse of `encode_reason`.

    Raises:
        ValueError: The text is no reason.
    """
    return build(Reason, json.loads(text)) if text else None


def _reason(row: Mapping[str, Any] | None) -> Reason | None:
    return None if row is None else build(Reason, row)


def _budget_use(row: Mapping[str, Any] | None) -> BudgetUse | None:
    return None if row is None else _make(BudgetUse, row, scope=Scope(row["scope"]))


def _unexplained(row: Mapping[str, Any]) -> UnexplainedRange:
    processes = tuple(_make(Process, p) for p in row.get("processes", ()))
    return _make(UnexplainedRange, row, processes=processes)


def _make(kind: type[_T], row: Mapping[str, Any], **read: object) -> _T:
    """Build a dataclass from the keys that it knows; ``read`` holds those that were decoded already."""
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type] # every kind here is a dataclass
    return kind(**{name: value for name, value in row.items() if name in known} | read)

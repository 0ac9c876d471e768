"""One fence of one run, from its setting until the run is done with it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sidecar.core.incident import (
    Incident,
    Moment,
    Outcome,
    Recovery,
    UnexplainedRange,
    WriterShare,
    incident_id,
)
from sidecar.core.verdict import Verdict

if TYPE_CHECKING:
    from sidecar.core.change import Change
    from sidecar.core.content import Manifest
    from sidecar.core.fingerprint import Fingerprint
    from sidecar.core.gateway import Gateway, Run
    from sidecar.core.ledger import ForeignHold
    from sidecar.core.policy import Mode
    from sidecar.core.verdict import Judgement

MAX_MOMENTS: Final = 400
"""Lines of a timeline that are kept; the oldest after the first few go."""

_GRAVITY: Final = {
    Verdict.UNCHANGED: 0,
    Verdict.OWN: 1,
    Verdict.CO_TENANT: 2,
    Verdict.RESET: 3,
    Verdict.UNATTRIBUTED: 4,
    Verdict.EXTERNAL: 5,
}


@dataclass(slots=True)
class Window:
    """A fence and all that was seen of it.

    Attributes:
        window_id: The controller's id.
        gateway: Whose it is.
        file: Path of the session file.
        run: The fenced run.
        fence: What the run recorded last.
        opened_at_ns: When it was first set.
        trusted: The bytes at the fence; None while custody is unknown.
        trusted_uid: Owner at the fence.
        changes: Reported since the fence.
        broken: Why the account since the fence has a gap; empty when unbroken.
        records: Ids of the co-tenants' records that recoveries took in; they must stay on the path to the root.
        approved: The step that was approved and has not been seen applied.
        incident: What this window met; None while nothing.
        settled: Writers of the steps that earlier fences have left behind.
        moments: The timeline.
    """

    window_id: str
    gateway: Gateway
    file: str
    run: Run
    fence: Fingerprint
    opened_at_ns: int
    trusted: Manifest | None = None
    trusted_uid: int = -1
    changes: list[Change] = field(default_factory=list)
    broken: str = ""
    approved: tuple[Fingerprint, Fingerprint] | None = None
    incident: Incident | None = None
    settled: tuple[WriterShare, ...] = ()
    records: list[str] = field(default_factory=list)
    moments: deque[Moment] = field(default_factory=lambda: deque(maxlen=MAX_MOMENTS))

    def note(self, at_ns: int, what: str, detail: str = "") -> None:
        """Add a line to the timeline."""
        self.moments.append(Moment(at_ns, what, detail))

    def rebase(self, fence: Fingerprint, trusted: Manifest | None, uid: int) -> None:
        """The run recorded a new fence; what came before it is settled."""
        self.fence = fence
        self.trusted = trusted
        self.trusted_uid = uid
        self.changes = [c for c in self.changes if not c.finished]
        self.broken = "a write was under way when the fence was set" if self.changes else ""
        self.approved = None
        self.settled = self.incident.writers if self.incident else ()

    def lose_custody(self, reason: str) -> None:
        """Nothing may be assumed of this window any more."""
        self.broken = self.broken or reason

    def observe(self, judgement: Judgement, current: Fingerprint, foreign: ForeignHold | None, at_ns: int) -> Incident:
        """Take a judgement into the incident, opening it with the first one. The gravest verdict stays."""
        known = self.incident
        if known is None:
            known = Incident(
                incident_id=incident_id(at_ns, self.window_id, self.file),
                session_file=self.file,
                opened_at_ns=at_ns,
                verdict=judgement.verdict,
                grade=judgement.grade,
                reason=judgement.reason,
                fence=self.fence,
                current=current,
                run=self.run,
                gateway=self.gateway,
                window=self.window_id,
            )
        graver = _GRAVITY[judgement.verdict] >= _GRAVITY[known.verdict]
        self.note(at_ns, "verdict", f"{judgement.verdict.value}: {judgement.reason}")
        self.incident = replace(
            known,
            verdict=judgement.verdict if graver else known.verdict,
            grade=judgement.grade if graver else known.grade,
            reason=judgement.reason if graver else known.reason,
            writers=_merged_writers(self.settled, judgement, self.run.run_id),
            unexplained=_ranges(judgement, foreign, self.opened_at_ns) or known.unexplained,
            fence=self.fence,
            current=current,
            run=self.run,
            gateway=self.gateway,
        )
        return self.snapshot()

    def amend(self, recovery: Recovery | None = None, *, turn_lost: bool = False, paged: bool = False) -> Incident:
        """Change the open incident's outcome. There must be one."""
        if self.incident is None:
            message = f"window {self.window_id} has no incident to amend"
            raise AssertionError(message)
        self.incident = replace(
            self.incident,
            recovery=recovery or self.incident.recovery,
            turn_lost=self.incident.turn_lost or turn_lost,
            paged=self.incident.paged or paged,
        )
        return self.snapshot()

    def close(self, at_ns: int) -> Incident | None:
        """End the window; its incident, if it has one, gets its end."""
        if self.incident is None:
            return None
        self.incident = replace(self.incident, closed_at_ns=at_ns)
        return self.snapshot()

    def snapshot(self) -> Incident:
        """The incident with the timeline as it is now."""
        if self.incident is None:
            message = f"window {self.window_id} has no incident"
            raise AssertionError(message)
        self.incident = replace(self.incident, timeline=tuple(self.moments))
        return self.incident

    def recovery(self, outcome: Outcome, mode: Mode, reason: str, latency_ms: float = 0.0) -> Recovery:
        """The recovery record with a new outcome; counters are kept."""
        known = self.incident.recovery if self.incident else Recovery()
        return replace(known, outcome=outcome, mode=mode, reason=reason, latency_ms=latency_ms or known.latency_ms)


def _merged_writers(known: tuple[WriterShare, ...], judgement: Judgement, run_id: str) -> tuple[WriterShare, ...]:
    """Add the shares of the present step to those of the settled ones."""
    merged = {(w.kind, w.name, w.pid, w.run_id): w for w in known}
    for share in judgement.shares:
        writer = share.writer
        key = (writer.kind.value, writer.name, writer.pid, writer.run_id)
        before = merged.get(key)
        count = share.bytes + (before.bytes if before else 0)
        own = bool(run_id) and writer.run_id == run_id
        merged[key] = WriterShare(writer.kind.value, writer.name, writer.pid, count, writer.run_id, own)
    return tuple(merged.values())


def _ranges(judgement: Judgement, foreign: ForeignHold | None, since_ns: int) -> tuple[UnexplainedRange, ...]:
    holder = foreign if foreign is not None and foreign.at_ns >= since_ns else None
    return tuple(
        UnexplainedRange(r.offset, r.length, holder.pid if holder else 0, holder.exe if holder else "")
        for r in judgement.unexplained
    )

"""Changes by gateways that carry no preload: who held the lock is all that can be said.

Without a preload nobody knows when a fence is set, so there is no window to speak of. What is recorded is a burst: the
changes of one file until it has been quiet for a while. Such an incident is never more than `Verdict.UNATTRIBUTED`,
is never paged, and names the process that held the lock.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sidecar.core.decisions import Decision, SaveIncident
from sidecar.core.events import FingerprintChanged
from sidecar.core.facts.gateway import Adapter, Gateway, Run
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.value import replace
from sidecar.core.facts.writer import WriterKind
from sidecar.core.policy.policy import Mode
from sidecar.core.verdict.incident import Incident, Moment, Outcome, Recovery, WriterShare, incident_id
from sidecar.core.verdict.judge import Verdict
from sidecar.core.windows.lock_table import ForeignHold, LockTable

QUIET_NS: Final = 120 * 1_000_000_000
"""A file that has been left alone for so long starts a new incident with its next change."""

_MAX_MOMENTS: Final = 200


@dataclass(slots=True)
class _Burst:
    incident: Incident
    last_ns: int


class ChangesWithoutPreload:
    """Keeps the bursts."""

    def __init__(self, locks: LockTable) -> None:
        """Nothing seen yet; ``locks`` says which process without a link holds a lock."""
        self._locks = locks
        self._bursts: dict[str, _Burst] = {}

    def changed(self, event: FingerprintChanged, linked: set[int], mode: Mode) -> Iterable[Decision]:
        """The file changed while no window was open on it.

        Changes inside a hold of an unlinked process are recorded. Others are recorded only where no gateway is
        linked at all: with one, its own reports tell of them.
        """
        file, at_ns = event.file, event.at_ns
        holder = self._locks.foreign(file)
        if holder is not None and holder.until_ns is not None:
            holder = None
        if holder is None and linked:
            return
        burst = self._bursts.get(file)
        if burst is None or at_ns - burst.last_ns > QUIET_NS:
            burst = _Burst(self._open(event, mode), at_ns)
            self._bursts[file] = burst
        burst.last_ns = at_ns
        burst.incident = _grown(burst.incident, event, holder)
        yield SaveIncident(incident=burst.incident)

    def prune(self, at_ns: int) -> None:
        """What has been quiet for long is over; its incident is on record."""
        self._bursts = {f: b for f, b in self._bursts.items() if at_ns - b.last_ns <= QUIET_NS}

    def _open(self, event: FingerprintChanged, mode: Mode) -> Incident:
        return Incident(
            incident_id=incident_id(event.at_ns, "", event.file),
            session_file=event.file,
            opened_at_ns=event.at_ns,
            verdict=Verdict.UNATTRIBUTED,
            grade=Grade.NONE,
            reason=Reason(ReasonCode.NO_HOLDER_SEEN),
            fence=event.before,
            current=event.fingerprint,
            recovery=Recovery(Outcome.NOT_ATTEMPTED, mode, reason=Reason(ReasonCode.NOT_REACHABLE)),
            run=Run(),
            gateway=Gateway(link="", pid=0, adapter=Adapter.UNKNOWN),
        )


def _grown(incident: Incident, event: FingerprintChanged, holder: ForeignHold | None) -> Incident:
    """The incident with one more change in it."""
    current = event.fingerprint
    grown = max(0, current.size - event.before.size)
    moment = Moment(event.at_ns, "change", f"to {current.size} bytes" if current.exists else "file removed")
    changed = replace(incident, current=current, timeline=(*incident.timeline, moment)[-_MAX_MOMENTS:])
    if holder is None:
        return changed
    pid = holder.pid
    known = {w.pid: w for w in incident.writers}
    total = grown + (known[pid].bytes if pid in known else 0)
    known[pid] = WriterShare(WriterKind.UNKNOWN.value, holder.exe, pid, total)
    return replace(
        changed,
        grade=Grade.BRACKET,
        reason=Reason(ReasonCode.NO_PRELOAD),
        writers=tuple(known.values()),
        gateway=replace(incident.gateway, pid=pid),
    )

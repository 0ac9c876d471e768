"""Incidents to test with."""

from contextlib import closing
from typing import Any, Final

from sidecar.core.custody.kept import AnyKeptChain
from sidecar.core.decisions import KeepChains, SaveIncident
from sidecar.core.facts.database import DatabaseHold, LockKind
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.gateway import Adapter, Gateway, Run
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.process import Process
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.rows import RowVersion
from sidecar.core.facts.turn_loss import LossCause, LossDetail, LostTurn
from sidecar.core.facts.value import replace
from sidecar.core.policy.policy import Mode
from sidecar.core.verdict.incident import Incident, Moment, Outcome, Recovery, Subject, UnexplainedRange, WriterShare
from sidecar.core.verdict.judge import Verdict
from sidecar.store.chains import ChainStore
from sidecar.store.incidents import IncidentStore
from sidecar.store.records import RecordStore

SECOND: Final = 1_000_000_000
NOON: Final = 1_780_315_200 * SECOND  # 2026-06-01T12:00:00Z
SESSION_FILE: Final = "/state/agents/main/sessions/3f2a8c1e-0001.jsonl"

_FENCE: Final = Fingerprint(exists=True, dev=66, ino=4711, size=4000, mtime_ns=NOON, ctime_ns=NOON)
_CURRENT: Final = replace(_FENCE, size=4400, mtime_ns=NOON + SECOND, ctime_ns=NOON + SECOND)

KNOWN: Final = Reason.of(ReasonCode.EVERY_BYTE_KNOWN, writers=("cron daily-digest",))
STRANGE: Final = Reason.of(ReasonCode.UNEXPLAINED_BYTES, ranges=("4300+100",))


def recovered(name: str = "20260601T120000Z-0a0a0a0a", **other: Any) -> Incident:  # noqa: ANN401 - any field
    """A co-tenant's write that cost nothing."""
    incident = Incident(
        incident_id=name,
        session_file=SESSION_FILE,
        opened_at_ns=NOON,
        closed_at_ns=NOON + 9 * SECOND,
        verdict=Verdict.CO_TENANT,
        grade=Grade.BYTES,
        reason=KNOWN,
        writers=(
            WriterShare("user_turn", "", 4242, 100, "run-1", own=True),
            WriterShare("cron", "daily-digest", 4242, 300),
        ),
        fence=_FENCE,
        current=_CURRENT,
        recovery=Recovery(Outcome.EFFECTIVE, Mode.RECOVER, 3.25, Reason(ReasonCode.WENT_ON_AFTER_MOVE), 1, 1),
        run=Run("run-1", "user_turn", "", "0123456789abcdef", "1" * 32, "2" * 16),
        gateway=Gateway("link-1", 4242, "2026.5.18", Adapter.SWAP, can_reload=True),
        window="w1",
        timeline=(
            Moment(NOON - SECOND, "fence set", "at 4000 bytes"),
            Moment(NOON, "lock taken", "by cron daily-digest after 0.4 ms"),
            Moment(NOON, "write", "append 300 bytes at 4000 by cron daily-digest"),
            Moment(NOON + SECOND, "verdict", "co_tenant", KNOWN),
            Moment(NOON + 9 * SECOND, "window closed"),
        ),
    )
    return replace(incident, **other)


def lost(cause: LossCause, reason: Reason, *, count: int = 1, tools: tuple[str, ...] = ()) -> Incident:
    """A turn that was lost where sessions are in a database; nobody else changed the rows."""
    version = RowVersion(exists=True, generation="g1", seq=7, digest="a" * 64)
    return recovered(
        session_file="/state/agents/main/agent/openclaw-agent.sqlite#5e55",
        verdict=Verdict.UNCHANGED,
        reason=Reason(ReasonCode.SAME_ROWS),
        fence=version,
        current=version,
        writers=(),
        recovery=Recovery(Outcome.NONE, Mode.RECOVER, reason=Reason(ReasonCode.NO_FENCE_STOPPED_IT)),
        turn_lost=True,
        lost=LostTurn(cause, LossDetail.NONE, reason, NOON + SECOND, tools, count),
    )


def held() -> Incident:
    """A turn that was lost to a process that held the database for writing."""
    process = Process(777, NOON - SECOND, "/usr/bin/python3.11", container="ab" * 32, uid=1000)
    hold = DatabaseHold(process, "python3 /opt/backup.py", LockKind.WRITE, NOON)
    reason = Reason.of(ReasonCode.LOST_TO_HOLDER, holder=hold.label(), waited_ns=5 * SECOND)
    incident = lost(LossCause.BUSY, reason)
    assert incident.lost is not None
    return replace(incident, lost=replace(incident.lost, holder=hold))


def foreign(name: str = "20260601T130000Z-0f0f0f0f", **other: Any) -> Incident:  # noqa: ANN401 - any field
    """A foreign append that stopped the turn and asks for a page."""
    incident = replace(
        recovered(name),
        opened_at_ns=NOON + 3600 * SECOND,
        closed_at_ns=NOON + 3609 * SECOND,
        verdict=Verdict.EXTERNAL,
        reason=STRANGE,
        unexplained=(UnexplainedRange(4300, 100, 777, "/usr/bin/python3.11"),),
        recovery=Recovery(Outcome.REFUSED, Mode.RECOVER, 0.0, STRANGE),
        turn_lost=True,
        paged_for=(Subject.TAKEOVER,),
    )
    return replace(incident, **other)


def save_incident(store: IncidentStore, incident: Incident, spent_at_ns: int = 0) -> None:
    """One commit, as the driver makes it."""
    with closing(ChainStore(store)) as chains:
        records = RecordStore(store, chains, lambda _pages: None)
        records.commit([SaveIncident(incident=incident, spent_at_ns=spent_at_ns)])


def keep_chain(store: IncidentStore, chains: ChainStore, chain: AnyKeptChain) -> None:
    """One commit, as the driver makes it."""
    RecordStore(store, chains, lambda _pages: None).commit([KeepChains(chains=(chain,))])


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now_ns: int = NOON) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns

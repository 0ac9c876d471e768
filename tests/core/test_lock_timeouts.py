"""A run that did not get the session lock in time: who may be waited for, what is recorded, what is answered."""

import pytest

from sidecar.core import events as ev
from sidecar.core.decisions import AnswerWait, Decision, SaveIncident
from sidecar.core.facts.process import Process
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.value import replace
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.policy.blocked import BlockReason
from sidecar.core.policy.policy import Mode, Policy
from sidecar.core.policy.rules import Permission, Rule
from sidecar.core.verdict.incident import Incident, Outcome
from sidecar.core.verdict.judge import Verdict
from tests.core.kit import (
    CRON,
    FILE,
    GATEWAY_PID,
    HEARTBEAT,
    LINK,
    OTHER_LINK,
    OWN,
    STRANGER,
    WAITED_NS,
    WINDOW,
    Bench,
    gateway,
    naming,
    said,
    timed_out,
)

RECORD = b'{"type":"message","id":"note"}\n'


class Locked(Bench):
    """A bench with a window and a lock."""

    def __init__(self, *, policy: Policy | None = None, mode: Mode = Mode.RECOVER, can_reload: bool = True) -> None:
        super().__init__(policy=policy, mode=mode, can_reload=can_reload)
        assert self.fence() == []

    def take(self, writer: Writer = CRON, link: str = LINK, hold: str = "h1") -> None:
        self.handle(ev.LockTaken(file=FILE, hold=hold, writer=writer, wait_ns=0, at_ns=self.now(), link=link))

    def give_back(self, writer: Writer = CRON, link: str = LINK, hold: str = "h1") -> None:
        after = self.disk.fingerprint
        at_ns = self.now()
        self.handle(
            ev.LockReleased(file=FILE, hold=hold, writer=writer, after=after, held_ns=1, at_ns=at_ns, link=link)
        )

    @property
    def incident(self) -> Incident:
        return [d for d in self.decisions if isinstance(d, SaveIncident)][-1].incident


def granted(decisions: list[Decision]) -> bool:
    [answer] = [d for d in decisions if isinstance(d, AnswerWait)]
    assert (answer.link, answer.window, answer.ask) == (LINK, WINDOW, "a1")
    return answer.granted


def pages(bench: Bench) -> int:
    return len(bench.pages)


def test_a_run_may_wait_for_a_co_tenant_and_its_incident_names_holder_and_wait() -> None:
    bench = Locked()
    bench.take(CRON)
    decided = bench.time_out()
    assert granted(decided)
    assert isinstance(decided[-2], SaveIncident), "the intent is on disk before the answer (rule 6)"
    assert bench.incident.recovery.outcome is Outcome.APPROVED
    bench.wait_ended(had=True)
    bench.close()
    incident = bench.incident
    assert (incident.verdict, incident.recovery.outcome) == (Verdict.UNCHANGED, Outcome.EFFECTIVE)
    assert (incident.recovery.lock_waits, incident.recovery.count, incident.turn_lost) == (1, 0, False)
    holder = Reason.of(ReasonCode.LOCK_HOLDER_KNOWN, writer="cron daily-digest", pid=GATEWAY_PID)
    timeout = Reason.of(ReasonCode.LOCK_TIMEOUT, holder, waited_ns=60_000_000_000)
    assert incident.reason == timeout.also(Reason(ReasonCode.FILE_AT_FENCE))
    assert timeout in [moment.reason for moment in incident.timeline if moment.what == "lock timeout"]
    told = {moment.what: moment.detail for moment in incident.timeline}
    assert "62.0 s" in told["lock had after all"]
    assert pages(bench) == 0


def test_a_foreign_holder_is_not_waited_for() -> None:
    bench = Locked()
    assert not granted(bench.time_out(STRANGER.pid))
    bench.close(takeover=True)
    assert bench.incident.recovery.outcome is Outcome.REFUSED
    stranger = Reason.of(ReasonCode.LOCK_HOLDER_STRANGER, pid=STRANGER.pid, exe="/usr/bin/backup")
    assert stranger in said(bench.incident.reason)
    assert bench.incident.turn_lost
    assert pages(bench) == 0, "that someone holds the lock proves no foreign byte"


def test_a_foreign_holder_that_is_gone_already_is_not_taken_for_a_co_tenant() -> None:
    bench = Locked()
    bench.take(CRON)
    bench.give_back(CRON)
    bench.handle(ev.LockFileSeen(file=FILE, pid=STRANGER.pid, exe="/usr/bin/backup", at_ns=bench.now()))
    assert not granted(bench.time_out(0))


def test_a_process_that_did_not_say_who_in_it_holds_the_lock_is_not_waited_for() -> None:
    assert not granted(Locked().time_out(GATEWAY_PID))


def test_a_lock_that_nobody_is_known_to_have_held_is_not_waited_for() -> None:
    assert not granted(Locked().time_out(0))


def test_a_co_tenant_that_gave_the_lock_back_in_that_moment_counts_as_its_holder() -> None:
    bench = Locked()
    bench.take(HEARTBEAT)
    bench.give_back(HEARTBEAT)
    assert granted(bench.time_out(0))


def test_a_hold_that_ended_before_the_wait_began_says_nothing() -> None:
    bench = Locked()
    bench.take(CRON)
    bench.give_back(CRON)
    bench.pass_time(2 * WAITED_NS)
    assert not granted(bench.time_out(0))


def test_a_hold_of_another_linked_process_is_waited_for_and_one_whose_link_is_lost_is_not() -> None:
    bench = Locked(policy=naming("notes"))
    bench.handle(ev.LinkOpened(gateway=gateway(OTHER_LINK, 200), at_ns=bench.now()))
    other = type(CRON)(WriterKind.DECLARED, "notes", 200, token=True)
    bench.take(other, OTHER_LINK)
    assert granted(bench.time_out(200))
    bench.handle(ev.LinkLost(link=OTHER_LINK, clean=True, at_ns=bench.now()))
    assert not granted(bench.time_out(200))


def test_the_runs_own_hold_is_waited_for() -> None:
    bench = Locked(policy=Policy(default=Permission.NOTHING))
    bench.take(OWN)
    assert granted(bench.time_out())


def test_a_holder_that_the_policy_does_not_let_write_is_not_waited_for() -> None:
    rule = Rule(name="no-cron", kinds=frozenset({WriterKind.CRON}), may=Permission.METADATA)
    bench = Locked(policy=Policy(rules=(rule,)))
    bench.take(CRON)
    assert not granted(bench.time_out())
    assert ReasonCode.LOCK_HOLDER_FORBIDDEN in {r.code for r in said(bench.incident.recovery.reason)}


def test_with_custody_lost_a_changed_file_is_not_waited_for() -> None:
    bench = Locked()
    bench.take(CRON)
    bench.write(CRON, RECORD)
    assert not granted(bench.time_out(unheard=True))
    assert bench.incident.verdict is Verdict.UNATTRIBUTED


def test_with_another_fence_than_was_reported_a_changed_file_is_not_waited_for() -> None:
    """Rule 5: word of a fence is missing, and what was written before it is not known."""
    bench = Locked()
    bench.take(CRON)
    bench.write(CRON, RECORD)
    elsewhere = bench.disk.fingerprint
    bench.write(CRON, RECORD)
    assert not granted(bench.time_out(fence=elsewhere))
    assert bench.incident.verdict is Verdict.UNATTRIBUTED
    assert Reason(ReasonCode.FENCE_NOT_AS_REPORTED) in said(bench.incident.reason)


def test_what_one_link_of_a_process_told_of_a_hold_ends_with_that_link() -> None:
    """A worker thread is a link of its own, with the gateway's pid."""
    bench = Locked()
    bench.handle(ev.LinkOpened(gateway=gateway(OTHER_LINK), at_ns=bench.now()))
    bench.take(CRON, link=OTHER_LINK)
    bench.handle(ev.LinkLost(link=OTHER_LINK, clean=True, at_ns=bench.now()))
    assert not granted(bench.time_out())
    unknown = Reason.of(ReasonCode.LOCK_HOLDER_UNKNOWN_WRITER, pid=GATEWAY_PID)
    assert unknown in said(bench.incident.reason)


def test_a_process_that_was_seen_with_the_lock_before_it_had_a_link_speaks_for_itself_from_then_on() -> None:
    bench = Locked()
    writer = replace(CRON, pid=300)
    taken_ns = bench.now()
    bench.handle(ev.LockFileSeen(file=FILE, pid=300, exe="/usr/bin/node", at_ns=bench.now()))
    bench.handle(ev.LinkOpened(gateway=gateway(OTHER_LINK, 300), at_ns=bench.now()))
    bench.handle(ev.LockTaken(file=FILE, hold="h2", writer=writer, wait_ns=0, at_ns=taken_ns, link=OTHER_LINK))
    assert granted(bench.time_out(pid=0))
    holder = Reason.of(ReasonCode.LOCK_HOLDER_KNOWN, writer="cron daily-digest", pid=300)
    assert holder in said(bench.incident.reason)


def test_an_incident_of_a_lock_timeout_names_the_policy_in_force() -> None:
    bench = Locked(policy=Policy(digest="0a1b2c3d4e5f"))
    bench.take(CRON)
    assert granted(bench.time_out())
    assert bench.incident.policy == "0a1b2c3d4e5f"


def test_a_rewrite_that_the_run_can_not_reload_is_not_waited_for() -> None:
    bench = Locked(can_reload=False)
    bench.take(CRON)
    bench.rewrite(CRON, b'{"type":"new"}\n{"id":"short"}\n')
    assert not granted(bench.time_out())


def test_a_sidecar_that_only_observes_lets_nobody_wait() -> None:
    bench = Locked(mode=Mode.OBSERVE)
    bench.take(CRON)
    assert not granted(bench.time_out())
    assert bench.incident.recovery.outcome is Outcome.NOT_ATTEMPTED
    assert bench.incident.recovery.hold is BlockReason.OBSERVE


def test_a_lock_that_was_had_does_not_move_a_fence_across_a_foreign_byte() -> None:
    bench = Locked()
    bench.take(CRON)
    assert granted(bench.time_out())
    bench.wait_ended(had=True)
    bench.disk.append(b"foreign\n", foreign=1)
    bench.ask()
    bench.close(takeover=True)
    assert (bench.incident.verdict, bench.incident.recovery.outcome) == (Verdict.EXTERNAL, Outcome.REFUSED)
    assert pages(bench) == 1


def test_a_window_that_was_not_seen_to_open_may_wait_where_the_file_is_as_at_the_fence() -> None:
    bench = Bench()
    bench.handle(ev.LockTaken(file=FILE, hold="h", writer=CRON, wait_ns=0, at_ns=bench.now(), link=LINK))
    assert granted(bench.handle(timed_out(bench.disk.fingerprint, bench.disk.snapshot, bench.now())))


def test_the_end_of_a_wait_in_a_window_that_is_gone_is_nothing() -> None:
    assert Bench().handle(ev.LockWaitEnded(window="w0", had=True, waited_ns=1, at_ns=1)) == []


@pytest.mark.parametrize("pids", [(GATEWAY_PID, 1), (0, 1)])
def test_a_co_tenant_of_a_gateway_in_another_pid_namespace_is_waited_for(pids: tuple[int, ...]) -> None:
    """The lock file says 1, and the writer's pid is the one that the kernel tells here: 0 where it tells none."""
    bench = Locked()
    bench.handle(ev.LinkOpened(gateway=replace(gateway(), pid=pids[0] or 1, pids=pids), at_ns=bench.now()))
    bench.take(replace(CRON, pid=pids[0]))
    assert granted(bench.time_out(1))
    holder = Reason.of(ReasonCode.LOCK_HOLDER_KNOWN, writer="cron daily-digest", pid=pids[0])
    assert holder in said(bench.incident.reason)


def test_a_holder_that_can_not_be_seen_is_no_stranger_and_not_waited_for() -> None:
    bench = Locked()
    bench.take(CRON)
    assert not granted(bench.time_out(7, hidden=True))
    assert Reason.of(ReasonCode.LOCK_HOLDER_HIDDEN, pid=7) in said(bench.incident.reason)


def test_a_holder_that_could_not_be_seen_and_is_gone_is_not_taken_for_a_co_tenant() -> None:
    bench = Locked()
    bench.take(CRON)
    bench.give_back(CRON)
    bench.handle(ev.LockFileSeen(file=FILE, pid=7, exe="", at_ns=bench.now(), hidden=True))
    assert not granted(bench.time_out(0))
    assert Reason.of(ReasonCode.LOCK_HOLDER_HIDDEN, pid=7) in said(bench.incident.reason)


def test_a_process_here_under_the_id_that_a_gateway_elsewhere_has_there_is_a_stranger() -> None:
    bench = Locked()
    bench.handle(ev.LinkOpened(gateway=replace(gateway(), pid=STRANGER.pid, pids=(0, STRANGER.pid)), at_ns=bench.now()))
    assert not bench.engine.registry.is_linked(Process(STRANGER.pid, 5))
    bench.handle(ev.LockFileSeen(file=FILE, pid=STRANGER.pid, exe="/usr/bin/backup", at_ns=bench.now()))
    foreign = bench.engine.registry.locks.foreign(FILE)
    assert foreign is not None
    assert foreign.pid == STRANGER.pid

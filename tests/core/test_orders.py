"""What operators order, in the state machine: rules, budgets, storms, pauses, and changes of them in open windows."""

from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core import events as ev
from sidecar.core.decisions import AnswerWait, Approve, Decision, ReadFile, Refuse, SaveIncident, Withdraw
from sidecar.core.engine import Engine
from sidecar.core.facts.change import Operation
from sidecar.core.facts.gateway import Run
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.value import replace
from sidecar.core.facts.writer import WriterKind
from sidecar.core.policy.blocked import BlockReason, Pause
from sidecar.core.policy.budget import Limit, Limits, Scope, Spent
from sidecar.core.policy.policy import Mode, Policy
from sidecar.core.policy.rules import Permission, Rule
from sidecar.core.policy.storm import StormLimit
from sidecar.core.verdict.incident import Incident, Outcome, Subject
from sidecar.core.verdict.judge import Verdict
from sidecar.words import sentence
from tests.core.kit import (
    CRON,
    FILE,
    HEARTBEAT,
    LINK,
    WINDOW,
    Bench,
    Disk,
    Due,
    asked,
    due,
    fence_set,
    fenced,
    gateway,
    reported,
    timed_out,
    tripped,
)
from tests.core.test_policy import POLICIES

S: Final = 1_000_000_000
HOUR: Final = 3600 * S
NO_CRON: Final = Policy(
    rules=(Rule(name="no-cron", kinds=frozenset({WriterKind.CRON}), may=Permission.NOTHING),), digest="0a1b2c3d4e5f"
)


def order(bench: Bench, policy: Policy) -> list[Decision]:
    return bench.handle(ev.PolicyChanged(policy=policy, at_ns=bench.now()))


def pause(bench: Bench, length_ns: int = HOUR) -> list[Decision]:
    now = bench.now()
    return bench.handle(ev.PauseChanged(pause=Pause("upgrade", now, now + length_ns), at_ns=now))


def test_an_incident_names_the_rule_that_refused_and_what_it_said_of_the_writer() -> None:
    bench = fenced(policy=NO_CRON)
    bench.cotenant(b"note\n")
    answer = bench.ask()

    assert isinstance(answer, Refuse)
    assert answer.reason == Reason.of(
        ReasonCode.RULE_FORBIDS, rule="no-cron", writer="cron daily-digest", may="nothing", did="append"
    )
    incident = bench.incident
    assert (incident.verdict, incident.rule, incident.policy) == (Verdict.UNATTRIBUTED, "no-cron", "0a1b2c3d4e5f")
    assert (incident.recovery.outcome, incident.recovery.hold) == (Outcome.REFUSED, BlockReason.POLICY)
    [writer] = incident.writers
    assert (writer.did, writer.may, writer.rule) == ("append", "nothing", "no-cron")
    assert bench.pages == []


def test_an_incident_names_the_rule_that_allowed() -> None:
    bench = fenced(policy=Policy(rules=(Rule(name="jobs", kinds=frozenset({WriterKind.CRON}), may=Permission.APPEND),)))
    bench.cotenant(b"note\n")

    assert isinstance(bench.ask(), Approve)
    assert bench.incident.rule == "jobs"
    assert bench.incident.recovery.hold is BlockReason.NONE
    assert [(w.rule, w.may) for w in bench.incident.writers] == [("jobs", "append")]


def test_a_takeover_is_a_takeover_whatever_the_policy_says() -> None:
    bench = fenced(policy=NO_CRON)
    bench.cotenant(b"note\n")
    bench.disk.append(b"strange\n", foreign=1)
    bench.ask()

    assert (bench.incident.verdict, bench.incident.rule) == (Verdict.EXTERNAL, "")
    assert bench.incident.recovery.hold is BlockReason.NONE
    assert len(bench.pages) == 1


def test_a_takeover_that_was_undone_is_not_held_back_by_a_rule() -> None:
    bench = fenced()
    bench.cotenant(b"note\n")
    size = len(bench.disk.data)
    bench.disk.append(b"strange\n", foreign=1)
    bench.ask()
    bench.disk.truncate(size)
    assert isinstance(bench.ask(), Refuse)
    assert (bench.incident.verdict, bench.incident.rule) == (Verdict.EXTERNAL, "")
    assert (bench.incident.recovery.outcome, bench.incident.recovery.hold) == (Outcome.REFUSED, BlockReason.NONE)


def test_a_policy_that_comes_while_a_window_is_open_holds_at_its_next_check() -> None:
    bench = fenced()
    bench.cotenant(b"note\n")
    order(bench, NO_CRON)
    assert isinstance(bench.ask(), Refuse)

    order(bench, Policy())
    assert isinstance(bench.ask(), Approve)
    assert bench.incident.recovery.outcome is Outcome.APPROVED


def test_all_that_was_approved_is_taken_back_by_a_pause() -> None:
    town = Town(Policy())
    for number in range(3):
        town.push(number)
    made = town.engine.handle(ev.PauseChanged(pause=Pause("upgrade", town.now, town.now + HOUR), at_ns=town.now))
    assert [type(d) for d in made] == [Withdraw, SaveIncident] * 3


def held_by_a_pause(bench: Bench) -> None:
    # Without the event: what was approved before is still out.
    bench.engine.gate.pause = Pause("upgrade", bench.now(), bench.now() + HOUR)
    bench.cotenant(b"note\n")


def taken_over(bench: Bench) -> None:
    bench.disk.append(b"strange\n", foreign=1)


@pytest.mark.parametrize("then", [held_by_a_pause, taken_over])
@pytest.mark.parametrize("seen", ["looked", "asked", "stopped"])
def test_what_was_approved_is_taken_back_when_the_file_is_judged_otherwise(
    then: Callable[[Bench], None], seen: str
) -> None:
    """And its end is not overwritten by what is ordered later."""
    bench = fenced()
    bench.cotenant(b"note\n")
    bench.look()
    assert len(bench.approvals) == 1
    bench.decisions.clear()

    then(bench)
    if seen == "looked":
        bench.look()
    elif seen == "asked":
        bench.ask()
    else:
        bench.trip()
    assert bench.made(Withdraw) == [Withdraw(link=LINK, window=WINDOW)]
    assert isinstance(bench.decisions[0], Withdraw)

    ended = bench.incident.recovery
    assert ended.outcome is not Outcome.APPROVED
    order(bench, Policy(digest="another"))
    assert bench.incident.recovery == ended


def test_an_approval_that_was_applied_before_it_could_be_taken_back_counts_as_applied() -> None:
    bench = fenced()
    bench.cotenant(b"note\n")
    bench.look()
    order(bench, NO_CRON)
    bench.apply(bench.approvals[0])
    bench.close()
    assert bench.incident.recovery.outcome is Outcome.EFFECTIVE


def test_a_pause_gives_verdicts_and_no_commands_until_its_end() -> None:
    bench = fenced()
    pause(bench)
    bench.cotenant(b"note\n")
    bench.look()
    answer = bench.ask()

    assert isinstance(answer, Refuse)
    assert answer.reason.code is ReasonCode.PAUSED
    assert dict(answer.reason.parameters)["note"] == "upgrade"
    assert bench.incident.verdict is Verdict.CO_TENANT
    assert (bench.incident.recovery.outcome, bench.incident.recovery.hold) == (Outcome.NOT_ATTEMPTED, BlockReason.PAUSE)

    bench.pass_time(HOUR)
    assert isinstance(bench.ask(), Approve)
    assert bench.incident.recovery.hold is BlockReason.NONE


@pytest.mark.parametrize("ahead_ns", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_a_pause_goes_by_the_sidecars_clock_whatever_the_gateways_says(ahead_ns: int) -> None:
    """A gateway's clock runs from its start on, through suspends and corrections of the machine's."""
    bench = fenced()
    pause(bench, HOUR // 2)
    bench.cotenant(b"note\n")
    assert isinstance(bench.ask(ahead_ns=ahead_ns), Refuse)
    bench.take_lock(CRON)
    assert not any(d.granted for d in bench.time_out(ahead_ns=ahead_ns) if isinstance(d, AnswerWait))

    bench.pass_time(HOUR // 2)
    assert any(d.granted for d in bench.time_out(ahead_ns=ahead_ns) if isinstance(d, AnswerWait))
    assert isinstance(bench.ask(ahead_ns=ahead_ns), Approve)


@pytest.mark.parametrize("ahead_ns", [2 * HOUR, -2 * HOUR], ids=["ahead", "behind"])
def test_a_budget_is_spent_by_the_sidecars_clock(ahead_ns: int) -> None:
    bench = Bench(policy=Policy(limits=Limits(session=Limit(1, HOUR))))
    assert recovered(bench, ahead_ns)
    spent_ns = [d.spent_at_ns for d in bench.made(SaveIncident) if d.spent_at_ns]
    assert [at_ns <= bench.now() < at_ns + S for at_ns in spent_ns] == [True]
    assert not recovered(bench, 0)
    assert not recovered(bench, 2 * ahead_ns)
    bench.pass_time(HOUR)
    assert recovered(bench, ahead_ns)


@pytest.mark.parametrize("by", ["asked", "stopped"])
def test_a_storm_is_seen_by_the_sidecars_clock(by: str) -> None:
    """Linked processes that were started at different times may be hours apart."""
    town = Town(STORMY)
    for number in range(3):
        town.strike(number, by, ahead_ns=number * HOUR)
    assert town.engine.gate.storm.active(town.now)
    assert not town.engine.gate.storm.active(town.now + 60 * S)


def test_a_takeover_that_shows_when_the_turn_is_stopped_counts_though_less_was_seen_before() -> None:
    """Not what was judged at the check stands then, but what stopped the turn."""
    bench = fenced()
    pause(bench)
    bench.cotenant(b"note\n")
    bench.ask()
    assert (bench.incident.verdict, bench.pages) == (Verdict.CO_TENANT, [])

    bench.disk.append(b"strange\n", foreign=1)
    bench.trip()
    assert (bench.incident.verdict, bench.incident.recovery.outcome) == (Verdict.EXTERNAL, Outcome.REFUSED)
    assert [(r.offset, r.length) for r in bench.incident.unexplained] == [(len(bench.disk.data) - 8, 8)]
    assert [page.about for page in bench.pages] == [Subject.TAKEOVER]


def test_a_pause_can_be_ended() -> None:
    bench = fenced()
    pause(bench)
    bench.handle(ev.PauseChanged(pause=None, at_ns=bench.now()))
    bench.cotenant(b"note\n")
    assert isinstance(bench.ask(), Approve)


def recovered(bench: Bench, ahead_ns: int = 0) -> bool:
    """One window that a co-tenant writes into, of a gateway whose clock is that far ahead."""
    bench.fence()
    bench.cotenant(b"note\n")
    answer = bench.ask(ahead_ns=ahead_ns)
    if isinstance(answer, Approve):
        bench.apply(answer)
    bench.close(takeover=not isinstance(answer, Approve))
    return isinstance(answer, Approve)


def test_a_session_that_has_had_its_recoveries_gets_no_more_until_the_period_is_over() -> None:
    bench = Bench(policy=Policy(limits=Limits(session=Limit(2, HOUR))))
    assert [recovered(bench) for _ in range(3)] == [True, True, False]
    last = max(bench.incidents.values(), key=lambda i: i.opened_at_ns)
    assert last.recovery.hold is BlockReason.SESSION_BUDGET
    assert last.recovery.budget_use is not None
    assert (last.recovery.budget_use.scope, last.recovery.budget_use.used, last.recovery.budget_use.limit) == (
        Scope.SESSION,
        2,
        2,
    )
    assert "2 of 2 recoveries in 1 h; the next may come at 20" in sentence(last.recovery.reason)

    bench.pass_time(HOUR)
    assert recovered(bench)


def test_the_gateways_budget_counts_every_session() -> None:
    bench = Bench(policy=Policy(limits=Limits(gateway=Limit(1, HOUR))))
    bench.engine.gate.budget.spend("/another.jsonl", bench.now())
    assert not recovered(bench)
    assert bench.incident.recovery.hold is BlockReason.GATEWAY_BUDGET


def test_a_budget_counts_what_an_earlier_life_spent() -> None:
    disk = Disk()
    spent = [Spent(disk.clock, FILE)]
    engine = Engine(Policy(limits=Limits(session=Limit(1, HOUR))), Mode.RECOVER, spent)
    bench = Bench(disk=disk, linked=False)
    bench.engine = engine
    bench.handle(ev.LinkOpened(gateway=gateway(), at_ns=bench.now()))
    assert not recovered(bench)


def test_recoveries_are_counted_before_there_is_a_budget() -> None:
    bench = Bench()
    assert recovered(bench)
    order(bench, Policy(limits=Limits(session=Limit(1, HOUR))))
    assert not recovered(bench)


STORMY: Final = Policy(storm=StormLimit(sessions=3, within_ns=10 * S, cooldown_ns=60 * S))


class Town:
    """Many sessions of one gateway."""

    def __init__(self, policy: Policy) -> None:
        self.engine = Engine(policy, Mode.RECOVER)
        self.now = 1_700_000_000 * S
        self.seq = 0
        self.incidents: dict[str, Incident] = {}
        self.saves: list[SaveIncident] = []
        self.disks: dict[int, Disk] = {}
        self.engine.handle(ev.LinkOpened(gateway=gateway(), at_ns=self.now))

    def handle(self, event: ev.Event, disk: Disk, file: str) -> list[Decision]:
        made: list[Decision] = []
        for decision in self.engine.handle(event):
            if isinstance(decision, ReadFile) and not decision.settle:
                seen = ev.SnapshotTaken(file=file, snapshot=disk.snapshot, at_ns=self.now)
                made += self.handle(seen, disk, file)
            made.append(decision)
            if isinstance(decision, SaveIncident):
                self.incidents[decision.incident.session_file] = decision.incident
                self.saves.append(decision)
        return made

    @property
    def pages(self) -> list[Due]:
        """Pages so far."""
        return due(self.saves)

    def fence(self, number: int, window: str) -> tuple[str, Disk, Run]:
        """A run sets its fence in session ``number``."""
        file, disk = f"/state/agents/main/sessions/{number}.jsonl", self.disks.setdefault(number, Disk())
        run = Run(run_id=f"turn-{number}", kind="user_turn")
        self.handle(fence_set(disk.fingerprint, self.now, window=window, file=file, run=run), disk, file)
        return file, disk, run

    def cotenant(self, file: str, disk: Disk) -> None:
        """A co-tenant appends, and says so."""
        before, data = disk.fingerprint, b"note\n"
        disk.append(data)
        self.seq += 1
        change = reported(Operation.APPEND, HEARTBEAT, data, change_id=f"c{self.seq}", span=(self.seq, self.seq))
        change = replace(change, before=before, after=disk.fingerprint)
        self.handle(ev.FileChanged(file=file, change=change), disk, file)

    def push(self, number: int) -> None:
        """A co-tenant writes into a window of session ``number``: approved before it is asked about."""
        file, disk, _run = self.fence(number, f"p{number}")
        self.cotenant(file, disk)
        made = self.handle(ev.SnapshotTaken(file=file, snapshot=disk.snapshot, at_ns=self.now), disk, file)
        assert any(isinstance(d, Approve) for d in made)

    def strike(self, number: int, by: str, *, ahead_ns: int = 0) -> list[Decision]:
        """A stranger writes into a window of session ``number``, and that comes to light one way or another."""
        window = f"s{number}"
        file, disk, run = self.fence(number, window)
        fence = disk.fingerprint
        disk.append(b"strange\n", foreign=1)
        seen, at_ns = disk.snapshot, self.now
        events: dict[str, ev.SnapshotTaken | ev.VerdictAsked | ev.TurnTripped | ev.LockTimedOut] = {
            "looked": ev.SnapshotTaken(file=file, snapshot=seen, at_ns=at_ns),
            "asked": asked(fence, seen, at_ns, window=window, file=file, run=run),
            "stopped": tripped(fence, seen, at_ns, window=window, file=file, run=run),
            "lock timeout": replace(timed_out(fence, seen, at_ns, window=window, file=file, pid=0), run=run),
        }
        return self.handle(replace(events[by], at_ns=at_ns + ahead_ns), disk, file)

    def note(self, number: int, *, foreign: bool = False, then_foreign: bool = False) -> bool:
        """A co-tenant, or a stranger, writes into a window of session ``number``. Whether it is recovered.

        With ``then_foreign`` a stranger writes into the same window after the answer, and the run asks once more.
        """
        window = f"w{self.seq}"
        file, disk, run = self.fence(number, window)
        fence = disk.fingerprint
        if foreign:
            disk.append(b"note\n", foreign=1)
            self.seq += 1
        else:
            self.cotenant(file, disk)
        question = asked(fence, disk.snapshot, self.now, ask=f"a{self.seq}", window=window, file=file, run=run)
        made = self.handle(question, disk, file)
        if then_foreign:
            disk.append(b"x", foreign=1)
            again = replace(question, ask=f"{question.ask}+", current=disk.fingerprint, snapshot=disk.snapshot)
            self.handle(again, disk, file)
        self.handle(ev.FenceClosed(window=window, takeover=False, at_ns=self.now), disk, file)
        return any(isinstance(d, Approve) for d in made)


def test_a_storm_stops_recovery_and_pages_once() -> None:
    town = Town(STORMY)
    assert [town.note(n) for n in range(6)] == [True, True, False, False, False, False]
    held = [i for i in town.incidents.values() if i.recovery.hold is BlockReason.STORM]
    assert len(held) == 4
    assert {i.verdict for i in held} == {Verdict.CO_TENANT}
    [page] = town.pages
    assert page.incident.recovery.hold is BlockReason.STORM
    assert "3 or more sessions changed within 10 s" in sentence(page.incident.recovery.reason)

    town.now += 61 * S
    assert town.note(7)
    assert len(town.pages) == 1


def test_a_storm_of_takeovers_pages_each_and_tells_of_the_storm_with_the_first_recovery_it_stops() -> None:
    town = Town(STORMY)
    assert not any(town.note(n, foreign=True) for n in range(4))
    assert not town.note(5)
    assert not town.note(6)
    assert [p.incident.verdict for p in town.pages] == [*[Verdict.EXTERNAL] * 4, Verdict.CO_TENANT]


@pytest.mark.parametrize("by", ["looked", "asked", "stopped", "lock timeout"])
def test_a_storm_takes_back_what_was_approved_before_it_and_tells_of_it(by: str) -> None:
    town = Town(STORMY)
    town.push(0)
    town.push(1)
    made = town.strike(2, by)
    assert [d.window for d in made if isinstance(d, Withdraw)] == ["p0", "p1"]
    for number in range(2):
        recovery = town.incidents[f"/state/agents/main/sessions/{number}.jsonl"].recovery
        assert (recovery.outcome, recovery.hold) == (Outcome.NOT_ATTEMPTED, BlockReason.STORM)
        assert recovery.reason == Reason(ReasonCode.WITHDRAWN_STORM)
    told = [(p.about, p.incident.window) for p in town.pages]
    assert told == [(Subject.STORM, "p0"), (Subject.TAKEOVER, "s2")]


def test_a_takeover_in_the_window_that_a_storm_was_told_with_is_told_too() -> None:
    """The storm's page says nothing of who wrote."""
    town = Town(STORMY)
    for number in range(2):
        town.note(number)
    town.note(2, then_foreign=True)
    assert [(p.about, p.incident.run.run_id) for p in town.pages] == [
        (Subject.STORM, "turn-2"),
        (Subject.TAKEOVER, "turn-2"),
    ]
    assert town.pages[-1].incident.paged_for == (Subject.STORM, Subject.TAKEOVER)


def test_one_busy_session_is_no_storm() -> None:
    town = Town(STORMY)
    assert all(town.note(1) for _ in range(10))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30), st.sampled_from(("note", "reload"))), max_size=25),
    st.integers(0, 4),
    st.integers(0, 6),
)
@settings(max_examples=100, derandomize=True)
def test_there_are_never_more_recoveries_in_a_period_than_the_budgets_allow(
    script: list[tuple[int, int, str]], each: int, together: int
) -> None:
    """Whatever is written when, and however often the same policy is read anew."""
    policy = Policy(limits=Limits(session=Limit(each, 60 * S), gateway=Limit(together, 60 * S)))
    town = Town(policy)
    done: list[tuple[int, int]] = []
    for number, seconds, act in script:
        town.now += seconds * S
        if act == "reload":
            town.engine.handle(ev.PolicyChanged(policy=policy, at_ns=town.now))
        elif town.note(number):
            done.append((town.now, number))
    for at, number in done:
        period = [(then, of) for then, of in done if at - 60 * S < then <= at]
        assert len(period) <= together
        assert sum(of == number for _, of in period) <= each


class Watched:
    """A bench whose every approval is checked, with the preload's one place for an approval that came ahead."""

    def __init__(self, policies: list[Policy]) -> None:
        self.bench = fenced()
        self.policies = policies
        self.orders = 0
        self.kept: Approve | None = None
        self.fence()

    def hear(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            if isinstance(decision, Approve):
                assert not any(then > self.fenced_at for then in self.bench.disk.foreign), "rule 1"
                self.kept = None if decision.ask else decision
            elif isinstance(decision, Withdraw):
                self.kept = None

    def fence(self) -> None:
        self.bench.fence()
        self.fenced_at, self.kept = self.bench.disk.clock, None

    def cotenant(self) -> None:
        self.bench.cotenant(b"note\n")

    def foreign(self) -> None:
        self.bench.disk.append(b"STRANGE\n", foreign=self.bench.disk.clock + 1)

    def touch(self) -> None:
        self.bench.disk.touch()

    def look(self) -> None:
        self.hear(self.bench.look())

    def ask(self) -> None:
        answer = self.bench.ask()
        if isinstance(answer, Approve):
            self.hear([answer])
            self.apply(answer)

    def pushed(self) -> None:
        if self.kept is not None and self.kept.current == self.bench.disk.fingerprint:
            self.apply(self.kept)

    def apply(self, approval: Approve) -> None:
        self.bench.apply(approval)
        self.fenced_at, self.kept = self.bench.disk.clock, None

    def policy(self) -> None:
        self.hear(order(self.bench, self.policies[self.orders % len(self.policies)]))
        self.orders += 1
        assert self.kept is None

    def pause(self) -> None:
        self.hear(pause(self.bench))
        assert self.kept is None

    def resume(self) -> None:
        self.hear(self.bench.handle(ev.PauseChanged(pause=None, at_ns=self.bench.now())))


ACTS: Final = ("cotenant", "foreign", "touch", "look", "ask", "pushed", "policy", "pause", "resume", "fence")


@given(st.lists(st.sampled_from(ACTS), max_size=30), st.lists(POLICIES, min_size=1, max_size=4))
@settings(max_examples=200, derandomize=True)
def test_no_order_moves_a_fence_across_a_foreign_byte_and_each_takes_back_what_it_may_not_want(
    script: list[str], policies: list[Policy]
) -> None:
    """Rule 1, for any policies that follow each other at any moment."""
    watched = Watched(policies)
    for act in script:
        getattr(watched, act)()

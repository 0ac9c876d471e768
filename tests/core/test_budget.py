"""How recoveries are counted, and what a storm is."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.policy.budget import Budget, Limit, Limits, Scope, Spent
from sidecar.core.policy.storm import Storm, StormLimit

S = 1_000_000_000
HOUR = 3600 * S
T0 = 1_700_000_000 * S
LIMITS = Limits(session=Limit(2, HOUR), gateway=Limit(3, HOUR))
CALM = StormLimit(sessions=3, within_ns=10 * S, cooldown_ns=60 * S)


def left(budget: Budget, file: str, at_ns: int) -> dict[Scope, int]:
    return {budget_use.scope: budget_use.left for budget_use in budget.budget_uses(LIMITS, file, at_ns)}


def test_each_session_has_its_own_budget_and_all_share_the_gateways() -> None:
    budget = Budget()
    budget.spend("a", T0)
    budget.spend("a", T0 + S)
    assert left(budget, "a", T0 + 2 * S) == {Scope.SESSION: 0, Scope.GATEWAY: 1}
    assert left(budget, "b", T0 + 2 * S) == {Scope.SESSION: 2, Scope.GATEWAY: 1}


def test_what_was_spent_is_free_again_after_the_period() -> None:
    budget = Budget([Spent(T0, "a"), Spent(T0 + S, "a")])
    (session, _gateway) = budget.budget_uses(LIMITS, "a", T0 + 2 * S)
    assert session.free_at_ns == T0 + HOUR
    assert left(budget, "a", session.free_at_ns - 1)[Scope.SESSION] == 0
    assert left(budget, "a", session.free_at_ns)[Scope.SESSION] == 1


def test_a_clock_that_was_set_back_frees_nothing() -> None:
    budget = Budget([Spent(T0, "a"), Spent(T0, "a")])
    assert left(budget, "a", T0 - 10 * HOUR)[Scope.SESSION] == 0


def test_a_budget_of_nothing_is_never_free() -> None:
    (budget_use,) = Budget().budget_uses(Limits(session=Limit(0, HOUR)), "a", T0)
    assert (budget_use.left, budget_use.free_at_ns) == (0, 0)


def test_without_limits_there_is_no_budget_use() -> None:
    assert Budget().budget_uses(Limits(), "a", T0) == Budget().least(Limits(), T0) == ()


def test_the_least_is_of_the_session_that_has_spent_most() -> None:
    budget = Budget([Spent(T0, "a"), Spent(T0, "b"), Spent(T0, "b")])
    assert [(p.scope, p.left) for p in budget.least(LIMITS, T0)] == [(Scope.SESSION, 0), (Scope.GATEWAY, 0)]
    assert [(p.scope, p.left) for p in Budget().least(LIMITS, T0)] == [(Scope.SESSION, 2), (Scope.GATEWAY, 3)]


@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from("abc"))), st.integers(0, 25), st.sampled_from("abc"))
def test_the_count_is_that_of_the_times_in_the_period(spent: list[tuple[int, str]], now: int, file: str) -> None:
    """In whatever order they come."""
    limits = Limits(session=Limit(1000, 7), gateway=Limit(1000, 7))
    budget = Budget()
    for at, of in spent:
        budget.spend(of, at)
    session, gateway = budget.budget_uses(limits, file, now)
    assert session.used == sum(of == file and at > now - 7 for at, of in spent)
    assert gateway.used == sum(at > now - 7 for at, _ in spent)


def test_a_storm_begins_when_so_many_sessions_changed_in_so_long() -> None:
    storm = Storm()
    assert not storm.met(CALM, "a", T0)
    assert not storm.met(CALM, "a", T0 + S)
    assert not storm.met(CALM, "b", T0 + 2 * S)
    assert not storm.active(T0 + 2 * S)
    assert storm.met(CALM, "c", T0 + 3 * S)
    assert storm.active(T0 + 3 * S)


def test_changes_that_are_far_apart_make_no_storm() -> None:
    storm = Storm()
    assert not any(storm.met(CALM, str(n), T0 + n * 10 * S) for n in range(20))


def test_a_storm_lasts_until_the_cool_down_after_its_last_moment_and_is_told_once() -> None:
    storm = Storm()
    assert not storm.tell()
    begun = [storm.met(CALM, str(n), T0 + n * S) for n in range(6)]
    assert begun == [False, False, True, False, False, False]
    assert (storm.tell(), storm.tell()) == (True, False)
    end = T0 + 5 * S + 60 * S
    assert (storm.active(end - 1), storm.active(end)) == (True, False)
    assert [storm.met(CALM, str(n), end + S) for n in range(3)] == [False, False, True]
    assert storm.tell()

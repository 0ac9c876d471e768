"""What came of windows and of the changes in them."""

from sidecar.core.facts.value import replace
from sidecar.core.outcomes import Ending
from sidecar.core.verdict.incident import TAKEN_IN, Outcome, UnexplainedRange
from sidecar.core.verdict.judge import Verdict
from sidecar.telemetry.metrics.windows import CHANGES_JUDGED, WINDOWS_CLOSED
from tests.telemetry import facts
from tests.telemetry.conftest import Bench
from tests.telemetry.facts import COTENANT, OWN, SECOND, T0


def judged(bench: Bench) -> dict[tuple[str, str], float]:
    found = {}
    for point in bench.points(CHANGES_JUDGED):
        labels = point.attributes or {}
        found[str(labels["verdict"]), str(labels["writer_kind"])] = point.value  # type: ignore[union-attr] # a counter
    return found


def test_changes_count_under_the_verdict_and_their_writer(bench: Bench) -> None:
    bench.tell(
        facts.judged(Verdict.CO_TENANT, facts.wrote(T0), facts.wrote(T0 + 1), facts.wrote(T0 + 2, OWN)),
        facts.judged(None, facts.wrote(T0 + 3)),
    )
    assert judged(bench) == {("co_tenant", "inject"): 2, ("co_tenant", "user_turn"): 1, ("none", "inject"): 1}


def test_what_nobody_had_to_judge_is_the_runs_own_or_let_pass(bench: Bench) -> None:
    bench.tell(facts.fence(T0), facts.wrote(T0 + 1, OWN), facts.wrote(T0 + 2, COTENANT))
    assert judged(bench) == {}
    bench.tell(facts.fence(T0 + 3), facts.wrote(T0 + 4, OWN), facts.closed(T0 + SECOND))
    assert judged(bench) == {("own", "user_turn"): 2, ("none", "inject"): 1}


def test_a_window_that_ended_counts_with_the_verdict_on_what_it_met(bench: Bench) -> None:
    grave = facts.incident(Verdict.EXTERNAL, Outcome.REFUSED)
    bench.tell(facts.ended(T0 + SECOND, grave, Ending.TAKEOVER))
    assert bench.value(WINDOWS_CLOSED, verdict="external", outcome="takeover", agent="main") == 1


def test_bytes_without_a_writer_count_as_one_change(bench: Bench) -> None:
    bench.tell(facts.found(Verdict.EXTERNAL, T0), facts.found(Verdict.EXTERNAL, T0, first=False))
    bench.tell(facts.found(Verdict.UNATTRIBUTED, T0))
    assert judged(bench) == {("external", "foreign"): 1, ("unattributed", "unknown"): 1}


def test_each_agent_is_told_apart_up_to_a_limit(bench: Bench) -> None:
    for number in range(40):
        file = f"/state/agents/agent-{number}/sessions/a.jsonl"
        bench.tell(facts.fence(T0, window=f"w{number}", file=file), facts.closed(T0 + 1, window=f"w{number}"))
    agents = {labels["agent"] for labels in bench.label_sets(WINDOWS_CLOSED)}
    assert agents == {*(f"agent-{number}" for number in range(32)), "other"}
    assert bench.value(WINDOWS_CLOSED, agent="other") == 8


def test_an_agent_whose_name_is_no_id_is_other_and_a_strange_path_has_none(bench: Bench) -> None:
    for window, file in (("w1", "/state/agents/My secret/sessions/a.jsonl"), ("w2", "/elsewhere/a.jsonl")):
        bench.tell(facts.fence(T0, window=window, file=file), facts.closed(T0 + 1, window=window))
    assert {labels["agent"] for labels in bench.label_sets(WINDOWS_CLOSED)} == {"other", "none"}


def changes(bench: Bench) -> list[tuple[object, object]]:
    """Kind of writer and verdict of each change on the span of the window."""
    found = [dict(event.attributes or {}) for event in bench.span("session.fence").events if "change" in event.name]
    return [(a["openclaw.writer.kind"], a["openclaw.verdict"]) for a in found]


def test_each_change_on_the_span_has_its_verdict(bench: Bench) -> None:
    bench.tell(facts.fence(T0), facts.judged(Verdict.CO_TENANT, facts.wrote(T0 + 1)), facts.wrote(T0 + 2, OWN))
    bench.tell(facts.fence(T0 + 3), facts.wrote(T0 + 4, COTENANT), facts.closed(T0 + SECOND))
    assert changes(bench) == [("inject", "co_tenant"), ("user_turn", "own"), ("inject", "none")]


def test_foreign_bytes_are_a_change_on_the_span(bench: Bench) -> None:
    strange = UnexplainedRange(offset=100, length=50, pid=77)
    bench.tell(facts.fence(T0), facts.found(Verdict.EXTERNAL, T0 + 1, strange), facts.closed(T0 + SECOND))
    assert changes(bench) == [("foreign", "external")]
    (event,) = (e for e in bench.span("session.fence").events if e.name == "session.change")
    attributes = dict(event.attributes or {})
    assert (attributes["openclaw.change.length_bytes"], attributes["openclaw.writer.pid"]) == (50, 77)


def test_what_a_fence_took_in_is_on_the_span_and_what_the_window_meets_is_its_own(bench: Bench) -> None:
    apart = replace(facts.incident(Verdict.EXTERNAL, Outcome.REFUSED), incident_id="apart", window="w1" + TAKEN_IN)
    met = facts.incident()
    bench.tell(facts.fence(T0), facts.changed(apart), facts.given(apart), facts.changed(met))
    bench.tell(facts.ended(T0 + SECOND, replace(met, closed_at_ns=T0 + SECOND)))
    (verdict,) = bench.spans("session.verdict")
    assert (verdict.attributes or {})["openclaw.incident.id"] == "apart"
    assert (bench.span("session.fence").attributes or {})["openclaw.verdict"] == "co_tenant"

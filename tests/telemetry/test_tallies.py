"""What came of windows and of the changes in them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sidecar.core.decisions import SaveIncident
from sidecar.core.incident import TAKEN_IN, Outcome, UnexplainedRange
from sidecar.core.verdict import Verdict
from sidecar.telemetry.names import Metric
from tests.telemetry import facts
from tests.telemetry.facts import COTENANT, OWN, SECOND, T0

if TYPE_CHECKING:
    from tests.telemetry.conftest import Bench


def judged(bench: Bench) -> dict[tuple[str, str], float]:
    found = {}
    for point in bench.points(Metric.CHANGES_JUDGED):
        labels = point.attributes or {}
        found[str(labels["verdict"]), str(labels["writer_kind"])] = point.value  # type: ignore[union-attr] # a counter
    return found


def test_a_change_counts_once_under_the_verdict_on_its_window(bench: Bench) -> None:
    saved = SaveIncident(incident=facts.incident())
    bench.tell(facts.fence(T0), facts.wrote(T0 + 1), saved, saved, facts.closed(T0 + SECOND), saved)
    assert judged(bench) == {("co_tenant", "inject"): 1}
    assert bench.value(Metric.WINDOWS_CLOSED, verdict="co_tenant", agent="main") == 1


def test_what_nobody_had_to_judge_is_the_runs_own_or_let_pass(bench: Bench) -> None:
    bench.tell(facts.fence(T0), facts.wrote(T0 + 1, OWN), facts.wrote(T0 + 2, COTENANT))
    assert judged(bench) == {}
    bench.tell(facts.fence(T0 + 3), facts.wrote(T0 + 4, OWN), facts.closed(T0 + SECOND))
    assert judged(bench) == {("own", "user_turn"): 2, ("none", "inject"): 1}


def test_bytes_without_a_writer_count_as_one_foreign_change(bench: Bench) -> None:
    saved = SaveIncident(incident=facts.incident(Verdict.EXTERNAL, Outcome.REFUSED))
    bench.tell(facts.fence(T0), saved, saved, facts.closed(T0 + SECOND, takeover=True))
    assert judged(bench) == {("external", "foreign"): 1}
    assert bench.value(Metric.WINDOWS_CLOSED, verdict="external", outcome="takeover") == 1


def test_an_unexplained_change_is_by_an_unknown_writer(bench: Bench) -> None:
    bench.tell(facts.fence(T0), SaveIncident(incident=facts.incident(Verdict.UNATTRIBUTED, Outcome.REFUSED)))
    assert judged(bench) == {("unattributed", "unknown"): 1}


def test_a_change_outside_of_any_window_is_not_judged(bench: Bench) -> None:
    bench.tell(facts.wrote(T0), facts.fence(T0 + 1, file="/state/agents/ops/sessions/other.jsonl"), facts.wrote(T0 + 2))
    assert judged(bench) == {}
    assert bench.value(Metric.CHANGES) == 2


def test_each_agent_is_told_apart_up_to_a_limit(bench: Bench) -> None:
    for number in range(40):
        file = f"/state/agents/agent-{number}/sessions/a.jsonl"
        bench.tell(facts.fence(T0, window=f"w{number}", file=file), facts.closed(T0 + 1, window=f"w{number}"))
    agents = {labels["agent"] for labels in bench.label_sets(Metric.WINDOWS_CLOSED)}
    assert agents == {*(f"agent-{number}" for number in range(32)), "other"}
    assert bench.value(Metric.WINDOWS_CLOSED, agent="other") == 8


def test_an_agent_whose_name_is_no_id_is_other_and_a_strange_path_has_none(bench: Bench) -> None:
    for window, file in (("w1", "/state/agents/My secret/sessions/a.jsonl"), ("w2", "/elsewhere/a.jsonl")):
        bench.tell(facts.fence(T0, window=window, file=file), facts.closed(T0 + 1, window=window))
    assert {labels["agent"] for labels in bench.label_sets(Metric.WINDOWS_CLOSED)} == {"other", "none"}


def changes(bench: Bench) -> list[tuple[object, object]]:
    """Kind of writer and verdict of each change on the span of the window."""
    found = [dict(event.attributes or {}) for event in bench.span("session.fence").events if "change" in event.name]
    return [(a["openclaw.writer.kind"], a["openclaw.verdict"]) for a in found]


def test_each_change_on_the_span_has_its_verdict(bench: Bench) -> None:
    saved = facts.incident()
    bench.tell(facts.fence(T0), facts.wrote(T0 + 1), SaveIncident(incident=saved), facts.wrote(T0 + 2, OWN))
    bench.tell(facts.fence(T0 + 3), facts.wrote(T0 + 4, COTENANT), facts.closed(T0 + SECOND))
    bench.tell(SaveIncident(incident=replace(saved, closed_at_ns=T0 + SECOND)))
    assert changes(bench) == [("inject", "co_tenant"), ("user_turn", "own"), ("inject", "none")]


def test_foreign_bytes_are_a_change_on_the_span(bench: Bench) -> None:
    strange = (UnexplainedRange(offset=100, length=50, pid=77),)
    saved = replace(facts.incident(Verdict.EXTERNAL, Outcome.REFUSED), unexplained=strange)
    bench.tell(facts.fence(T0), SaveIncident(incident=saved), SaveIncident(incident=saved))
    bench.tell(
        facts.closed(T0 + SECOND, takeover=True), SaveIncident(incident=replace(saved, closed_at_ns=T0 + SECOND))
    )
    assert changes(bench) == [("foreign", "external")]
    (event,) = (e for e in bench.span("session.fence").events if e.name == "session.change")
    attributes = dict(event.attributes or {})
    assert (attributes["openclaw.change.length_bytes"], attributes["openclaw.writer.pid"]) == (50, 77)


def test_what_a_fence_took_in_is_told_on_the_span_and_what_the_window_meets_is_judged_by_itself(bench: Bench) -> None:
    strange = (UnexplainedRange(offset=100, length=50, pid=77),)
    foreign = facts.incident(Verdict.EXTERNAL, Outcome.REFUSED)
    apart = replace(
        foreign, incident_id="apart", window=foreign.window + TAKEN_IN, unexplained=strange, closed_at_ns=T0
    )
    met = facts.incident()
    bench.tell(facts.fence(T0), facts.wrote(T0 + 1, OWN), facts.fence(T0 + 2), facts.wrote(T0 + 3))
    bench.tell(SaveIncident(incident=apart), SaveIncident(incident=apart), SaveIncident(incident=met))
    bench.tell(facts.closed(T0 + SECOND), SaveIncident(incident=replace(met, closed_at_ns=T0 + SECOND)))
    assert changes(bench) == [("user_turn", "own"), ("inject", "co_tenant"), ("foreign", "external")]
    (verdict,) = (s for s in bench.spans("session.verdict") if (s.attributes or {})["openclaw.verdict"] == "external")
    assert (verdict.attributes or {})["openclaw.incident.id"] == "apart"
    fence = bench.span("session.fence")
    assert (fence.attributes or {})["openclaw.verdict"] == "co_tenant"
    assert judged(bench) == {("own", "user_turn"): 1, ("co_tenant", "inject"): 1, ("external", "foreign"): 1}

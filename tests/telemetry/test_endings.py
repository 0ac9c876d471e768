"""What is open and never ends by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from opentelemetry.trace import StatusCode

from sidecar.core import events as ev
from sidecar.core.decisions import CheckLineage, SaveIncident
from sidecar.core.incident import Outcome
from sidecar.core.verdict import Verdict
from sidecar.telemetry import calls, locks, windows
from sidecar.telemetry.names import Label, Metric
from tests.telemetry import facts
from tests.telemetry.conftest import Bench
from tests.telemetry.facts import FILE, GATEWAY, MS, OWN, SECOND, T0

if TYPE_CHECKING:
    import pytest
    from opentelemetry.sdk.trace import ReadableSpan

LOST = ev.LinkLost(link=GATEWAY.link, clean=False, at_ns=T0 + 5 * SECOND)


def fault(span: ReadableSpan) -> tuple[StatusCode, object, str | None]:
    assert span.attributes is not None
    return span.status.status_code, span.attributes.get("error.type"), span.status.description


def test_a_killed_gateway_closes_its_window_call_and_lock_with_an_error(bench: Bench) -> None:
    bench.tell(facts.opened(), facts.fence(T0), facts.taken(T0 + MS))
    bench.telemetry.diagnostic(facts.diagnostic("model.call.started", T0 + 2 * MS), GATEWAY)
    bench.tell(LOST)
    assert len(bench.spans()) == 3
    for span in bench.spans():
        expected = (StatusCode.ERROR, "link_lost", "the link to the gateway was lost without a goodbye")
        assert fault(span) == expected
        assert span.end_time == T0 + 5 * SECOND
    assert bench.value(Metric.MODEL_CALLS, outcome="abandoned") == 1
    assert bench.value(Metric.WINDOWS_CLOSED, outcome="link_lost") == 1
    assert bench.value(Metric.CUSTODY_LOSSES, reason="link_lost") == 1


def test_a_gateway_that_says_goodbye_is_told_apart(bench: Bench) -> None:
    bench.tell(facts.opened(), facts.fence(T0), replace(LOST, clean=True))
    assert fault(bench.span("session.fence"))[1] == "gateway_ended"
    assert bench.value(Metric.CUSTODY_LOSSES) == 0


def test_a_window_that_a_gateway_tells_of_on_a_new_link_outlives_the_old_one(bench: Bench) -> None:
    anew = replace(GATEWAY, link="link-2")
    bench.tell(facts.opened(), facts.fence(T0), facts.opened(gateway=anew))
    bench.tell(replace(facts.fence(T0 + SECOND), link="link-2"), LOST)
    assert not bench.spans("session.fence")
    assert bench.value(Metric.WINDOWS_CLOSED) == 0
    bench.tell(replace(LOST, link="link-2"))
    assert fault(bench.span("session.fence"))[1] == "link_lost"
    assert bench.value(Metric.WINDOWS_CLOSED, outcome="link_lost") == 1


def test_another_link_of_the_same_process_keeps_its_locks(bench: Bench) -> None:
    worker = replace(GATEWAY, link="link-2")
    bench.tell(facts.opened(), facts.opened(gateway=worker), facts.taken(T0))
    bench.tell(replace(LOST, link="link-2"))
    assert not bench.spans()
    bench.tell(facts.fence(T0), LOST)
    assert len(bench.spans("session.lock")) == 1


def test_the_end_of_the_sidecar_closes_what_is_open(bench: Bench) -> None:
    bench.tell(facts.fence(T0), facts.taken(T0 + MS))
    bench.clock.now_ns = T0 + 7 * SECOND
    bench.telemetry.shutdown()
    assert {fault(s)[1] for s in bench.spans()} == {"sidecar_stopped"}
    assert {s.end_time for s in bench.spans()} == {T0 + 7 * SECOND}


def test_a_window_with_an_incident_waits_for_the_incident_to_be_final(bench: Bench) -> None:
    bench.tell(facts.fence(T0), facts.asked(T0 + SECOND), SaveIncident(incident=facts.incident()))
    bench.tell(facts.closed(T0 + 2 * SECOND))
    assert not bench.spans("session.fence")
    last = facts.incident(outcome=Outcome.EFFECTIVE, closed_at_ns=T0 + 2 * SECOND)
    bench.tell(SaveIncident(incident=last))
    assert dict(bench.span("session.fence").attributes or {})["openclaw.recovery.outcome"] == "effective"


def test_a_history_that_forked_shows_on_the_window(bench: Bench) -> None:
    bench.tell(facts.fence(T0), facts.asked(T0 + SECOND), SaveIncident(incident=facts.incident()))
    bench.tell(facts.applied(T0 + SECOND + MS), facts.closed(T0 + 2 * SECOND))
    done = facts.incident(outcome=Outcome.EFFECTIVE, closed_at_ns=T0 + 2 * SECOND)
    bench.tell(SaveIncident(incident=done), CheckLineage(window="w1", file=FILE, records=("r1",)))
    assert not bench.spans("session.fence")
    bench.tell(ev.LineageChecked(window="w1", missing=("r1",), at_ns=T0 + 3 * SECOND))
    assert not bench.spans("session.fence")
    forked = facts.incident(outcome=Outcome.INEFFECTIVE, closed_at_ns=T0 + 2 * SECOND)
    bench.tell(SaveIncident(incident=forked))
    assert dict(bench.span("session.fence").attributes or {})["openclaw.recovery.outcome"] == "ineffective"
    assert bench.value(Metric.RECOVERIES, outcome="ineffective") == 1


def test_a_history_that_could_not_be_read_shows_on_the_window(bench: Bench) -> None:
    bench.tell(facts.fence(T0), facts.asked(T0 + SECOND), SaveIncident(incident=facts.incident()))
    bench.tell(facts.applied(T0 + SECOND + MS), facts.closed(T0 + 2 * SECOND))
    done = facts.incident(outcome=Outcome.EFFECTIVE, closed_at_ns=T0 + 2 * SECOND)
    bench.tell(SaveIncident(incident=done), CheckLineage(window="w1", file=FILE, records=("r1",)))
    bench.tell(ev.LineageChecked(window="w1", missing=(), problem="it can't be read", at_ns=T0 + 3 * SECOND))
    assert not bench.spans("session.fence"), "the word on it was not awaited"
    unproven = facts.incident(outcome=Outcome.INEFFECTIVE, closed_at_ns=T0 + 2 * SECOND)
    bench.tell(SaveIncident(incident=unproven))
    assert dict(bench.span("session.fence").attributes or {})["openclaw.recovery.outcome"] == "ineffective"


def test_a_history_that_forked_before_the_link_was_lost_shows_on_the_window(bench: Bench) -> None:
    bench.tell(facts.opened(), facts.fence(T0), facts.asked(T0 + SECOND), SaveIncident(incident=facts.incident()))
    bench.tell(facts.applied(T0 + SECOND + MS), LOST)
    left = facts.incident(outcome=Outcome.APPLIED, closed_at_ns=T0 + 5 * SECOND)
    bench.tell(SaveIncident(incident=left), CheckLineage(window="w1", file=FILE, records=("r1",)))
    assert not bench.spans("session.fence"), "the word on its history was not awaited"
    bench.tell(ev.LineageChecked(window="w1", missing=("r1",), at_ns=T0 + 6 * SECOND))
    bench.tell(SaveIncident(incident=replace(left, recovery=replace(left.recovery, outcome=Outcome.INEFFECTIVE))))
    span = bench.span("session.fence")
    assert dict(span.attributes or {})["openclaw.recovery.outcome"] == "ineffective"
    assert fault(span)[1] == "link_lost"


def test_a_window_whose_incident_is_never_closed_ends_after_a_while(bench: Bench) -> None:
    bench.tell(facts.fence(T0), facts.asked(T0 + SECOND), SaveIncident(incident=facts.incident()))
    bench.tell(facts.closed(T0 + 2 * SECOND), facts.opened(T0 + 30 * SECOND))
    assert not bench.spans("session.fence")
    bench.tell(facts.opened(T0 + 63 * SECOND))
    assert bench.span("session.fence").end_time == T0 + 2 * SECOND


def test_a_question_about_a_window_that_was_not_seen_opens_it(bench: Bench) -> None:
    bench.tell(facts.asked(T0), SaveIncident(incident=facts.incident(Verdict.UNATTRIBUTED, Outcome.REFUSED)))
    bench.tell(facts.tripped(T0 + MS), facts.closed(T0 + SECOND, takeover=True))
    gone = facts.incident(Verdict.UNATTRIBUTED, Outcome.REFUSED, closed_at_ns=T0 + SECOND, turn_lost=True)
    bench.tell(SaveIncident(incident=gone))
    attributes = dict(bench.span("session.fence").attributes or {})
    assert attributes["openclaw.window.partial"] is True
    assert attributes["openclaw.verdict"] == "unattributed"


def test_a_lock_whose_taking_was_not_seen_has_its_length_all_the_same(bench: Bench) -> None:
    bench.tell(facts.fence(T0), facts.closed(T0 + MS), facts.released(T0 + SECOND, OWN, held_ns=300 * MS))
    lock = bench.span("session.lock")
    assert (lock.start_time, lock.end_time) == (T0 + 700 * MS, T0 + SECOND)


def test_a_call_whose_start_was_not_seen_has_its_length_all_the_same(bench: Bench) -> None:
    ended = facts.diagnostic("model.call.error", T0, duration_ms=2500.0, error="timeout")
    bench.telemetry.diagnostic(ended, GATEWAY)
    chat = bench.span("chat")
    assert (chat.start_time, chat.end_time) == (T0 - 2500 * MS, T0)
    assert fault(chat) == (StatusCode.ERROR, "timeout", "the model call failed")


def test_a_lock_that_was_not_had_is_an_error_span_of_the_length_of_the_wait(bench: Bench) -> None:
    bench.telemetry.diagnostic(facts.run_started(T0), GATEWAY)
    bench.telemetry.lock_failed(facts.lock_failed(T0 + 61 * SECOND))
    lock = bench.span("session.lock")
    assert (lock.start_time, lock.end_time) == (T0 + SECOND, T0 + 61 * SECOND)
    assert fault(lock) == (StatusCode.ERROR, "timeout", "the session lock was not had: timeout")
    assert bench.value(Metric.LOCK_FAILURES, reason="timeout") == 1


def test_open_tables_are_bounded_and_drops_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, limit in ((windows, "MAX_WINDOWS"), (calls, "MAX_CALLS"), (locks, "MAX_HOLDS")):
        monkeypatch.setattr(module, limit, 2)
    bench = Bench()
    for n in range(5):
        bench.tell(facts.fence(T0 + n, window=f"w{n}"), facts.taken(T0 + n, hold=f"h{n}"))
        bench.telemetry.diagnostic(facts.diagnostic("model.call.started", T0 + n, call=f"c{n}"), GATEWAY)
    for name in ("session.fence", "session.lock", "chat"):
        assert bench.value(Metric.SPANS_DROPPED, **{Label.SPAN: name}) == 3
    bench.telemetry.shutdown()
    assert len(bench.spans()) == 6

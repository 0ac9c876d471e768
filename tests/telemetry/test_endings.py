"""What is open and never ends by itself."""

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from sidecar.core import events as ev
from sidecar.core.facts.value import replace
from sidecar.core.outcomes import Ending, WindowSettled
from sidecar.core.verdict.incident import Outcome
from sidecar.telemetry.metrics.custody import CUSTODY_LOSSES
from sidecar.telemetry.metrics.export import SPANS_DROPPED
from sidecar.telemetry.metrics.gateways import MODEL_CALLS
from sidecar.telemetry.metrics.locks import LOCK_FAILURES
from sidecar.telemetry.metrics.recoveries import TURNS_LOST
from sidecar.telemetry.metrics.windows import WINDOWS_CLOSED
from sidecar.telemetry.names.names import Label
from sidecar.telemetry.traces import model_calls, windows
from tests.telemetry import facts
from tests.telemetry.conftest import Bench
from tests.telemetry.facts import GATEWAY, MS, OWN, SECOND, T0

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
    assert bench.value(MODEL_CALLS, outcome="abandoned") == 1
    assert bench.value(WINDOWS_CLOSED, outcome="link_lost") == 1
    assert bench.value(CUSTODY_LOSSES, reason="link_lost") == 1


def test_a_gateway_that_says_goodbye_is_told_apart(bench: Bench) -> None:
    bench.tell(facts.opened(), facts.fence(T0), replace(LOST, clean=True))
    assert fault(bench.span("session.fence"))[1] == "gateway_ended"
    assert bench.value(CUSTODY_LOSSES) == 0


def test_a_window_that_a_gateway_tells_of_on_a_new_link_outlives_the_old_one(bench: Bench) -> None:
    anew = replace(GATEWAY, link="link-2")
    bench.tell(facts.opened(), facts.fence(T0), facts.opened(gateway=anew))
    bench.tell(replace(facts.fence(T0 + SECOND), link="link-2"), LOST)
    assert not bench.spans("session.fence")
    assert bench.value(WINDOWS_CLOSED) == 0
    bench.tell(replace(LOST, link="link-2"))
    assert fault(bench.span("session.fence"))[1] == "link_lost"
    assert bench.value(WINDOWS_CLOSED, outcome="link_lost") == 1


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


def test_a_window_whose_history_is_read_waits_for_it(bench: Bench) -> None:
    done = facts.incident(outcome=Outcome.EFFECTIVE, closed_at_ns=T0 + 2 * SECOND)
    bench.tell(facts.fence(T0), facts.ended(T0 + 2 * SECOND, done, Ending.LINK_LOST, final=False))
    assert not bench.spans("session.fence")
    forked = replace(done, recovery=replace(done.recovery, outcome=Outcome.INEFFECTIVE))
    bench.tell(WindowSettled(window="w1", incident=forked))
    span = bench.span("session.fence")
    assert dict(span.attributes or {})["openclaw.recovery.outcome"] == "ineffective"
    assert fault(span)[1] == "link_lost"


def test_a_window_whose_history_is_never_read_ends_after_a_while(bench: Bench) -> None:
    bench.tell(facts.fence(T0), facts.ended(T0 + 2 * SECOND, facts.incident(), final=False))
    bench.tell(facts.opened(T0 + 30 * SECOND))
    assert not bench.spans("session.fence")
    bench.tell(facts.opened(T0 + 63 * SECOND))
    assert bench.span("session.fence").end_time == T0 + 2 * SECOND


def test_a_window_that_is_open_at_the_end_of_the_sidecar_shows_what_it_met(bench: Bench) -> None:
    bench.tell(facts.fence(T0), facts.changed(facts.incident()))
    bench.telemetry.shutdown()
    assert dict(bench.span("session.fence").attributes or {})["openclaw.verdict"] == "co_tenant"


def test_a_question_about_a_window_that_was_not_seen_opens_it(bench: Bench) -> None:
    bench.tell(facts.asked(T0), facts.tripped(T0 + MS), facts.closed(T0 + SECOND, takeover=True))
    attributes = dict(bench.span("session.fence").attributes or {})
    assert attributes["openclaw.window.partial"] is True
    assert attributes["openclaw.verdict"] == "unattributed"
    assert bench.value(WINDOWS_CLOSED) == 0
    assert bench.value(TURNS_LOST, verdict="unattributed") == 1


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
    assert bench.value(LOCK_FAILURES, reason="timeout") == 1


def test_open_tables_are_bounded_and_drops_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, limit in ((windows, "MAX_WINDOWS"), (model_calls, "MAX_CALLS")):
        monkeypatch.setattr(module, limit, 2)
    bench = Bench()
    for n in range(5):
        bench.tell(facts.fence(T0 + n, window=f"w{n}"), facts.taken(T0 + n, hold=f"h{n}"))
        bench.telemetry.diagnostic(facts.diagnostic("model.call.started", T0 + n, call=f"c{n}"), GATEWAY)
    for name in ("session.fence", "chat"):
        assert bench.value(SPANS_DROPPED, **{Label.SPAN: name}) == 3
    bench.telemetry.shutdown()
    assert len(bench.spans("session.lock")) == 5
    assert len(bench.spans()) == 9

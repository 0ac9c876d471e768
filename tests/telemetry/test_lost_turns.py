"""Causes of lost turns, and claims of sessions: as metrics, and as events of spans."""

import pytest

from sidecar.core.facts.turn_loss import LossCause
from sidecar.core.facts.value import replace
from sidecar.telemetry.metrics.recoveries import TURN_LOSSES, TURNS_LOST
from sidecar.telemetry.metrics.windows import WINDOWS_CLOSED
from tests.telemetry import facts
from tests.telemetry.conftest import Bench
from tests.telemetry.facts import RUN, SECOND, T0


@pytest.mark.parametrize("cause", LossCause)
def test_a_lost_turn_counts_once_under_its_cause(bench: Bench, cause: LossCause) -> None:
    bench.tell(facts.fence(T0), facts.lost(T0 + SECOND, cause), facts.lost(T0 + SECOND, LossCause.STORAGE))
    assert bench.value(TURN_LOSSES, cause=cause.value) == 1
    assert bench.value(TURN_LOSSES) == 1
    assert bench.value(TURNS_LOST) == 0, "no fence stopped it"


def test_the_span_of_a_lost_turn_says_what_it_was_lost_to(bench: Bench) -> None:
    bench.tell(facts.fence(T0), facts.lost(T0 + SECOND, LossCause.BUSY), facts.closed(T0 + SECOND))
    span = bench.span("session.fence")
    [event] = [event for event in span.events if event.name == "turn.lost"]
    assert dict(event.attributes or {}) == {"openclaw.turn.loss.cause": "busy"}
    attributes = dict(span.attributes or {})
    assert (attributes["openclaw.turn.loss.cause"], attributes["error.type"]) == ("busy", "lost")
    assert bench.value(WINDOWS_CLOSED, outcome="lost") == 1


def test_a_claim_is_an_event_in_the_window_of_the_run_that_it_displaced_and_in_its_own(bench: Bench) -> None:
    bench.tell(facts.fence(T0), facts.claimed(T0 + SECOND, run_id="run-2", previous="run-1"))
    bench.tell(facts.fence(T0 + 2 * SECOND, run=replace(RUN, run_id="run-2"), window="w2"))
    bench.tell(facts.closed(T0 + 3 * SECOND), facts.closed(T0 + 3 * SECOND, window="w2"))
    told = [dict(e.attributes or {}) for s in bench.spans("session.fence") for e in s.events if "claimed" in e.name]
    assert told == 2 * [
        {
            "openclaw.claim.run_id": "run-2",
            "openclaw.claim.previous_run_id": "run-1",
            "openclaw.claim.superseded": True,
        }
    ]

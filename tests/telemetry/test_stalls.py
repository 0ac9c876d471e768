"""Sessions that do not go on: one episode counts once."""

import pytest

from sidecar.core import events as ev
from sidecar.telemetry.metrics import gauges
from sidecar.telemetry.metrics.stalls import SESSIONS_STALLED, STALLS
from tests.telemetry import facts
from tests.telemetry.conftest import Bench
from tests.telemetry.facts import GATEWAY, SECOND, T0
from tests.telemetry.test_gauges import Source


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    monkeypatch.setattr(gauges, "_FRESH_SECONDS", 0.0)
    bench.telemetry.bind_status(Source().status)


def tell(bench: Bench, event: str, after_seconds: int = 0, session: str = "5e55") -> None:
    bench.clock.now_ns = T0 + after_seconds * SECOND
    bench.telemetry.diagnostic(facts.diagnostic(event, bench.clock.now_ns, session=session), GATEWAY)


def counts(bench: Bench, state: str = "stalled") -> tuple[float, float]:
    """Episodes so far, and sessions in one now."""
    return bench.value(STALLS, state=state), bench.value(SESSIONS_STALLED, state=state)


def test_a_stall_that_the_gateway_repeats_is_one_episode(bench: Bench) -> None:
    assert counts(bench) == (0, 0)
    for after in (0, 30, 60, 90):
        tell(bench, "session.stalled", after)
    assert counts(bench) == (1, 1)


@pytest.mark.parametrize("end", ["session.state", "session.recovery.completed"])
def test_an_episode_ends_when_the_session_goes_on(bench: Bench, end: str) -> None:
    tell(bench, "session.stuck")
    tell(bench, end, 1)
    assert counts(bench, "stuck") == (1, 0)
    tell(bench, "session.stuck", 2)
    assert counts(bench, "stuck") == (2, 1)


def test_a_stall_that_is_not_heard_of_any_more_is_over(bench: Bench) -> None:
    tell(bench, "session.stalled")
    bench.clock.now_ns += 151 * SECOND
    assert counts(bench) == (1, 0)
    tell(bench, "session.stalled", 200)
    assert counts(bench) == (2, 1)


def test_a_stuck_session_is_told_of_ever_more_rarely_and_stays_stuck(bench: Bench) -> None:
    tell(bench, "session.stuck")
    bench.clock.now_ns += 3600 * SECOND
    assert counts(bench, "stuck") == (1, 1)


def test_each_session_has_its_own_episode_and_another_state_is_another(bench: Bench) -> None:
    tell(bench, "session.stalled", session="a")
    tell(bench, "session.stalled", session="b")
    tell(bench, "session.stuck", session="b")
    assert counts(bench) == (2, 1)
    assert counts(bench, "stuck") == (1, 1)


def test_the_end_of_a_gateway_ends_its_episodes(bench: Bench) -> None:
    tell(bench, "session.stuck")
    bench.tell(ev.LinkLost(link=GATEWAY.link, clean=False, at_ns=T0 + SECOND))
    assert counts(bench, "stuck") == (1, 0)

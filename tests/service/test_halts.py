"""Times in which the sidecar itself did not run are noticed, and reported ahead of what waited meanwhile."""

import asyncio
import time

import pytest

from sidecar.core.events import Event, SidecarHalted
from sidecar.intake.halts import RECENT_NS, Halts
from sidecar.service import loop_lag
from sidecar.service.loop_lag import HALT_SECONDS, LoopLag
from sidecar.status import HaltStatus

NOON = 1_764_331_200_000_000_000
SECOND = 1_000_000_000


async def test_a_process_that_does_not_run_is_halted_and_that_is_known_ahead_of_what_waited_meanwhile() -> None:
    halts: list[float] = []
    lag = LoopLag(lambda _seconds: None, halts.append, lambda: True)
    lag.start()
    await asyncio.sleep(0)
    time.sleep(loop_lag.BEAT_SECONDS + HALT_SECONDS + 0.1)  # noqa: ASYNC251 - to hold the loop is the point
    lag.check()
    lag.stop()
    lag.check()
    [seconds] = halts
    assert seconds >= HALT_SECONDS


async def test_a_process_that_computes_is_not_halted(monkeypatch: pytest.MonkeyPatch) -> None:
    worked = iter([0.0, 0.5])
    monkeypatch.setattr(time, "thread_time", lambda: next(worked, 0.5))
    halts: list[float] = []
    lag = LoopLag(lambda _seconds: None, halts.append, lambda: True)
    lag.start()
    loop = asyncio.get_running_loop()
    later = loop.time() + 0.5
    monkeypatch.setattr(loop, "time", lambda: later)
    lag.check()
    lag.stop()
    assert halts == []


@pytest.mark.parametrize(("linked", "seconds"), [(True, loop_lag.BEAT_SECONDS), (False, loop_lag.IDLE_BEAT_SECONDS)])
async def test_the_loop_is_looked_at_less_often_while_no_gateway_is_linked(
    monkeypatch: pytest.MonkeyPatch, *, linked: bool, seconds: float
) -> None:
    due: list[float] = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "time", lambda: 0.0)
    monkeypatch.setattr(loop, "call_at", lambda when, _beat: due.append(when))
    LoopLag(lambda _seconds: None, lambda _seconds: None, lambda: linked).start()
    assert due == [seconds]


def test_a_halt_is_told_to_the_core_and_is_a_problem_for_ten_minutes() -> None:
    now = [NOON]
    events: list[Event] = []
    counted: list[float] = []
    halts = Halts(events.append, counted.append, lambda: now[0])
    assert halts.status() == HaltStatus()
    assert list(halts.problems()) == []

    halts.halted(0.4)
    assert events == [SidecarHalted(since_ns=NOON - 400_000_000, at_ns=NOON)]
    [problem] = halts.problems()
    assert problem.code == "not_running"
    assert "did not run for 0.4 s until 2025-11-28T12:00:00" in problem.what

    now[0] += RECENT_NS
    assert list(halts.problems()) == []
    halts.halted(1.0)
    status = halts.status()
    assert (status.count, status.since_ns, status.until_ns) == (2, now[0] - SECOND, now[0])
    assert status.seconds == sum(counted) == pytest.approx(1.4)

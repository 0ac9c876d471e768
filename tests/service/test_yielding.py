"""The service's one thread: long jobs let questions in between, and it says when it kept something waiting."""

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sidecar.service import loop_lag, yielding
from sidecar.service.loop_lag import LATE_SECONDS, LoopLag
from sidecar.service.reconcile import Reconcile

SOON = 90.0


async def turns_of_others(until: asyncio.Event) -> int:
    """How often something else ran in the loop before that."""
    count = 0
    while not until.is_set():
        count += 1
        await asyncio.sleep(0)
    return count


async def test_while_many_files_are_looked_at_others_run_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yielding, "SLICE_SECONDS", 0.0)
    looked: list[str] = []
    files: Any = SimpleNamespace(files={f"{tmp_path}/{n}.jsonl" for n in range(100)})
    file_intake: Any = SimpleNamespace(look=looked.append)
    done = asyncio.Event()
    other = asyncio.create_task(turns_of_others(done))
    await Reconcile(files, file_intake).look()
    done.set()
    assert await other >= 99
    assert len(set(looked)) == 100


async def test_a_short_job_keeps_the_loop() -> None:
    done = asyncio.Event()
    other = asyncio.create_task(turns_of_others(done))
    mine = yielding.TimeSlice(SOON)
    for _ in range(100):
        await mine.pause()
    done.set()
    assert await other == 0


async def test_a_loop_that_was_held_is_measured_and_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loop_lag, "BEAT_SECONDS", 0.01)
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(loop_lag.log, "info", lambda event, **fields: lines.append({"event": event, **fields}))
    late: list[float] = []
    held = asyncio.Event()

    def told(seconds: float) -> None:
        late.append(seconds)
        if sum(seconds > LATE_SECONDS for seconds in late) > 1:
            held.set()

    lag = LoopLag(told, lambda _seconds: None, lambda: True)
    lag.start()
    while not held.is_set():
        time.sleep(LATE_SECONDS + 0.05)  # noqa: ASYNC251 - to hold the loop is the point
        await asyncio.sleep(0.02)
    lag.stop()
    count = len(late)
    await asyncio.sleep(0.03)
    assert len(late) == count
    assert [line["event"] for line in lines] == ["loop_late"]
    assert lines[0]["milliseconds"] >= LATE_SECONDS * 1000

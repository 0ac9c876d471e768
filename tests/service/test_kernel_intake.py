"""Kernel evidence in the service, with the real fanotify and a clock of the test's own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.core.custody.kernel_log import LATE_NS
from sidecar.core.events import Event
from sidecar.faults import NO_FAULTS, Faults
from sidecar.intake.kernel import KernelIntake
from tests.kernel import require_kernel_evidence


@dataclass
class Room:
    """The time, and what was heard."""

    now_ns: int = 1_000_000_000_000
    heard: list[Event] = field(default_factory=list)


@asynccontextmanager
async def listening(room: Room, place: Path, faults: Faults = NO_FAULTS) -> AsyncIterator[KernelIntake]:
    require_kernel_evidence(place)
    kernel_log = KernelIntake(room.heard.append, lambda: room.now_ns, lambda _loss, _text: None, faults)
    kernel_log.start(place, [place])
    try:
        yield kernel_log
    finally:
        kernel_log.stop()


async def test_a_verdict_can_rest_on_the_kernels_word_when_it_has_been_listened_to_for_long_enough(
    tmp_path: Path,
) -> None:
    room = Room()
    async with listening(room, tmp_path) as kernel_log:
        for name in ("first", "later"):
            (tmp_path / name).mkdir()
            kernel_log.listen(tmp_path / name)
            assert not kernel_log.status().settled
            room.now_ns += LATE_NS - 1
            assert not kernel_log.status().settled
            room.now_ns += 1
            assert kernel_log.status().settled
    assert not kernel_log.status().settled


async def test_sightings_that_are_lost_begin_that_time_anew(tmp_path: Path) -> None:
    room = Room()
    async with listening(room, tmp_path, Faults(share=1.0)) as kernel_log:
        kernel_log.listen(tmp_path)
        room.now_ns += LATE_NS
        assert kernel_log.status().settled
        (tmp_path / "a.jsonl").write_text("{}\n")
        kernel_log.drain()
        assert not kernel_log.status().settled

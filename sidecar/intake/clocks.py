"""Notices that the machine slept or that its clock was set."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sidecar.core.facts.loss import Loss
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.job import Job

SUSPENDED_NS: Final = 1_000_000_000
"""A machine that slept for less did not sleep."""

STEP_NS: Final = 250_000_000
"""Slewing moves a clock by 0.5 ms in a second (adjtimex(2)); more than this between two looks is a step."""

CLOCKS_SECONDS: Final = 5
"""How often the clocks are looked at. They are looked at ahead of each answer, too."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The kernel's clocks at one moment, nanoseconds (clock_gettime(2)).

    Attributes:
        real: CLOCK_REALTIME, which can be set, and from which files have their times.
        monotonic: CLOCK_MONOTONIC, which can't be set and stands still while the machine sleeps.
        boot: CLOCK_BOOTTIME, the same with the time that it slept.
    """

    real: int
    monotonic: int
    boot: int


def read_clocks() -> Reading:
    """Read them now."""
    return Reading(
        time.clock_gettime_ns(time.CLOCK_REALTIME),
        time.clock_gettime_ns(time.CLOCK_MONOTONIC),
        time.clock_gettime_ns(time.CLOCK_BOOTTIME),
    )


class Clocks:
    """Compares the clocks with what they were at the last look."""

    def __init__(self, lose: Callable[[Loss, Reason], None], read: Callable[[], Reading] = read_clocks) -> None:
        """Take the first look; ``lose`` is called with what the next ones find."""
        self._lose = lose
        self._read = read
        self._last = read()
        self.jobs = (Job("clocks", CLOCKS_SECONDS, self.check),)

    def check(self) -> None:
        """Report what has happened since the last check."""
        last, now = self._last, self._read()
        self._last = now
        slept = (now.boot - now.monotonic) - (last.boot - last.monotonic)
        # While the machine sleeps, the time goes on: only what is more than that was set.
        stepped = (now.real - now.boot) - (last.real - last.boot)
        if slept > SUSPENDED_NS:
            self._lose(Loss.SUSPENDED, Reason.of(ReasonCode.SUSPENDED, slept_ns=slept))
        if abs(stepped) > STEP_NS:
            how = ReasonCode.CLOCK_SET_AHEAD if stepped > 0 else ReasonCode.CLOCK_SET_BACK
            self._lose(Loss.CLOCK_STEP, Reason.of(how, by_ns=abs(stepped)))

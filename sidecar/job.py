"""A job: what an owner wants done every now and then. The service schedules it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Job:
    """Declared by the part that does the work.

    Attributes:
        name: For logs.
        every_seconds: The time from one run to the next.
        run: Called in the event loop's thread; what it returns is awaited, if it can be.
    """

    name: str
    every_seconds: float
    run: Callable[[], object]

"""What a gateway asks, or says at its check: the driver adds what the file holds, and the core answers."""

from typing import Any, TypeVar

from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.gateway import Run
from sidecar.core.facts.value import Value
from sidecar.core.facts.version import Version


class AtFence(Value, frozen=True, kw_only=True):
    """What is said of a run and its fence; ``at_ns`` in nanoseconds since the epoch."""

    link: str
    window: str
    file: str
    fence: Version
    run: Run
    at_ns: int


class CheckAsked(AtFence, frozen=True, kw_only=True):
    """A run holds the session lock, stands at its check and sees a difference: may it go on?"""

    ask: str
    current: Fingerprint


class WaitAsked(AtFence, frozen=True, kw_only=True):
    """A fenced run did not acquire the session lock ``waited_ns`` after it first asked for it: may it wait on?"""

    ask: str
    waited_ns: int


class TurnStopped(AtFence, frozen=True, kw_only=True):
    """The gateway's own fence stopped the turn, at a file that was ``current``."""

    current: Version


Question = CheckAsked | WaitAsked | TurnStopped
"""Somebody waits for the answer, or for what comes of it."""

_Seen = TypeVar("_Seen", bound=AtFence)


def seen(event: type[_Seen], question: Question, **found: Any) -> _Seen:  # noqa: ANN401 - fields of the event
    """The event that a question is; ``found`` are its fields that the question has not, such as the file as it is."""
    asked = {name: getattr(question, name) for name in question.__struct_fields__ if name in event.__struct_fields__}
    return event(**asked, **found)

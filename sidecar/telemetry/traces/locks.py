"""Holds of session locks, from taken to released."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sidecar.core.bounded import Bounded
from sidecar.core.outcomes import Ending
from sidecar.telemetry.names.attributes import Attributes, error_type, of_writer, sentence, token
from sidecar.telemetry.names.names import Attribute, Moment, Span
from sidecar.telemetry.traces.span import SpanFact, SpanMoment

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.core.events import LockReleased, LockTaken
    from sidecar.core.reports import LockFailed
    from sidecar.core.writer import Writer

MAX_HOLDS: Final = 1_024
MAX_FILES: Final = 4_096
"""Files whose last holder is remembered."""

NS_PER_SECOND: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class LockSpan:
    """A hold that is over, and whose it was.

    Attributes:
        fact: The span.
        file: The session file.
        writer: The holder.
    """

    fact: SpanFact
    file: str
    writer: Writer


class Locks:
    """Turns lock events into spans."""

    def __init__(self, dropped: Callable[[Span], None]) -> None:
        """No lock is held; ``dropped`` is told of holds that the table had no room for."""
        self._held: Bounded[tuple[str, str], tuple[LockTaken, Writer | None]] = Bounded(
            MAX_HOLDS, lambda _: dropped(Span.LOCK)
        )
        self._last: Bounded[str, Writer] = Bounded(MAX_FILES)

    def taken(self, event: LockTaken) -> None:
        """A hold begins."""
        self._held.put((event.file, event.hold), (event, self._last.get(event.file)))
        self._last.put(event.file, event.writer)

    def released(self, event: LockReleased) -> LockSpan:
        """A hold ends; one whose beginning was not seen has a length all the same."""
        held = self._held.pop((event.file, event.hold))
        hold: Attributes = {Attribute.LOCK_HOLD: event.held_ns / NS_PER_SECOND}
        if held is None:
            start_ns = event.at_ns - event.held_ns
            attributes = {Attribute.FILE_PATH: event.file, **of_writer(event.writer), **hold}
            fact = SpanFact(name=Span.LOCK, start_ns=start_ns, end_ns=event.at_ns, attributes=attributes)
            return LockSpan(fact, event.file, event.writer)
        taken, previous = held
        return LockSpan(_span(taken, previous, event.at_ns, hold), event.file, taken.writer)

    def failed(self, message: LockFailed) -> LockSpan:
        """A lock was not had."""
        at_ns, wait_ns = message.at_ns, message.wait_ns
        fact = SpanFact(
            name=Span.LOCK,
            start_ns=at_ns - wait_ns,
            end_ns=at_ns,
            attributes={
                Attribute.FILE_PATH: message.file,
                Attribute.LOCK_WAIT: wait_ns / NS_PER_SECOND,
                **of_writer(message.writer),
                **_previous(self._last.get(message.file)),
            },
            error=error_type(message.reason),
            description=f"the session lock was not had: {token(message.reason)}",
        )
        return LockSpan(fact, message.file, message.writer)

    def lost(self, link: str, at_ns: int, ending: Ending) -> list[LockSpan]:
        """The holds that a link which is gone had reported."""
        return [_broken(held, at_ns, ending) for held in self._held.take(lambda held: held[0].link == link)]

    def flush(self, at_ns: int) -> list[LockSpan]:
        """All holds, at the end of the sidecar."""
        return [_broken(held, at_ns, Ending.SIDECAR_STOPPED) for held in self._held.take()]


def _broken(held: tuple[LockTaken, Writer | None], at_ns: int, ending: Ending) -> LockSpan:
    taken, previous = held
    hold: Attributes = {Attribute.LOCK_HOLD: max(0, at_ns - taken.at_ns) / NS_PER_SECOND}
    return LockSpan(_span(taken, previous, at_ns, hold, ending), taken.file, taken.writer)


def _span(
    taken: LockTaken, previous: Writer | None, end_ns: int, more: Attributes, ending: Ending = Ending.ENDED
) -> SpanFact:
    """The span starts with the wait; the moment of the taking parts wait and hold."""
    failed = ending is not Ending.ENDED
    return SpanFact(
        name=Span.LOCK,
        start_ns=taken.at_ns - taken.wait_ns,
        end_ns=end_ns,
        attributes={
            Attribute.FILE_PATH: taken.file,
            Attribute.LOCK_WAIT: taken.wait_ns / NS_PER_SECOND,
            **of_writer(taken.writer),
            **_previous(previous),
            **more,
        },
        moments=(SpanMoment(taken.at_ns, Moment.LOCK_ACQUIRED),),
        error=ending.value if failed else "",
        description=sentence(ending),
    )


def _previous(writer: Writer | None) -> Attributes:
    if writer is None:
        return {}
    known: Attributes = {Attribute.LOCK_PREVIOUS_KIND: writer.kind.value}
    if writer.name:
        known[Attribute.LOCK_PREVIOUS_NAME] = token(writer.name)
    return known

"""Spans of session locks: one for each hold that is over, and for each failed attempt."""

from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.core.facts.writer import Writer
from sidecar.core.outcomes import Ending, HoldEnded
from sidecar.core.reports import LockFailed
from sidecar.telemetry.names.attributes import Attributes, error_type, of_writer, sentence, token
from sidecar.telemetry.names.names import Attribute, Moment, Span
from sidecar.telemetry.traces.span import SpanFact, SpanMoment


def hold_span(hold: HoldEnded) -> SpanFact:
    """The span starts with the wait; the moment of the taking parts wait and hold. Without a wait it has neither."""
    attributes: Attributes = {Attribute.FILE_PATH: hold.file}
    if hold.wait_ns is not None:
        attributes[Attribute.LOCK_WAIT] = hold.wait_ns / NS_PER_SECOND
    attributes |= {
        **of_writer(hold.writer),
        **previous_writer(hold.previous),
        Attribute.LOCK_HOLD: hold.held_ns / NS_PER_SECOND,
    }
    return SpanFact(
        name=Span.LOCK,
        start_ns=hold.since_ns - (hold.wait_ns or 0),
        end_ns=hold.at_ns,
        attributes=attributes,
        moments=() if hold.wait_ns is None else (SpanMoment(hold.since_ns, Moment.LOCK_ACQUIRED),),
        error="" if hold.ending is Ending.ENDED else hold.ending.value,
        description=sentence(hold.ending),
    )


def failed_span(report: LockFailed, previous: Writer | None) -> SpanFact:
    """A failed attempt; ``previous`` is the last known holder."""
    return SpanFact(
        name=Span.LOCK,
        start_ns=report.at_ns - report.wait_ns,
        end_ns=report.at_ns,
        attributes={
            Attribute.FILE_PATH: report.file,
            Attribute.LOCK_WAIT: report.wait_ns / NS_PER_SECOND,
            **of_writer(report.writer),
            **previous_writer(previous),
        },
        error=error_type(report.reason),
        description=f"the session lock was not had: {token(report.reason)}",
    )


def previous_writer(writer: Writer | None) -> Attributes:
    """Who held the lock before; nothing where that is not known."""
    if writer is None:
        return {}
    known: Attributes = {Attribute.LOCK_PREVIOUS_KIND: writer.kind.value}
    if writer.name:
        known[Attribute.LOCK_PREVIOUS_NAME] = token(writer.name)
    return known

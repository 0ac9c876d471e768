"""Recoveries as spans below their window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.telemetry.names import Attribute, Span
from sidecar.telemetry.span import SpanFact

if TYPE_CHECKING:
    from sidecar.core.events import RecoveryApplied


def recovery_span(event: RecoveryApplied) -> SpanFact:
    """The preload's answer to a command, as long as it took by its own account."""
    return SpanFact(
        name=Span.RECOVERY,
        start_ns=event.at_ns - event.latency_ns,
        end_ns=event.at_ns,
        attributes={
            Attribute.RECOVERY_APPLIED: event.applied,
            Attribute.RECOVERY_PUSHED: event.pushed,
            Attribute.RECOVERY_RECORDS: len(event.records),
        },
        error="" if event.applied else "refused",
        description="" if event.applied else "the preload refused the command: something differed",
    )

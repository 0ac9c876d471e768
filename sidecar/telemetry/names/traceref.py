"""A place in a trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

Value = str | int | float | bool
"""What an attribute may be."""

_TRACE_DIGITS: Final = 32
_SPAN_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class TraceRef:
    """A place in a trace.

    Attributes:
        trace_id: Not 0.
        span_id: The span to hang below; 0 when only the trace is known.
        sampled: Whether its root is kept; None where that is for this process to decide.
    """

    trace_id: int
    span_id: int = 0
    sampled: bool | None = None

    @classmethod
    def parse(cls, trace: str, span: str, *, sampled: bool | None = None) -> TraceRef | None:
        """Read hexadecimal ids; None when the first is no trace id."""
        trace_id = _parse_id(trace, _TRACE_DIGITS)
        return cls(trace_id, _parse_id(span, _SPAN_DIGITS), sampled) if trace_id else None

    def log_fields(self) -> dict[str, str]:
        """For a line of the log."""
        fields = {"trace_id": f"{self.trace_id:032x}"}
        return {**fields, "span_id": f"{self.span_id:016x}"} if self.span_id else fields

    def context(self, *, sampled: bool = True) -> Context:
        """For the SDK: what happens, happens below this span."""
        flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        parent = SpanContext(self.trace_id, self.span_id, is_remote=True, trace_flags=flags)
        return set_span_in_context(NonRecordingSpan(parent), Context())


def _parse_id(text: str, digits: int) -> int:
    """A hexadecimal id of exactly so many digits; 0 for anything else."""
    if len(text) != digits or not all(c in "0123456789abcdef" for c in text):
        return 0
    return int(text, 16)

"""A place in a trace."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from sidecar.core.facts.value import Value

AttributeValue = str | int | float | bool
"""What an attribute may be."""

_TRACE_DIGITS: Final = 32
_SPAN_DIGITS: Final = 16
_HEXADECIMAL: Final = re.compile("[0-9a-f]*")

MAX_PARSED: Final = 4_096
"""Places that are remembered by their text: the events of a run name the same ones again and again."""


class TraceRef(Value, frozen=True):
    """A place in a trace.

    Attributes:
        trace_id: Not 0.
        span_id: The span to hang below; 0 when only the trace is known.
        sampled: Whether its root is kept; None where that is for this process to decide.
    """

    trace_id: int
    span_id: int = 0
    sampled: bool | None = None

    @staticmethod
    @lru_cache(maxsize=MAX_PARSED)
    def parse(trace: str, span: str, *, sampled: bool | None = None) -> TraceRef | None:
        """Read hexadecimal ids; None when the first is no trace id. The latest are remembered."""
        trace_id = _parse_id(trace, _TRACE_DIGITS)
        return TraceRef(trace_id, _parse_id(span, _SPAN_DIGITS), sampled) if trace_id else None

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
    if len(text) != digits or _HEXADECIMAL.fullmatch(text) is None:
        return 0
    return int(text, 16)

"""A span as a value, made of facts after they happened, and its way into the SDK."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from sidecar.telemetry.names import names
from sidecar.telemetry.names.names import Attribute
from sidecar.telemetry.names.traceref import AttributeValue, TraceRef

_MAX_INT: Final = (1 << 63) - 1
_MAX_TEXT: Final = 512


@dataclass(frozen=True, slots=True)
class SpanMoment:
    """An event on a span.

    Attributes:
        at_ns: Nanoseconds since the epoch.
        name: See `sidecar.telemetry.names.names.Moment`.
        attributes: No text of a transcript.
    """

    at_ns: int
    name: names.Moment
    attributes: Mapping[Attribute, AttributeValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanFact:
    """A span that is over.

    Attributes:
        name: See `sidecar.telemetry.names.names.Span`.
        start_ns: Nanoseconds since the epoch, the gateway's clock.
        end_ns: Likewise.
        attributes: No text of a transcript.
        suffix: Follows the name after a space.
        client: It is a call to another service.
        moments: Events on it.
        error: Why it failed, for ``error.type``; empty when it did not.
        description: One sentence on the error.
        children: Spans below it.
        ids: The ids that it must have, because others know it by them; None for any.
    """

    name: names.Span
    start_ns: int
    end_ns: int
    attributes: Mapping[Attribute, AttributeValue] = field(default_factory=dict)
    suffix: str = ""
    client: bool = False
    moments: tuple[SpanMoment, ...] = ()
    error: str = ""
    description: str = ""
    children: tuple[SpanFact, ...] = ()
    ids: TraceRef | None = None


class PinnedIds(RandomIdGenerator):
    """Random ids, except where a span must have given ones: the SDK offers no other way to do so."""

    def __init__(self) -> None:
        self._wanted = threading.local()

    def pin(self, trace_id: int, span_id: int = 0) -> None:
        """Let the next span of this thread have this id, and belong to this trace if it is a root."""
        self._wanted.trace_id = trace_id
        self._wanted.span_id = span_id

    def generate_span_id(self) -> int:
        """The pinned id, once; else a random one."""
        pinned: int = getattr(self._wanted, "span_id", 0)
        self._wanted.span_id = self._wanted.trace_id = 0
        return pinned or super().generate_span_id()

    def generate_trace_id(self) -> int:
        """The pinned id, once; else a random one."""
        pinned: int = getattr(self._wanted, "trace_id", 0)
        self._wanted.trace_id = 0
        return pinned or super().generate_trace_id()


class SpanWriter:
    """Hands finished spans to the SDK, which queues or drops them and never waits."""

    def __init__(self, tracer: Tracer, ids: PinnedIds, sampler: Sampler, made: Callable[[names.Span], None]) -> None:
        """``ids`` and ``sampler`` are those of the tracer's provider; ``made`` is called for each span."""
        self._tracer = tracer
        self._sampler = sampler
        self._ids = ids
        self._made = made

    def write(self, fact: SpanFact, where: TraceRef | None) -> None:
        """Write the span and all below it; without a place it becomes the root of a new trace."""
        if where is None:
            self._write(fact, Context())
        elif where.span_id:
            self._write(fact, where.context(sampled=self._is_sampled(where, fact)))
        else:
            self._ids.pin(where.trace_id)
            self._write(fact, Context())

    def _is_sampled(self, where: TraceRef, fact: SpanFact) -> bool:
        """Where nobody else has a root, ours is the one whose sampling counts, and it is decided by the trace id."""
        if where.sampled is not None:
            return where.sampled
        decision = self._sampler.should_sample(Context(), where.trace_id, fact.name.value).decision
        return decision is Decision.RECORD_AND_SAMPLE

    def _write(self, fact: SpanFact, context: Context) -> None:
        start_ns = _clamped(fact.start_ns)
        if fact.ids is not None:
            self._ids.pin(fact.ids.trace_id, fact.ids.span_id)
        span = self._tracer.start_span(
            _clean(f"{fact.name.value} {fact.suffix}".rstrip()),
            context,
            SpanKind.CLIENT if fact.client else SpanKind.INTERNAL,
            encodable(fact.attributes),
            start_time=start_ns,
        )
        self._made(fact.name)
        for moment in fact.moments:
            span.add_event(moment.name.value, encodable(moment.attributes), _clamped(moment.at_ns))
        self._fail(span, fact)
        for child in fact.children:
            self._write(child, set_span_in_context(span, Context()))
        span.end(max(start_ns, _clamped(fact.end_ns)))

    @staticmethod
    def _fail(span: Span, fact: SpanFact) -> None:
        if fact.error:
            span.set_attribute(Attribute.ERROR_TYPE.value, _clean(fact.error))
            span.set_status(Status(StatusCode.ERROR, fact.description or None))


def encodable(attributes: Mapping[Attribute, AttributeValue]) -> dict[str, AttributeValue]:
    """What protobuf takes: one value out of range would cost the whole batch."""
    return {key.value: _bounded(value) for key, value in attributes.items()}


def _bounded(value: AttributeValue) -> AttributeValue:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return max(-_MAX_INT, min(value, _MAX_INT))
    return value


def _clean(text: str) -> str:
    short = text[:_MAX_TEXT]
    return short if short.isascii() else short.encode("utf-8", "backslashreplace").decode("utf-8")


def _clamped(at_ns: int) -> int:
    return max(0, min(at_ns, _MAX_INT))

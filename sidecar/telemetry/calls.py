"""Model calls, by the gen_ai conventions, from the gateway's diagnostics events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sidecar.telemetry.describe import Attributes, error_type, of_gateway, token
from sidecar.telemetry.labels import PROVIDERS, Ending
from sidecar.telemetry.names import Attribute, Span
from sidecar.telemetry.span import SpanFact, TraceRef
from sidecar.telemetry.table import OpenTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.core.gateway import Gateway
    from sidecar.core.reports import Diagnostic

MAX_CALLS: Final = 1_024

STARTED: Final = "model.call.started"
COMPLETED: Final = "model.call.completed"
ERROR: Final = "model.call.error"

_NS_PER_MS: Final = 1_000_000
_MS_PER_SECOND: Final = 1_000


@dataclass(frozen=True, slots=True)
class CallSpan:
    """A call that is over.

    Attributes:
        fact: The span.
        run_id: The run that made it.
        where: Its place in the gateway's trace; None when the gateway told none.
    """

    fact: SpanFact
    run_id: str
    where: TraceRef | None


@dataclass(frozen=True, slots=True)
class _Open:
    message: Diagnostic
    gateway: Gateway


class Calls:
    """Turns ``model.call.*`` into spans."""

    def __init__(self, dropped: Callable[[Span], None]) -> None:
        """No call is under way; ``dropped`` is told of calls that the table had no room for."""
        self._open: OpenTable[tuple[str, str], _Open] = OpenTable(MAX_CALLS, lambda _: dropped(Span.CHAT))

    def __len__(self) -> int:
        return len(self._open)

    def diagnostic(self, message: Diagnostic, gateway: Gateway) -> CallSpan | None:
        """Take in an event of the bus; a call that ended with it comes back as a span."""
        key = (gateway.link, message.call)
        if message.event == STARTED:
            self._open.put(key, _Open(message, gateway))
            return None
        if message.event not in {COMPLETED, ERROR}:
            return None
        begun = self._open.pop(key)
        end_ns = message.at_ns
        start_ns = begun.message.at_ns if begun else end_ns - _duration_ns(message)
        attributes = _attributes(message, gateway)
        attributes[Attribute.CALL_DURATION] = (_duration_ns(message) or end_ns - start_ns) / 1e9
        failed = message.event == ERROR
        fact = _span(message, start_ns, end_ns, attributes, error=error_type(message.error) if failed else "")
        return CallSpan(fact, message.run, place(message) or (place(begun.message) if begun else None))

    def lost(self, link: str, at_ns: int, ending: Ending) -> list[CallSpan]:
        """The calls of a link that is gone."""
        return [_broken(call, at_ns, ending) for call in self._open.take(lambda call: call.gateway.link == link)]

    def flush(self, at_ns: int) -> list[CallSpan]:
        """All calls, at the end of the sidecar."""
        return [_broken(call, at_ns, Ending.SIDECAR_STOPPED) for call in self._open.take()]


def provider_name(provider: str) -> str:
    """The conventions' name of a provider, or the gateway's own where they have none."""
    return PROVIDERS.get(provider, token(provider))


def duration_seconds(message: Diagnostic) -> float:
    """How long the call took by the gateway's account."""
    return message.duration_ms / _MS_PER_SECOND


def _duration_ns(message: Diagnostic) -> int:
    return int(max(0.0, min(message.duration_ms, 1e12)) * _NS_PER_MS)


def place(message: Diagnostic) -> TraceRef | None:
    """The event's own span is the call in the gateway's eyes; the run's span is its parent."""
    sampled = not message.unsampled if message.exported else None
    where = TraceRef.parse(message.trace, message.parent, sampled=sampled)
    return where if where is not None and where.span_id else None


def _broken(call: _Open, at_ns: int, ending: Ending) -> CallSpan:
    start_ns = call.message.at_ns
    attributes = _attributes(call.message, call.gateway)
    fact = _span(call.message, start_ns, at_ns, attributes, error=ending.value, description=ending.sentence)
    return CallSpan(fact, call.message.run, place(call.message))


def _span(
    message: Diagnostic, start_ns: int, end_ns: int, attributes: Attributes, *, error: str, description: str = ""
) -> SpanFact:
    return SpanFact(
        name=Span.CHAT,
        suffix=token(message.model),
        start_ns=start_ns,
        end_ns=end_ns,
        attributes=attributes,
        client=True,
        ids=None if message.exported else _own_ids(message),
        error=error,
        description=description or ("the model call failed" if error else ""),
    )


def _own_ids(message: Diagnostic) -> TraceRef | None:
    """What the gateway tells the provider that its parent is (W3C traceparent)."""
    ids = TraceRef.parse(message.trace, message.span)
    return ids if ids is not None and ids.span_id else None


def _attributes(message: Diagnostic, gateway: Gateway) -> Attributes:
    known: Attributes = {
        Attribute.GEN_AI_OPERATION: Span.CHAT.value,
        Attribute.GEN_AI_PROVIDER: provider_name(message.provider),
        Attribute.GEN_AI_MODEL: token(message.model),
        Attribute.GEN_AI_CONVERSATION: token(message.session),
        Attribute.GEN_AI_INPUT_TOKENS: message.input_tokens,
        Attribute.GEN_AI_OUTPUT_TOKENS: message.output_tokens,
        Attribute.RUN_ID: token(message.run),
        Attribute.CALL_ID: token(message.call),
    }
    return {**{key: value for key, value in known.items() if value not in {"", 0}}, **of_gateway(gateway)}

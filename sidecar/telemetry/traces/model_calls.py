"""Model calls, by the gen_ai conventions, from the gateway's diagnostics events."""

from collections.abc import Callable
from typing import Final

from sidecar.core.facts.bounded import Bounded
from sidecar.core.facts.gateway import Gateway
from sidecar.core.facts.units import NS_PER_MS
from sidecar.core.facts.value import Value
from sidecar.core.outcomes import Ending
from sidecar.core.reports import Diagnostic
from sidecar.telemetry.names.attributes import Attributes, error_type, of_gateway, sentence, token
from sidecar.telemetry.names.labels import PROVIDERS
from sidecar.telemetry.names.names import Attribute, Span
from sidecar.telemetry.names.traceref import TraceRef
from sidecar.telemetry.traces.span import SpanFact

MAX_CALLS: Final = 1_024

STARTED: Final = "model.call.started"
COMPLETED: Final = "model.call.completed"
ERROR: Final = "model.call.error"
_ENDS: Final = frozenset({COMPLETED, ERROR})


class CallEnded(Value, frozen=True):
    """A call that is over.

    Attributes:
        report: What the gateway reported last of it: its end, or its start where no end was reported.
        gateway: Who made it.
        start_ns: When it began.
        end_ns: When it ended.
        ending: How, `Ending.ENDED` for one that completed or failed.
        where: Its place in the gateway's trace; None when the gateway told none.
    """

    report: Diagnostic
    gateway: Gateway
    start_ns: int
    end_ns: int
    ending: Ending
    where: TraceRef | None


class ModelCalls:
    """Model calls under way."""

    def __init__(self, dropped: Callable[[Span], None]) -> None:
        self._open: Bounded[tuple[str, str], tuple[Diagnostic, Gateway]] = Bounded(
            MAX_CALLS, lambda _: dropped(Span.CHAT)
        )

    def diagnostic(self, report: Diagnostic, gateway: Gateway) -> CallEnded | None:
        """Take in an event of the bus.

        Returns:
            The call that ended with it.
        """
        if report.event == STARTED:
            self._open.put((gateway.link, report.call), (report, gateway))
            return None
        if report.event not in _ENDS:
            return None
        begun = self._open.pop((gateway.link, report.call))
        start_ns = begun[0].at_ns if begun else report.at_ns - duration_ns(report)
        where = _place(report) or (_place(begun[0]) if begun else None)
        return CallEnded(report, gateway, start_ns, report.at_ns, Ending.ENDED, where)

    def lost(self, link: str, at_ns: int, ending: Ending) -> list[CallEnded]:
        """The calls of a link that is gone."""
        return [_broken(call, at_ns, ending) for call in self._open.take(lambda call: call[1].link == link)]

    def flush(self, at_ns: int) -> list[CallEnded]:
        """All calls, at the end of the sidecar."""
        return [_broken(call, at_ns, Ending.SIDECAR_STOPPED) for call in self._open.take()]


def call_span(call: CallEnded) -> SpanFact:
    """The span of a call that is over."""
    report = call.report
    attributes = _attributes(report, call.gateway)
    error = "" if call.ending is Ending.ENDED else call.ending.value
    if call.ending is Ending.ENDED:
        attributes[Attribute.CALL_DURATION] = (duration_ns(report) or call.end_ns - call.start_ns) / 1e9
        error = error_type(report.error) if report.event == ERROR else ""
    return SpanFact(
        name=Span.CHAT,
        suffix=token(report.model),
        start_ns=call.start_ns,
        end_ns=call.end_ns,
        attributes=attributes,
        client=True,
        ids=None if report.exported else own_ids(report),
        error=error,
        description=sentence(call.ending) or ("the model call failed" if error else ""),
    )


def provider_name(provider: str) -> str:
    """The conventions' name of a provider, or the gateway's own where they have none."""
    return PROVIDERS.get(provider, token(provider))


def duration_ns(message: Diagnostic) -> int:
    """By the gateway's account; 0 when it gave none."""
    return int(max(0.0, min(message.duration_ms, 1e12)) * NS_PER_MS)


def _place(message: Diagnostic) -> TraceRef | None:
    """The event's own span is the call in the gateway's eyes; the run's span is its parent."""
    sampled = not message.unsampled if message.exported else None
    where = TraceRef.parse(message.trace, message.parent, sampled=sampled)
    return where if where is not None and where.span_id else None


def _broken(call: tuple[Diagnostic, Gateway], at_ns: int, ending: Ending) -> CallEnded:
    report, gateway = call
    return CallEnded(report, gateway, report.at_ns, at_ns, ending, _place(report))


def own_ids(message: Diagnostic) -> TraceRef | None:
    """The event's own span: what the gateway tells a provider that its parent is (W3C traceparent)."""
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

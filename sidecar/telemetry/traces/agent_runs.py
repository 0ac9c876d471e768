"""The span of a run, where the gateway does not export it itself.

All other spans of a run hang below it. A gateway whose own OpenTelemetry plugin runs exports it, and the preload tells
so; without that plugin nobody would, and a backend would show children of a parent that it never sees. Then it is
written here, with the ids that the gateway's diagnostics events give it, as the root of its trace.
"""

from collections.abc import Callable
from typing import Final

from sidecar.core.facts.bounded import Bounded
from sidecar.core.facts.gateway import Gateway
from sidecar.core.outcomes import Ending
from sidecar.core.reports import Diagnostic
from sidecar.telemetry.names.attributes import Attributes, error_type, of_gateway, sentence, token
from sidecar.telemetry.names.names import Attribute, Span
from sidecar.telemetry.traces.model_calls import duration_ns, own_ids, provider_name
from sidecar.telemetry.traces.span import SpanFact

MAX_RUNS: Final = 1_024

STARTED: Final = "run.started"
COMPLETED: Final = "run.completed"
_BOUNDS: Final = frozenset({STARTED, COMPLETED})

_LOST: Final = frozenset({"error", "aborted"})


class AgentRuns:
    """Turns ``run.*`` into spans."""

    def __init__(self, dropped: Callable[[Span], None]) -> None:
        """No run is under way; ``dropped`` is told of runs that the table had no room for."""
        self._open: Bounded[tuple[str, str], tuple[Diagnostic, Gateway]] = Bounded(
            MAX_RUNS, lambda _: dropped(Span.RUN)
        )

    def diagnostic(self, message: Diagnostic, gateway: Gateway) -> SpanFact | None:
        """Take in an event of the bus; a run that ended with it comes back as a span, unless the gateway exports it."""
        if message.event not in _BOUNDS or message.exported or own_ids(message) is None:
            return None
        key = (gateway.link, message.span)
        if message.event == STARTED:
            self._open.put(key, (message, gateway))
            return None
        begun = self._open.pop(key)
        end_ns = message.at_ns
        start_ns = begun[0].at_ns if begun else end_ns - duration_ns(message)
        error = error_type(message.error) if message.state in _LOST else ""
        return _span(message, gateway, start_ns, end_ns, error, "the run failed" if error else "")

    def lost(self, link: str, at_ns: int, ending: Ending) -> list[SpanFact]:
        """The runs of a link that is gone."""
        return [_broken(run, at_ns, ending) for run in self._open.take(lambda run: run[1].link == link)]

    def flush(self, at_ns: int) -> list[SpanFact]:
        """All runs, at the end of the sidecar."""
        return [_broken(run, at_ns, Ending.SIDECAR_STOPPED) for run in self._open.take()]


def _broken(run: tuple[Diagnostic, Gateway], at_ns: int, ending: Ending) -> SpanFact:
    message, gateway = run
    return _span(message, gateway, message.at_ns, at_ns, ending.value, sentence(ending))


def _span(  # noqa: PLR0917 - what a span is made of
    message: Diagnostic, gateway: Gateway, start_ns: int, end_ns: int, error: str, description: str
) -> SpanFact:
    known: Attributes = {
        Attribute.GEN_AI_OPERATION: Span.RUN.value,
        Attribute.GEN_AI_PROVIDER: provider_name(message.provider),
        Attribute.GEN_AI_MODEL: token(message.model),
        Attribute.GEN_AI_CONVERSATION: token(message.session),
        Attribute.RUN_ID: token(message.run),
    }
    return SpanFact(
        name=Span.RUN,
        start_ns=start_ns,
        end_ns=end_ns,
        attributes={**{key: value for key, value in known.items() if value}, **of_gateway(gateway)},
        error=error,
        description=description,
        ids=own_ids(message),
    )

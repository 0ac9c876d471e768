"""Verdicts as spans below their window.

A verdict's span lasts from what made the core look, such as a gateway's question, to the decision. A verdict that is
saved and leads to no answer, such as a takeover that is found before the gateway asks, gets a span too: once for each
new verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sidecar.core.decisions import Approve, Refuse
from sidecar.telemetry.labels import NONE
from sidecar.telemetry.names import Attribute, Span
from sidecar.telemetry.span import SpanFact

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.core.events import VerdictAsked
    from sidecar.core.incident import Incident
    from sidecar.telemetry.windows import OpenWindow

MAX_ASKED: Final = 64
"""Questions without an answer that are kept for a window; a gateway asks one at a time."""


@dataclass(frozen=True, slots=True)
class _Unanswered:
    window: OpenWindow
    incident: Incident
    at_ns: int


class Judgements:
    """Follows the core from question to answer."""

    def __init__(self, clock: Callable[[], int]) -> None:
        """Nothing is asked; ``clock`` tells when a decision is made, nanoseconds since the epoch."""
        self._clock = clock
        self._unanswered: dict[str, _Unanswered] = {}

    def asked(self, window: OpenWindow, event: VerdictAsked) -> None:
        """A gateway waits."""
        window.looked_ns = event.at_ns
        window.asked[event.ask] = event.at_ns
        if len(window.asked) > MAX_ASKED:
            del window.asked[next(iter(window.asked))]

    def saved(self, window: OpenWindow, incident: Incident) -> None:
        """The window's incident is new or has changed."""
        if incident.taken_in:
            self._taken_in(window, incident)
            return
        known = window.incident
        window.judged(incident)
        if known is None or (known.verdict, known.grade) != (incident.verdict, incident.grade):
            self._unanswered[window.window_id] = _Unanswered(window, incident, self._clock())

    def _taken_in(self, window: OpenWindow, incident: Incident) -> None:
        if window.taken_in is None:
            verdict = incident.verdict.value
            window.children.append(_verdict_span(incident, verdict, NONE, window.looked_ns, self._clock()))
        window.took_in(incident)

    def answered(self, window: OpenWindow, decision: Approve | Refuse) -> None:
        """The gateway gets its answer, asked for or ahead of the question."""
        self._unanswered.pop(window.window_id, None)
        start_ns = window.asked.pop(decision.ask, window.looked_ns)
        if isinstance(decision, Refuse):
            answer, verdict = "refused", decision.verdict.value
        else:
            answer, verdict = "approved", window.incident.verdict.value if window.incident else NONE
        window.children.append(_verdict_span(window.incident, verdict, answer, start_ns, self._clock()))

    def settle(self) -> None:
        """What has no answer by now gets none."""
        for found in self._unanswered.values():
            incident = found.incident
            span = _verdict_span(incident, incident.verdict.value, NONE, found.window.looked_ns, found.at_ns)
            found.window.children.append(span)
        self._unanswered.clear()


def _verdict_span(incident: Incident | None, verdict: str, answer: str, start_ns: int, end_ns: int) -> SpanFact:
    attributes: dict[Attribute, str | int | float | bool] = {Attribute.VERDICT: verdict, Attribute.ANSWER: answer}
    if incident is not None:
        attributes[Attribute.EVIDENCE] = incident.grade.value
        attributes[Attribute.INCIDENT_ID] = incident.incident_id
    return SpanFact(name=Span.VERDICT, start_ns=start_ns, end_ns=end_ns, attributes=attributes)

"""Incidents as log records: a line on standard error, and a record over OTLP where a backend for logs is named.

The record names what was found by ids and closed words; the incident's sentences stay in the store.
"""

from collections.abc import Callable
from typing import Final

import structlog
from opentelemetry._logs import Logger, LogRecord, SeverityNumber

from sidecar.core.verdict.incident import Incident, Outcome
from sidecar.core.verdict.judge import Verdict
from sidecar.telemetry.names.attributes import of_gateway, of_incident, of_run
from sidecar.telemetry.names.names import Attribute
from sidecar.telemetry.names.traceref import TraceRef
from sidecar.telemetry.traces.span import encodable

EVENT_NAME: Final = "openclaw.session.incident"

_NUMBERS: Final = {SeverityNumber.INFO: 20, SeverityNumber.WARN: 30, SeverityNumber.ERROR: 40}
"""The standard library's numbers of the levels."""

log = structlog.get_logger("sidecar.incidents")


class IncidentLog:
    """Says each thing that an incident comes to."""

    def __init__(self, logger: Logger | None, head: Callable[[], str]) -> None:
        """``logger`` is the SDK's; None when no backend wants log records.

        ``head`` gives the last entry of the chain of records; it goes along, so that a chain that is made anew later
        differs from what has been told.
        """
        self._logger = logger
        self._head = head

    def changed(self, incident: Incident, where: TraceRef | None, now_ns: int) -> None:
        """The incident has come to something new, which is on record as far as it could be put there."""
        severity, head = _severity(incident), self._head()
        trace = {} if where is None else where.log_fields()
        log.log(
            _NUMBERS[severity],
            "incident",
            **trace,
            id=incident.incident_id,
            verdict=incident.verdict.value,
            reason=incident.reason.code.value,
            outcome=incident.recovery.outcome.value,
            turn_lost=incident.turn_lost,
            **({"lost_to": incident.lost.cause.value} if incident.lost is not None else {}),
            closed=incident.closed_at_ns > 0,
            file=incident.session_file,
            record=head,
        )
        if self._logger is not None:
            self._logger.emit(_record(incident, severity, where, head, now_ns))


def _severity(incident: Incident) -> SeverityNumber:
    """As the page that it leads to: a person is woken, someone should look, or all is well."""
    if incident.verdict is Verdict.EXTERNAL or incident.recovery.outcome is Outcome.INEFFECTIVE:
        return SeverityNumber.ERROR
    if incident.verdict is Verdict.UNATTRIBUTED or incident.turn_lost:
        return SeverityNumber.WARN
    return SeverityNumber.INFO


def _record(incident: Incident, severity: SeverityNumber, where: TraceRef | None, head: str, now_ns: int) -> LogRecord:
    attributes = {
        Attribute.FILE_PATH: incident.session_file,
        **of_run(incident.run),
        **of_gateway(incident.gateway),
        **of_incident(incident),
        Attribute.RECORD: head,
    }
    return LogRecord(
        timestamp=incident.opened_at_ns,
        observed_timestamp=now_ns,
        context=None if where is None else where.context(sampled=where.sampled is not False),
        severity_number=severity,
        severity_text=severity.name,
        body=f"session incident: {incident.verdict.value}, recovery {incident.recovery.outcome.value}",
        attributes=encodable(attributes),
        event_name=EVENT_NAME,
    )

"""Incidents as log records, with the ids of the trace that they belong to."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final

import pytest
import structlog

from sidecar.core.engine import Engine
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.value import replace
from sidecar.core.policy.policy import Mode, Policy
from sidecar.core.verdict.incident import Outcome
from sidecar.core.verdict.judge import Verdict
from sidecar.telemetry import Telemetry, configure_logging
from tests.telemetry import facts
from tests.telemetry.facts import FILE, GATEWAY, RUN_SPAN, SECOND, T0, TRACE
from tests.telemetry.receivers import Received, grpc_backend, http_backend

SECRET: Final = "My password is hunter2"
HEAD: Final = "12:0123456789abcdef"


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.reset_defaults()


def save(telemetry: Telemetry, verdict: Verdict = Verdict.EXTERNAL, outcome: Outcome = Outcome.REFUSED) -> None:
    reason = Reason.of(ReasonCode.PRELOAD_REFUSED, problem=SECRET)
    telemetry.recorded(facts.incident(verdict, outcome, reason=reason))


@pytest.mark.parametrize(("protocol", "serve"), [("grpc", grpc_backend), ("http/protobuf", http_backend)])
def test_an_incident_reaches_a_real_backend_as_a_log_record(
    protocol: str, serve: Callable[[], AbstractContextManager[Received]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve() as received:
        path = "/v1/logs" if protocol != "grpc" else ""
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", received.endpoint + path)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", protocol)
        telemetry = Telemetry(head=lambda: HEAD)
        assert telemetry._tracer is None
        telemetry.diagnostic(facts.run_started(T0), GATEWAY)
        save(telemetry)
        telemetry.shutdown()
    (record,) = received.records
    assert (record.trace_id.hex(), record.span_id.hex()) == (TRACE, RUN_SPAN)
    assert (record.severity_text, record.event_name) == ("ERROR", "openclaw.session.incident")
    assert record.body.string_value == "session incident: external, recovery refused"
    found = {a.key: a.value.string_value for a in record.attributes}
    assert (found["openclaw.verdict"], found["file.path"]) == ("external", FILE)
    assert found["openclaw.record"] == HEAD
    assert SECRET not in str(received.logs)
    assert (received.traces, received.metrics) == ([], [])
    assert telemetry.exports["logs"].delivered == 1


def test_each_thing_that_an_incident_comes_to_is_a_line(lines: Callable[[], list[dict[str, Any]]]) -> None:
    telemetry = Telemetry()
    telemetry.diagnostic(facts.run_started(T0), GATEWAY)
    incident = facts.incident()
    for change in (incident, replace(incident, closed_at_ns=T0 + SECOND)):
        telemetry.recorded(change)
    save(telemetry)
    telemetry.shutdown()
    told = [(line["level"], line["verdict"], line["closed"], line["trace_id"]) for line in lines()]
    assert told == [
        ("info", "co_tenant", False, TRACE),
        ("info", "co_tenant", True, TRACE),
        ("error", "external", False, TRACE),
    ]
    assert SECRET not in str(lines())


def test_a_line_about_an_event_carries_the_ids_of_its_trace(lines: Callable[[], list[dict[str, Any]]]) -> None:
    core = Engine(Policy(), Mode.RECOVER)
    telemetry = Telemetry(core=core)
    telemetry.diagnostic(facts.run_started(T0), GATEWAY)
    core.handle(facts.fence(T0))
    log = structlog.get_logger()
    for event in (facts.closed(T0 + 1), facts.taken(T0), facts.taken(T0, facts.COTENANT)):
        with telemetry.within(event):
            log.info("within")
    log.info("after")
    telemetry.shutdown()
    ids = [(line.get("trace_id"), line.get("span_id")) for line in lines()]
    assert ids == [(TRACE, RUN_SPAN), (TRACE, RUN_SPAN), (None, None), (None, None)]


def test_an_unclear_change_and_a_lost_turn_are_warnings(lines: Callable[[], list[dict[str, Any]]]) -> None:
    telemetry = Telemetry()
    save(telemetry, Verdict.UNATTRIBUTED)
    lost = facts.incident(Verdict.CO_TENANT, Outcome.NOT_ATTEMPTED, turn_lost=True)
    telemetry.recorded(lost)
    save(telemetry, Verdict.CO_TENANT, Outcome.INEFFECTIVE)
    telemetry.shutdown()
    assert [line["level"] for line in lines()] == ["warning", "warning", "error"]

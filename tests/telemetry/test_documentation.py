"""docs/telemetry.md, the names and what a run emits are the same."""

import re
from pathlib import Path
from typing import Final

from opentelemetry.semconv._incubating.attributes import file_attributes, gen_ai_attributes, thread_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.semconv.attributes import error_attributes
from prometheus_client.parser import text_string_to_metric_families

from sidecar.core import events as ev
from sidecar.core.facts.database import LockError
from sidecar.core.facts.gateway import Run
from sidecar.core.facts.loss import Loss
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.turn_loss import LossCause
from sidecar.core.facts.value import replace
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.outcomes import Answer
from sidecar.core.verdict.incident import Outcome
from sidecar.telemetry.metrics.catalogue import INSTRUMENTS
from sidecar.telemetry.metrics.gateways import MODEL_DURATION
from sidecar.telemetry.names import names
from sidecar.telemetry.names.names import Attribute, Label, Moment, Span
from tests.telemetry import facts
from tests.telemetry.conftest import Bench
from tests.telemetry.facts import FILE, GATEWAY, MS, RUN_SPAN, SECOND, T0, TRACE
from tests.telemetry.test_gauges import Source

TEXT: Final = (Path(__file__).parents[2] / "docs" / "telemetry.md").read_text(encoding="utf-8")
CRON: Final = Writer(kind=WriterKind.CRON, name="daily", pid=1, run_id="run-1")


def table(head: str) -> list[list[str]]:
    """The cells of the rows below a head."""
    lines = iter(TEXT.splitlines())
    for line in lines:
        if line.startswith(f"| {head} |"):
            break
    rows = []
    for line in list(lines)[1:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def ticked(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def first_column(head: str) -> list[str]:
    return [name for row in table(head) for name in ticked(row[0])]


def test_every_span_event_and_attribute_is_documented() -> None:
    assert first_column("span | kind") == [span.value for span in Span]
    assert sorted(first_column("event | on")) == sorted(moment.value for moment in Moment)
    assert sorted(first_column("attribute | on")) == sorted(attribute.value for attribute in Attribute)


def test_every_metric_is_documented_with_its_type_labels_and_meaning() -> None:
    documented = {ticked(row[0])[0]: (row[2], ticked(row[3]), row[4]) for row in table("metric | in Prometheus")}
    assert documented == {i.name: (i.kind.value, [label.value for label in i.labels], i.help) for i in INSTRUMENTS}


def test_the_names_in_prometheus_are_those_of_a_scrape(bench: Bench) -> None:
    everything(bench)
    bench.telemetry.bind_status(Source().status)
    body = bench.telemetry.render_metrics()[0].decode()
    scraped = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in text_string_to_metric_families(body)
        if family.name != "target_info"  # the resource, as Prometheus wants it
    }
    assert scraped == {ticked(row[1])[0] for row in table("metric | in Prometheus")}


def test_every_value_of_a_label_is_documented() -> None:
    documented: dict[tuple[str, str], set[str]] = {}
    for label, values in table("label | values"):
        name, *metrics = ticked(label)
        for metric in metrics or [""]:
            documented[name, metric] = set(values.split(", "))
    for instrument in INSTRUMENTS:
        for key, allowed in instrument.labels.items():
            short = instrument.name.removeprefix("openclaw.sidecar.")
            found = documented.get((key.value, short)) or documented[key.value, ""]
            bound = "agent ids, the first 32 to be seen" if key is Label.AGENT else "fixed by the build"
            assert found == set(allowed or bound.split(", ")), (key, short)
    assert {name for name, _ in documented} == {label.value for label in Label}


def test_a_run_emits_every_attribute_and_event_and_no_other(bench: Bench) -> None:
    everything(bench)
    bench.telemetry.shutdown()
    attributes: set[str] = set()
    moments: set[str] = set()
    for span in bench.spans():
        attributes |= set(span.attributes or {})
        for event in span.events:
            moments.add(event.name)
            attributes |= set(event.attributes or {})
    assert attributes == {attribute.value for attribute in Attribute} - {Attribute.RECORD.value}, "of log records only"
    assert moments == {moment.value for moment in Moment}
    assert {span.name.split()[0] for span in bench.spans()} == {span.value for span in Span}


def test_the_conventions_names_are_those_of_the_conventions() -> None:
    conventions = {
        **{v: k for k, v in vars(gen_ai_attributes).items() if k.isupper()},
        file_attributes.FILE_PATH: "",
        error_attributes.ERROR_TYPE: "",
        thread_attributes.THREAD_ID: "",
    }
    for attribute in Attribute:
        assert attribute.value.startswith("openclaw.") or attribute.value in conventions
    assert MODEL_DURATION.name == gen_ai_metrics.GEN_AI_CLIENT_OPERATION_DURATION
    values = {value.value for value in gen_ai_attributes.GenAiProviderNameValues}
    assert {"anthropic", "aws.bedrock", "gcp.gemini", "mistral_ai", "openai", "x_ai"} <= values
    assert names.SERVICE in TEXT


def everything(bench: Bench) -> None:
    """A run in which every kind of thing happens."""
    telemetry = bench.telemetry
    run = Run(run_id="run-1", kind="cron", name="daily", session="5e55", trace_id=TRACE, span_id=RUN_SPAN)
    telemetry.diagnostic(facts.run_started(T0), GATEWAY)
    bench.tell(
        facts.opened(),
        facts.claimed(T0),
        facts.taken(T0, CRON),
        facts.released(T0 + MS, CRON),
        facts.taken(T0 + 2 * MS, CRON, "h2"),
        facts.released(T0 + 3 * MS, CRON, "h2"),
    )
    telemetry.diagnostic(facts.run_completed(T0 + 9 * SECOND), GATEWAY)
    telemetry.diagnostic(facts.diagnostic("model.call.started", T0), GATEWAY)
    failed = facts.diagnostic("model.call.error", T0 + SECOND, error="timeout", input_tokens=1, output_tokens=1)
    doubted = replace(GATEWAY, unverified=Reason(ReasonCode.LINK_PINNED))
    telemetry.diagnostic(failed, doubted)
    telemetry.diagnostic(facts.diagnostic("session.stuck", T0), GATEWAY)
    incident = facts.incident(outcome=Outcome.APPLIED, turn_lost=True)
    bench.tell(
        facts.asked(T0, run=run),
        facts.changed(incident),
        facts.given(incident, Answer.APPROVED),
        facts.fence(T0 + SECOND, run=run),
        facts.wrote(T0 + SECOND, CRON),
        ev.AccountBroken(loss=Loss.OVERFLOW, reason=facts.OVERFLOWED, at_ns=T0 + SECOND),
        facts.applied(T0 + SECOND),
        facts.tripped(T0 + SECOND, run=run),
        facts.closed(T0 + 2 * SECOND, takeover=True),
        facts.fence(T0 + 3 * SECOND, window="w2"),
        facts.lost(T0 + 4 * SECOND, LossCause.BUSY, window="w2"),
        facts.closed(T0 + 4 * SECOND, window="w2"),
        facts.foreign(T0),
        facts.database_locked(T0 + SECOND, error=LockError.BUSY),
        facts.foreign(T0, until_ns=T0 + 2 * SECOND),
        facts.database_locked(T0 + 3 * SECOND, held_ns=MS),
    )
    telemetry.answered(0.01)
    telemetry.delayed(0.01)
    lane = facts.diagnostic("log.lane_task_error", T0 + 4 * SECOND, duration_ms=4000.0, reason="takeover", file=FILE)
    telemetry.diagnostic(lane, GATEWAY)

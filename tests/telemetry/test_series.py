"""Labels are closed sets, and the number of series is capped (rule 8)."""

import itertools
from importlib import import_module
from pkgutil import iter_modules
from threading import Thread
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from sidecar.core.facts.gateway import Run
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.telemetry import Telemetry, metrics, open_pipeline
from sidecar.telemetry.metrics.catalogue import INSTRUMENTS
from sidecar.telemetry.metrics.instrument import MAX_ZEROED, Instrument, Kind
from sidecar.telemetry.metrics.link import REJECTED, REPORTS
from sidecar.telemetry.metrics.locks import LOCK_FAILURES, LOCK_WAIT
from sidecar.telemetry.metrics.meters import Cap, Meters
from sidecar.telemetry.metrics.scrape import Scrape
from sidecar.telemetry.metrics.service import LOG_LINES, PAGES
from sidecar.telemetry.metrics.windows import WRITTEN
from sidecar.telemetry.names.labels import OTHER, Rejection
from sidecar.telemetry.names.names import Label
from tests.telemetry import facts
from tests.telemetry.conftest import Bench
from tests.telemetry.facts import GATEWAY, MS, SECOND, T0


def lines(telemetry: Telemetry) -> list[str]:
    body, _ = telemetry.render_metrics()
    return [line for line in body.decode().splitlines() if line and not line.startswith(("#", "target_info"))]


def test_every_metric_is_declared_once() -> None:
    assert len({i.name for i in INSTRUMENTS}) == len(INSTRUMENTS)
    assert all(isinstance(getattr(family, name), Instrument) for family, name in declared())
    assert len(declared()) == len(INSTRUMENTS)


def declared() -> list[tuple[ModuleType, str]]:
    """Names of instruments at the top of each module of the room."""
    modules = [import_module(f"{metrics.__name__}.{found.name}") for found in iter_modules(metrics.__path__)]
    return [(module, n) for module in modules for n, v in vars(module).items() if isinstance(v, Instrument)]


@given(st.dictionaries(st.sampled_from(Label), st.text()))
def test_whatever_comes_labels_stay_in_their_sets(labels: dict[Label, str]) -> None:
    for instrument in INSTRUMENTS:
        for key, value in instrument.close(labels).items():
            allowed = instrument.labels[Label(key)]
            assert allowed is None or value in allowed | {OTHER}
            assert type(value) is str


def test_no_id_name_model_or_text_becomes_a_label(bench: Bench) -> None:
    secret = "zq-secret-77"
    writer = Writer(kind=WriterKind.CRON, name=secret, pid=12, run_id=secret)
    run = Run(run_id=secret, kind=secret, name=secret, session=secret, trace_id=secret, span_id=secret)
    bench.tell(facts.fence(T0, run=run, window=secret, file=secret), facts.taken(T0, writer, hold=secret))
    bench.tell(facts.wrote(T0, writer), facts.released(T0 + MS, writer, hold=secret), facts.closed(T0, window=secret))
    for event in ("model.call.started", "model.call.error", "session.stalled", "session.stuck"):
        fields = dict.fromkeys(("run", "call", "session", "provider", "model", "state", "reason", "error"), secret)
        bench.telemetry.diagnostic(facts.diagnostic(event, T0, **fields), GATEWAY)
    bench.telemetry.lock_failed(facts.lock_failed(T0, reason=secret, run=secret))
    bench.telemetry.rejected(secret)
    bench.telemetry.page(secret)
    bench.telemetry.logged(secret)
    body, _ = bench.telemetry.render_metrics()
    assert secret not in body.decode()
    for metric in (REJECTED, PAGES, LOCK_FAILURES, LOG_LINES):
        assert bench.value(metric, **dict.fromkeys(metric.labels, OTHER)) == 1


def test_an_enum_and_its_word_are_the_same_label(bench: Bench) -> None:
    bench.telemetry.rejected(Rejection.TOO_LARGE)
    bench.telemetry.rejected("too_large")
    found = [line for line in lines(bench.telemetry) if 'reason="too_large"' in line]
    assert found == ['openclaw_sidecar_input_rejected_total{reason="too_large"} 2.0']


def test_the_order_of_labels_makes_no_other_series() -> None:
    pipeline = open_pipeline()
    meters = Meters(pipeline.meter, INSTRUMENTS)
    labels = {Label.AGENT: "main", Label.WRITER_KIND: "cron"}
    for _ in range(2):
        meters.add(WRITTEN, 5, labels)
        meters.add(WRITTEN, 5, dict(reversed(labels.items())))
    scrape = generate_latest(Scrape(meters, pipeline.resource)).decode().splitlines()
    assert 'openclaw_sidecar_written_bytes_total{agent="main",writer_kind="cron"} 20.0' in scrape


def test_words_outside_of_the_closed_sets_take_no_room() -> None:
    meters = Meters(open_pipeline().meter, INSTRUMENTS)
    meters.add(REJECTED, labels={Label.REASON: "a word"})
    before = len(meters._counters)
    for number in range(100):
        meters.add(REJECTED, labels={Label.REASON: f"word {number}"})
    assert len(meters._counters) == before


def test_threads_that_count_at_once_lose_nothing() -> None:
    pipeline = open_pipeline()
    meters = Meters(pipeline.meter, INSTRUMENTS)

    def count() -> None:
        for _ in range(20_000):
            meters.add(REPORTS)

    threads = [Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (series,) = meters.read(REPORTS)
    assert series.total == 80_000


def test_a_scrape_holds_no_series_twice(bench: Bench) -> None:
    bench.tell(facts.fence(T0), facts.closed(T0 + SECOND), facts.taken(T0), facts.released(T0 + MS))
    names = [line.rpartition(" ")[0] for line in lines(bench.telemetry)]
    assert len(names) == len(set(names))


def test_the_cap_counts_series_as_prometheus_does(bench: Bench) -> None:
    bench.tell(facts.fence(T0), facts.closed(T0 + SECOND), facts.taken(T0), facts.released(T0 + MS))
    assert bench.telemetry._meters.series == len(lines(bench.telemetry))


def test_beyond_the_cap_new_series_are_dropped_and_counted() -> None:
    started = Meters(open_pipeline().meter, INSTRUMENTS).series
    pipeline = open_pipeline()
    meters = Meters(pipeline.meter, INSTRUMENTS, max_series=started + 3)
    for kind, _ in itertools.product(list(WriterKind)[:5], range(2)):
        meters.add(WRITTEN, 1, {Label.WRITER_KIND: kind})
    meters.record(LOCK_WAIT, 1.0, {Label.WRITER_KIND: "cron"})
    scrape = generate_latest(Scrape(meters, pipeline.resource)).decode().splitlines()
    assert meters.series == started + 3
    assert sum(line.startswith("openclaw_sidecar_written_bytes_total{") for line in scrape) == 3
    assert "openclaw_sidecar_series_dropped_total 5.0" in scrape
    assert not any(line.startswith("openclaw_sidecar_lock_wait") for line in scrape)


def test_a_known_series_goes_on_when_the_cap_is_reached() -> None:
    cap = Cap(2)
    counter = WRITTEN
    assert cap.admits(counter, {"writer_kind": "cron"})
    assert cap.admits(counter, {"writer_kind": "cli"})
    assert not cap.admits(counter, {"writer_kind": "inject"})
    assert cap.admits(counter, {"writer_kind": "cron"})
    assert not cap.admits(LOCK_WAIT, {"writer_kind": "cron"})


def test_counters_with_few_label_sets_start_at_zero(bench: Bench) -> None:
    expected = {
        *("openclaw_sidecar_incidents_total", "openclaw_sidecar_pages_total", "openclaw_sidecar_turns_lost_total"),
        "openclaw_sidecar_input_rejected_total",
    }
    zeroed = {line.partition("{")[0] for line in lines(bench.telemetry) if line.endswith(" 0.0")}
    assert expected <= zeroed
    assert 'openclaw_sidecar_incidents_total{verdict="external"} 0.0' in lines(bench.telemetry)
    assert sum(len(line) > 0 for line in lines(bench.telemetry)) < 200
    assert all(not i.zeroed for i in INSTRUMENTS if i.kind is not Kind.COUNTER)
    assert len(WriterKind) > MAX_ZEROED


@pytest.mark.parametrize("accept", ["", "text/plain", "application/openmetrics-text; version=1.0.0"])
def test_a_scrape_answers_in_the_format_that_it_was_asked_for(bench: Bench, accept: str) -> None:
    bench.tell(facts.taken(T0), facts.released(T0 + MS))
    body, content_type = bench.telemetry.render_metrics(accept)
    openmetrics = "openmetrics" in accept
    assert content_type.startswith("application/openmetrics-text" if openmetrics else "text/plain")
    assert body.decode().endswith("# EOF\n") is openmetrics
    text = body.decode().removesuffix("# EOF\n")
    assert len(list(text_string_to_metric_families(text))) > 20

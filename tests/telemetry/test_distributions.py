"""A histogram that is added up here looks to every reader as if the SDK had made it."""

import pytest
from opentelemetry.sdk.metrics import Histogram as SdkHistogram
from opentelemetry.sdk.metrics import ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, Histogram, HistogramDataPoint, InMemoryMetricReader
from prometheus_client import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from sidecar.telemetry import open_pipeline
from sidecar.telemetry.metrics.catalogue import INSTRUMENTS
from sidecar.telemetry.metrics.locks import LOCK_HOLD
from sidecar.telemetry.metrics.meters import Meters
from sidecar.telemetry.metrics.scrape import Scrape
from sidecar.telemetry.names.names import Label
from sidecar.telemetry.names.traceref import TraceRef
from sidecar.telemetry.otlp.pipeline import Pipeline

LABELS = {Label.WRITER_KIND: "cron"}
PLACE = TraceRef(7, 9)
DELTA: dict[type, AggregationTemporality] = dict.fromkeys(
    (SdkHistogram, ObservableCounter), AggregationTemporality.DELTA
)


def collected(reader: InMemoryMetricReader) -> Histogram | None:
    data = reader.get_metrics_data()
    found = [
        metric.data
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == LOCK_HOLD.name
    ]
    assert all(isinstance(histogram, Histogram) for histogram in found)
    return found[0] if found else None  # type: ignore[return-value] # asserted above


def the_point(reader: InMemoryMetricReader) -> HistogramDataPoint:
    histogram = collected(reader)
    assert histogram is not None
    (point,) = histogram.data_points
    return point


def opened(*readers: InMemoryMetricReader) -> tuple[Meters, Pipeline]:
    pipeline = open_pipeline(metric_readers=readers)
    return Meters(pipeline.meter, INSTRUMENTS), pipeline


def test_a_point_has_count_sum_extremes_and_buckets() -> None:
    reader = InMemoryMetricReader()
    meters, _ = opened(reader)
    for seconds in (0.001, 0.7, 0.8, 700.0, -1.0):
        meters.record(LOCK_HOLD, seconds, LABELS)
    point = the_point(reader)
    assert (point.count, point.min, point.max) == (5, 0.0, 700.0)
    assert point.sum == pytest.approx(701.501)
    counts = dict(zip((*point.explicit_bounds, float("inf")), point.bucket_counts, strict=True))
    assert {bound: count for bound, count in counts.items() if count} == {0.001: 2, 1.0: 2, float("inf"): 1}
    assert point.attributes == {"writer_kind": "cron"}
    assert 0 < point.start_time_unix_nano <= point.time_unix_nano


def test_all_readers_and_the_scrape_see_the_same() -> None:
    first, second = InMemoryMetricReader(), InMemoryMetricReader()
    meters, pipeline = opened(first, second)
    meters.record(LOCK_HOLD, 0.7, LABELS)
    the_point(first)
    meters.record(LOCK_HOLD, 0.1, LABELS)
    one, other = the_point(first), the_point(second)
    assert (one.count, one.sum, one.bucket_counts) == (other.count, other.sum, other.bucket_counts)
    assert one.start_time_unix_nano == other.start_time_unix_nano
    scrape = generate_latest(Scrape(meters, pipeline.resource)).decode().splitlines()
    assert 'openclaw_sidecar_lock_hold_seconds_bucket{le="0.1",writer_kind="cron"} 1.0' in scrape
    assert 'openclaw_sidecar_lock_hold_seconds_bucket{le="+Inf",writer_kind="cron"} 2.0' in scrape
    assert f'openclaw_sidecar_lock_hold_seconds_sum{{writer_kind="cron"}} {one.sum}' in scrape


def test_a_reader_of_deltas_gets_what_was_added_since_its_last_collection() -> None:
    reader = InMemoryMetricReader(preferred_temporality=DELTA)
    meters, _ = opened(reader)
    meters.record(LOCK_HOLD, 0.7, LABELS)
    first = the_point(reader)
    assert collected(reader) is None
    meters.record(LOCK_HOLD, 0.2, LABELS)
    histogram = collected(reader)
    assert histogram is not None
    assert histogram.aggregation_temporality is AggregationTemporality.DELTA
    (point,) = histogram.data_points
    assert (first.count, point.count) == (1, 1)
    assert point.sum == pytest.approx(0.2)
    assert point.start_time_unix_nano >= first.time_unix_nano


def test_each_reader_gets_each_exemplar_once() -> None:
    first, second = InMemoryMetricReader(), InMemoryMetricReader()
    meters, _ = opened(first, second)
    meters.record(LOCK_HOLD, 0.7, LABELS, PLACE)
    for reader in (first, second):
        (exemplar,) = the_point(reader).exemplars
        assert (exemplar.trace_id, exemplar.span_id, exemplar.value) == (7, 9, 0.7)
        assert the_point(reader).exemplars == []


def test_no_exemplar_is_shown_where_the_environment_wants_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXEMPLAR_FILTER", "always_off")
    reader = InMemoryMetricReader()
    meters, pipeline = opened(reader)
    meters.record(LOCK_HOLD, 0.7, LABELS, PLACE)
    assert the_point(reader).exemplars == []
    assert b"trace_id" not in openmetrics.generate_latest(Scrape(meters, pipeline.resource))  # type: ignore[no-untyped-call] # the library leaves it untyped

"""The spans that the gateway's plugin exports are brought together with the bus' ids of them.

The plugin and its SDK are a model here; the real ones are in tests/e2e/test_otel_join.py.
"""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.preload import preload_path
from tests.preload.kit import Evaluator

BUS: Final = {"traceId": "a" * 32, "spanId": "1" * 16, "parentSpanId": "2" * 16}
CALL: Final = {"traceId": "a" * 32, "spanId": "3" * 16, "parentSpanId": "1" * 16}
SDK: Final = """
globalThis.make = (flags = 1, zero = false) => {
  let made = 0;
  const id = (n) => (zero ? "0" : String((made += 1))).repeat(n).slice(0, n);
  const tracer = { startSpan: () => { const c = { traceId: id(32), spanId: id(16), traceFlags: flags };
    return { spanContext: () => c }; } };
  globalThis[Symbol.for("opentelemetry.js.api.1")] = { trace: { getTracer: () => tracer } };
  return tracer;
};
"""
EXPORTED: Final = {"traceId": "1" * 32, "spanId": "2" * 16, "exported": True, "sampled": True}


@pytest.fixture
def evaluator(node: Path, tmp_path: Path) -> Any:  # noqa: ANN401 - a generator of one
    module = (preload_path().parent / "bus" / "otel_bridge.mjs").as_uri()
    with Evaluator(node, tmp_path, f'import * as x from "{module}";\nglobalThis.x = x;\n{SDK}') as opened:
        yield opened


def place(evaluator: Evaluator, code: str, trace: dict[str, str]) -> Any:  # noqa: ANN401 - any JSON value
    return evaluator.do(
        f"const bus = {json.dumps(BUS)}; x.watchExporter(); {code}; return x.placeOf({json.dumps(trace)});"
    )


@pytest.mark.parametrize(
    "order",
    [
        "x.runStarted({ ts: 5, trace: bus }); tracer.startSpan('openclaw.run', { startTime: 5 })",
        "tracer.startSpan('openclaw.run', { startTime: 5 }); x.runStarted({ ts: 5, trace: bus })",
    ],
)
def test_a_run_is_known_by_what_is_exported_whoever_hears_of_it_first(evaluator: Evaluator, order: str) -> None:
    code = f"const tracer = make(); x.watchExporter(); {order}"
    assert place(evaluator, code, BUS) == EXPORTED
    called = place(evaluator, "", CALL)
    assert (called["traceId"], called["parentSpanId"]) == (EXPORTED["traceId"], EXPORTED["spanId"])
    assert called["exported"]


def test_without_a_plugin_the_ids_of_the_bus_hold(evaluator: Evaluator) -> None:
    assert place(evaluator, "x.runStarted({ ts: 5, trace: bus })", BUS) == BUS
    assert evaluator.do("return x.placeOf(undefined);") == {}


@pytest.mark.parametrize(
    "span", ["('openclaw.run', { startTime: 6 })", "('openclaw.model.call', { startTime: 5 })", "('openclaw.run')"]
)
def test_a_span_of_something_else_is_not_taken_for_the_run(evaluator: Evaluator, span: str) -> None:
    code = f"const tracer = make(); x.watchExporter(); x.runStarted({{ ts: 5, trace: bus }}); tracer.startSpan{span}"
    assert place(evaluator, code, BUS) == BUS


def test_a_span_that_nobody_exports_counts_for_nothing(evaluator: Evaluator) -> None:
    code = "const tracer = make(1, true); x.watchExporter(); x.runStarted({ ts: 5, trace: bus }); "
    assert place(evaluator, code + "tracer.startSpan('openclaw.run', { startTime: 5 })", BUS) == BUS


def test_a_span_that_the_plugins_sampler_leaves_out_is_told_so(evaluator: Evaluator) -> None:
    code = "const tracer = make(0); x.watchExporter(); x.runStarted({ ts: 5, trace: bus }); "
    found = place(evaluator, code + "tracer.startSpan('openclaw.run', { startTime: 5 })", BUS)
    assert found == {**EXPORTED, "sampled": False}


def test_a_plugin_that_starts_anew_is_watched_again(evaluator: Evaluator) -> None:
    evaluator.do("make(); x.watchExporter();")
    code = "const tracer = make(); x.watchExporter(); x.runStarted({ ts: 5, trace: bus }); "
    assert place(evaluator, code + "tracer.startSpan('openclaw.run', { startTime: 5 })", BUS) == EXPORTED


def test_the_plugins_own_span_is_what_it_was(evaluator: Evaluator) -> None:
    code = "const tracer = make(); x.watchExporter(); x.watchExporter(); "
    assert evaluator.do(code + "return tracer.startSpan('a', {}).spanContext();")["spanId"] == "2" * 16

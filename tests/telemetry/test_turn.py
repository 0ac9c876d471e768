"""The tree of spans that a turn leaves, with the real core deciding."""

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from sidecar.core import events as ev
from sidecar.core.decisions import Approve
from sidecar.core.facts.change import Operation
from sidecar.core.facts.content import BytesContent, Snapshot
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.value import replace
from sidecar.core.facts.writer import Writer
from sidecar.telemetry.metrics.recoveries import RECOVERIES
from tests.core import kit
from tests.telemetry import facts
from tests.telemetry.conftest import Bench
from tests.telemetry.facts import COTENANT, FILE, GATEWAY, MS, OWN, RUN, RUN_SPAN, SECOND, T0, TRACE

OLD = b'{"type":"session","id":"s"}\n{"type":"message","id":"u1"}\n'
NOTE = b'{"type":"message","id":"n1","parentId":"u1"}\n'


def fp_of(data: bytes, ctime: int = 0) -> Fingerprint:
    return Fingerprint(exists=True, dev=1, ino=7, size=len(data), mtime_ns=T0 + ctime, ctime_ns=T0 + ctime)


def snapshot(data: bytes, ctime: int = 0) -> Snapshot:
    return Snapshot(fingerprint=fp_of(data, ctime), content=BytesContent(data), uid=1000)


def appended(at_ns: int, writer: Writer, data: bytes, before: bytes) -> ev.FileChanged:
    change = kit.reported(Operation.APPEND, writer, data, change_id=f"c{at_ns}", span=(1, 2), offset=len(before))
    change = replace(change, at_ns=at_ns, before=fp_of(before), after=fp_of(before + data, 1))
    return ev.FileChanged(file=FILE, change=change)


def recovered_turn(bench: Bench, missing: tuple[str, ...] = (), problem: str = "", end: ev.Event | None = None) -> None:
    """A cron note comes in during the model call, and the fence is moved when the gateway asks."""
    clock, telemetry = bench.clock, bench.telemetry
    bench.handle(facts.opened())
    telemetry.diagnostic(facts.run_started(T0), GATEWAY)
    bench.handle(facts.taken(T0 + 50 * MS))
    bench.handle(facts.released(T0 + 60 * MS))
    bench.handle(ev.FenceSet(link=GATEWAY.link, window="w1", file=FILE, fence=fp_of(OLD), run=RUN, at_ns=T0 + 60 * MS))
    bench.handle(ev.SnapshotTaken(file=FILE, snapshot=snapshot(OLD), at_ns=T0 + 61 * MS))
    telemetry.diagnostic(facts.diagnostic("model.call.started", T0 + 70 * MS), GATEWAY)
    bench.handle(facts.taken(T0 + SECOND, COTENANT, "h2", wait_ns=2 * MS))
    bench.handle(appended(T0 + SECOND + MS, COTENANT, NOTE, OLD))
    bench.handle(facts.released(T0 + SECOND + 5 * MS, COTENANT, "h2", held_ns=5 * MS))
    done = facts.diagnostic(
        "model.call.completed", T0 + 8 * SECOND, duration_ms=7930.0, input_tokens=1200, output_tokens=80
    )
    telemetry.diagnostic(done, GATEWAY)
    clock.now_ns = T0 + 8 * SECOND + 4 * MS
    question = kit.asked(fp_of(OLD), snapshot(OLD + NOTE, 1), T0 + 8 * SECOND + 2 * MS, window="w1", file=FILE, run=RUN)
    bench.handle(question)
    step = Approve(link=GATEWAY.link, window="w1", file=FILE, fence=fp_of(OLD), current=fp_of(OLD + NOTE, 1), ask="a1")
    bench.handle(replace(kit.applied(step, T0 + 8 * SECOND + 5 * MS, "n1"), latency_ns=3 * MS))
    bench.handle(end or facts.closed(T0 + 9 * SECOND))
    assert not bench.spans("session.fence"), "its history is not read yet"
    bench.handle(ev.LineageChecked(window="w1", missing=missing, problem=problem, at_ns=T0 + 9 * SECOND + 3 * MS))


def parent_of(span: ReadableSpan) -> str:
    assert span.parent is not None
    return f"{span.parent.span_id:016x}"


def id_of(span: ReadableSpan) -> str:
    return f"{span.context.span_id:016x}"


def test_a_recovered_turn_leaves_one_tree_in_the_gateways_trace(bench: Bench) -> None:
    recovered_turn(bench)
    assert sorted(s.name for s in bench.spans()) == [
        "chat claude-sonnet-4-5",
        "session.fence",
        "session.lock",
        "session.lock",
        "session.recovery",
        "session.verdict",
    ]
    assert {f"{s.context.trace_id:032x}" for s in bench.spans()} == {TRACE}
    fence = bench.span("session.fence")
    own, cotenant = sorted(bench.spans("session.lock"), key=lambda s: s.start_time or 0)
    for span in (fence, own, bench.span("chat")):
        assert parent_of(span) == RUN_SPAN
        assert span.parent is not None
        assert span.parent.is_remote
    for span in (bench.span("session.verdict"), bench.span("session.recovery"), cotenant):
        assert parent_of(span) == id_of(fence)


def test_the_times_are_the_gateways(bench: Bench) -> None:
    recovered_turn(bench)
    times = {(s.name, s.start_time, s.end_time) for s in bench.spans() if s.start_time is not None and s.name != ""}
    assert times == {
        ("session.lock", T0 + 10 * MS, T0 + 60 * MS),
        ("session.lock", T0 + SECOND - 2 * MS, T0 + SECOND + 5 * MS),
        ("session.fence", T0 + 60 * MS, T0 + 9 * SECOND),
        ("chat claude-sonnet-4-5", T0 + 70 * MS, T0 + 8 * SECOND),
        ("session.verdict", T0 + 8 * SECOND + 2 * MS, T0 + 8 * SECOND + 4 * MS),
        ("session.recovery", T0 + 8 * SECOND + 2 * MS, T0 + 8 * SECOND + 5 * MS),
    }


def test_the_fence_tells_who_wrote_and_what_came_of_it(bench: Bench) -> None:
    recovered_turn(bench)
    fence = bench.span("session.fence")
    assert fence.status.status_code is StatusCode.UNSET
    assert fence.attributes is not None
    attributes = dict(fence.attributes)
    assert str(attributes.pop("openclaw.incident.id")).startswith("2026")
    assert attributes == {
        "file.path": FILE,
        "openclaw.window.id": "w1",
        "openclaw.fence.size_bytes": len(OLD),
        "openclaw.fence.moves": 0,
        "openclaw.run.id": "run-1",
        "openclaw.run.kind": "user_turn",
        "openclaw.session.hash": "5e55",
        "openclaw.gateway.pid": 4711,
        "openclaw.gateway.version": "2026.5.18",
        "openclaw.gateway.adapter": "swap",
        "openclaw.verdict": "co_tenant",
        "openclaw.verdict.reason": "every_byte_known",
        "openclaw.evidence": "bytes",
        "openclaw.unexplained_bytes": 0,
        "openclaw.turn.lost": False,
        "openclaw.recovery.outcome": "effective",
        "openclaw.recovery.reason": "went_on_after_move",
        "openclaw.recovery.mode": "recover",
        "openclaw.recovery.count": 1,
    }
    (change,) = fence.events
    assert change.name == "session.change"
    assert change.timestamp == T0 + SECOND + MS
    assert dict(change.attributes or {}) == {
        "openclaw.change.operation": "append",
        "openclaw.change.length_bytes": len(NOTE),
        "openclaw.change.offset_bytes": len(OLD),
        "openclaw.writer.kind": "inject",
        "openclaw.writer.name": "cron",
        "openclaw.writer.pid": 4711,
        "openclaw.writer.own": False,
        "openclaw.verdict": "co_tenant",
    }


@pytest.mark.parametrize(("missing", "problem"), [(("n1",), ""), ((), "it can't be read")])
def test_a_history_that_forked_or_could_not_be_read_shows_on_the_window(
    bench: Bench, missing: tuple[str, ...], problem: str
) -> None:
    recovered_turn(bench, missing, problem)
    assert dict(bench.span("session.fence").attributes or {})["openclaw.recovery.outcome"] == "ineffective"
    assert bench.value(RECOVERIES, outcome="ineffective") == 1


def test_a_history_that_forked_before_the_link_was_lost_shows_on_the_window(bench: Bench) -> None:
    lost = ev.LinkLost(link=GATEWAY.link, clean=False, at_ns=T0 + 9 * SECOND)
    recovered_turn(bench, ("n1",), end=lost)
    attributes = dict(bench.span("session.fence").attributes or {})
    assert attributes["openclaw.recovery.outcome"] == "ineffective"
    assert attributes["error.type"] == "link_lost"


def test_a_model_call_follows_the_gen_ai_conventions(bench: Bench) -> None:
    recovered_turn(bench)
    chat = bench.span("chat")
    assert chat.kind is SpanKind.CLIENT
    assert dict(chat.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-sonnet-4-5",
        "gen_ai.conversation.id": "5e55",
        "gen_ai.usage.input_tokens": 1200,
        "gen_ai.usage.output_tokens": 80,
        "openclaw.run.id": "run-1",
        "openclaw.call.id": "call-1",
        "openclaw.call.duration_seconds": 7.93,
        "openclaw.gateway.pid": 4711,
        "openclaw.gateway.version": "2026.5.18",
        "openclaw.gateway.adapter": "swap",
    }


def test_a_lock_tells_its_wait_its_hold_and_who_held_it_before(bench: Bench) -> None:
    recovered_turn(bench)
    own, cotenant = sorted(bench.spans("session.lock"), key=lambda s: s.start_time or 0)
    assert dict(cotenant.attributes or {}) == {
        "file.path": FILE,
        "openclaw.lock.wait_seconds": 0.002,
        "openclaw.lock.hold_seconds": 0.005,
        "openclaw.lock.previous.writer.kind": "user_turn",
        "openclaw.writer.kind": "inject",
        "openclaw.writer.name": "cron",
        "openclaw.writer.pid": 4711,
    }
    (acquired,) = own.events
    assert (acquired.name, acquired.timestamp) == ("lock.acquired", T0 + 50 * MS)


def test_a_foreign_write_shows_as_a_lost_turn_with_an_external_verdict(bench: Bench) -> None:
    bench.handle(facts.opened())
    bench.handle(ev.FenceSet(link=GATEWAY.link, window="w1", file=FILE, fence=fp_of(OLD), run=RUN, at_ns=T0 + 60 * MS))
    bench.handle(ev.SnapshotTaken(file=FILE, snapshot=snapshot(OLD), at_ns=T0 + 61 * MS))
    bench.clock.now_ns = T0 + SECOND + 2 * MS
    bench.handle(ev.SnapshotTaken(file=FILE, snapshot=snapshot(OLD + NOTE, 1), at_ns=T0 + SECOND))
    bench.handle(kit.tripped(fp_of(OLD), snapshot(OLD + NOTE, 1), T0 + 8 * SECOND, window="w1", file=FILE, run=RUN))
    bench.handle(facts.closed(T0 + 9 * SECOND, takeover=True))
    fence = bench.span("session.fence")
    assert fence.attributes is not None
    assert fence.attributes["openclaw.verdict"] == "external"
    assert fence.attributes["openclaw.unexplained_bytes"] == len(NOTE)
    assert fence.attributes["openclaw.turn.lost"] is True
    assert fence.attributes["error.type"] == "takeover"
    assert fence.status.status_code is StatusCode.ERROR
    assert [e.name for e in fence.events] == ["session.change", "turn.stopped"]
    verdict = bench.span("session.verdict")
    assert verdict.start_time == T0 + SECOND
    assert verdict.end_time == T0 + SECOND + 2 * MS
    assert dict(verdict.attributes or {})["openclaw.verdict.answer"] == "none"


def test_nothing_changed_in_the_window(bench: Bench) -> None:
    bench.tell(facts.opened(), facts.fence(T0), facts.fence(T0 + SECOND, size=140), facts.closed(T0 + 2 * SECOND))
    fence = bench.span("session.fence")
    assert (fence.start_time, fence.end_time) == (T0, T0 + 2 * SECOND)
    assert [(e.name, e.timestamp) for e in fence.events] == [("fence.moved", T0 + SECOND)]
    assert fence.attributes is not None
    assert "openclaw.verdict" not in fence.attributes
    assert fence.attributes["openclaw.fence.size_bytes"] == 100
    assert OWN.run_id == fence.attributes["openclaw.run.id"]
